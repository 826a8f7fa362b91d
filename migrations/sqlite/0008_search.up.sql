-- The index of words names a message by a number that must outlive VACUUM: a column, where there was a hidden rowid.
CREATE TABLE messages_numbered (
    doc INTEGER PRIMARY KEY,
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
    UNIQUE (room_id, seq)
);

INSERT INTO messages_numbered (room_id, seq, id, user_id, content, created_at, edited_at, deleted_at, reply_to_id,
        client_id, mentions)
    SELECT room_id, seq, id, user_id, content, created_at, edited_at, deleted_at, reply_to_id, client_id, mentions
    FROM messages ORDER BY rowid;
DROP TABLE messages;
ALTER TABLE messages_numbered RENAME TO messages;
CREATE UNIQUE INDEX messages_client_id ON messages (room_id, user_id, client_id) WHERE client_id IS NOT NULL;

-- Which messages have which words, each behind the end of its room's id; the words were folded before. It holds no text.
CREATE VIRTUAL TABLE messages_fts USING fts5 (words, content = '', contentless_delete = 1, detail = 'none', tokenize = 'ascii');

-- Up to which message it has been written: messages are sent without it, and follow a moment later.
CREATE TABLE search_index (upto BIGINT NOT NULL);
INSERT INTO search_index (upto) VALUES (0);
