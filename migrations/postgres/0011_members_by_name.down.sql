DROP INDEX message_reactions_user;
CREATE INDEX message_reactions_user ON message_reactions (user_id);
DROP INDEX room_bans_room;
DROP INDEX room_members_name;
ALTER TABLE room_members DROP COLUMN name_key;
