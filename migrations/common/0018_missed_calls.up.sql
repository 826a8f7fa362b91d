-- Calls that a member has missed since they last read in the room: how many, who called last, and when.
ALTER TABLE room_members ADD COLUMN missed_calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE room_members ADD COLUMN missed_from TEXT;
ALTER TABLE room_members ADD COLUMN missed_at BIGINT;
