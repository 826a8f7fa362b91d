-- loses: which calls were missed
ALTER TABLE room_members DROP COLUMN missed_at;
ALTER TABLE room_members DROP COLUMN missed_from;
ALTER TABLE room_members DROP COLUMN missed_calls;
