-- What a refresh needs: the nonce of the current token, so that a lost reply can be given again, and the hash of the
-- token before it.
ALTER TABLE sessions ADD COLUMN refresh_nonce TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN previous_hash TEXT;
ALTER TABLE sessions ADD COLUMN rotated_at BIGINT NOT NULL DEFAULT 0;

-- Single-use credentials for /ws, by hash.
CREATE TABLE ws_tickets (
    hash TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    credential_ends_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX ws_tickets_expires ON ws_tickets (expires_at);
