-- A server from before 0011, beside this one for a moment, adds members without their name's key: no list of members
-- would tell of them. Whoever is added without one gets it at once; who was, gets it now.
UPDATE room_members SET name_key = (SELECT u.username_key FROM users u WHERE u.id = room_members.user_id)
    WHERE name_key = '';
CREATE TRIGGER room_members_named AFTER INSERT ON room_members WHEN NEW.name_key = ''
BEGIN
    UPDATE room_members SET name_key = (SELECT u.username_key FROM users u WHERE u.id = NEW.user_id)
        WHERE room_id = NEW.room_id AND user_id = NEW.user_id;
END;
