-- Names and ids are ordered by their bytes, as SQLite orders them, whatever the cluster's locale.
ALTER TABLE users ALTER COLUMN username_key TYPE TEXT COLLATE "C";
ALTER TABLE rooms ALTER COLUMN id TYPE TEXT COLLATE "C";
