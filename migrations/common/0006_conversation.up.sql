-- Rooms: the key of the one room of two people, how long messages are kept, up to where the log was purged, and when
-- the room was deleted (its log follows in small steps).
ALTER TABLE rooms ADD COLUMN direct_key TEXT;
ALTER TABLE rooms ADD COLUMN retention_days BIGINT;
ALTER TABLE rooms ADD COLUMN purged_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN deleted_at BIGINT;
CREATE UNIQUE INDEX rooms_direct ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_deleted ON rooms (deleted_at) WHERE deleted_at IS NOT NULL;

-- An account that its owner deleted stays as a name for what it said.
ALTER TABLE users ADD COLUMN deleted_at BIGINT;

-- Whom a message names: ids with a space between; NULL where it names nobody.
ALTER TABLE messages ADD COLUMN mentions TEXT;

-- Changes of messages after they were said. Together with `messages` it is the room's log: each sequence number of a
-- room stands in exactly one of the two, until it is purged.
CREATE TABLE room_changes (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    message_seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE INDEX room_changes_message ON room_changes (room_id, message_seq);

CREATE TABLE message_reactions (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    message_seq BIGINT NOT NULL,
    emoji TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    PRIMARY KEY (room_id, message_seq, emoji, user_id)
);

CREATE INDEX message_reactions_user ON message_reactions (user_id);
CREATE INDEX message_mentions_message ON message_mentions (room_id, seq);

CREATE TABLE room_bans (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    reason TEXT,
    banned_by TEXT REFERENCES users (id) ON DELETE SET NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX room_bans_user ON room_bans (user_id);

CREATE TABLE room_invites (
    code TEXT PRIMARY KEY,
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    created_by TEXT REFERENCES users (id) ON DELETE SET NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    max_uses BIGINT,
    uses BIGINT NOT NULL
);

CREATE INDEX room_invites_room ON room_invites (room_id, created_at);
