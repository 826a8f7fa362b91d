DROP TABLE search_index;
DROP TABLE messages_fts;
CREATE TABLE messages_plain (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id),
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    edited_at BIGINT,
    deleted_at BIGINT,
    reply_to_id TEXT,
    client_id TEXT,
    mentions TEXT,
    PRIMARY KEY (room_id, seq)
);

INSERT INTO messages_plain (room_id, seq, id, user_id, content, created_at, edited_at, deleted_at, reply_to_id, client_id,
        mentions)
    SELECT room_id, seq, id, user_id, content, created_at, edited_at, deleted_at, reply_to_id, client_id, mentions
    FROM messages ORDER BY doc;
DROP TABLE messages;
ALTER TABLE messages_plain RENAME TO messages;
CREATE UNIQUE INDEX messages_client_id ON messages (room_id, user_id, client_id) WHERE client_id IS NOT NULL;
