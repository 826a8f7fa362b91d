DROP TRIGGER room_members_named;
