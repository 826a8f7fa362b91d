DROP TRIGGER room_members_named ON room_members;
DROP FUNCTION room_members_named();
