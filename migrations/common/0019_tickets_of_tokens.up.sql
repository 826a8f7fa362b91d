-- Tickets for a WebSocket that were asked for with a personal access token. Those of logins stay in ws_tickets, each row
-- of which points at a session: an older server beside this one goes on with them.
CREATE TABLE token_tickets (
    hash TEXT PRIMARY KEY,
    token_id TEXT NOT NULL REFERENCES access_tokens (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);

CREATE INDEX token_tickets_expires ON token_tickets (expires_at);
