-- A room's members are read in the order of their names, its bans by when they were made, and somebody's reactions some
-- at a time: an index serves each.
ALTER TABLE room_members ADD COLUMN name_key TEXT NOT NULL DEFAULT '';
UPDATE room_members SET name_key = (SELECT u.username_key FROM users u WHERE u.id = room_members.user_id);
CREATE INDEX room_members_name ON room_members (room_id, name_key);
CREATE INDEX room_bans_room ON room_bans (room_id, created_at, user_id);
-- contract: an index alone, and the new one of its name serves the same questions
DROP INDEX message_reactions_user;
CREATE INDEX message_reactions_user ON message_reactions (user_id, room_id, message_seq, emoji);
