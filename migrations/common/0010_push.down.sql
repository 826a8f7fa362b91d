-- loses: push settings and tokens, levels of rooms, and notifications that have not left
DROP TABLE push_due;
DROP TABLE push_outbox;
DROP TABLE push_levels;
DROP TABLE push_settings;
