-- Whom push reaches, and how each person wants it. The token is sealed; hours are minutes of the day.
CREATE TABLE push_settings (
    user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed_token TEXT,
    enabled BIGINT NOT NULL,
    min_priority BIGINT NOT NULL,
    quiet_from BIGINT,
    quiet_to BIGINT,
    time_zone TEXT NOT NULL,
    locale TEXT NOT NULL
);

-- What a member wants to hear of a room; gone with the membership.
CREATE TABLE push_levels (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    level TEXT NOT NULL,
    muted_until BIGINT,
    PRIMARY KEY (room_id, user_id),
    FOREIGN KEY (room_id, user_id) REFERENCES room_members (room_id, user_id) ON DELETE CASCADE
);

-- What happened, one small row for each message or ring, written in its transaction; a worker makes `push_due` of it.
-- `after_user` is how far it came. Without references: a send must not pay for looking them up.
CREATE TABLE push_outbox (
    created_at BIGINT NOT NULL,
    id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    seq BIGINT NOT NULL,
    author_id TEXT NOT NULL,
    after_user TEXT NOT NULL,
    PRIMARY KEY (created_at, id)
);

-- What is to be sent to whom: one row for each person, room and kind, until it is delivered or dead. With `unsent` 0 it
-- was delivered, and remembers until `due_at` that the next one waits.
CREATE TABLE push_due (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    author_id TEXT NOT NULL,
    call_id TEXT,
    priority BIGINT NOT NULL,
    unsent BIGINT NOT NULL,
    named BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    tried_at BIGINT,
    terse BIGINT NOT NULL,
    last_error TEXT,
    dead_at BIGINT
);

CREATE UNIQUE INDEX push_due_waiting ON push_due (user_id, room_id, kind) WHERE dead_at IS NULL;
CREATE INDEX push_due_at ON push_due (due_at) WHERE dead_at IS NULL;
CREATE INDEX push_due_dead ON push_due (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX push_due_user ON push_due (user_id, created_at);
CREATE INDEX push_due_room ON push_due (room_id);
CREATE INDEX push_due_list ON push_due (created_at, id);
