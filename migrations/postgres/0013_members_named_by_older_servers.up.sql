-- A server from before 0011, beside this one for a moment, adds members without their name's key: no list of members
-- would tell of them. Whoever is added without one gets it at once; who was, gets it now.
UPDATE room_members SET name_key = (SELECT u.username_key FROM users u WHERE u.id = room_members.user_id)
    WHERE name_key = '';
CREATE FUNCTION room_members_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name_key := COALESCE((SELECT u.username_key FROM users u WHERE u.id = NEW.user_id), '');
    RETURN NEW;
END
$$;
CREATE TRIGGER room_members_named BEFORE INSERT ON room_members FOR EACH ROW WHEN (NEW.name_key = '')
    EXECUTE FUNCTION room_members_named();
