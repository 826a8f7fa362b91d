-- loses: edits' and deletions' numbers, every reaction, ban and room invite
DROP TABLE room_invites;
DROP TABLE room_bans;
DROP INDEX message_mentions_message;
DROP TABLE message_reactions;
DROP TABLE room_changes;
ALTER TABLE messages DROP COLUMN mentions;
ALTER TABLE users DROP COLUMN deleted_at;
DROP INDEX rooms_deleted;
DROP INDEX rooms_direct;
ALTER TABLE rooms DROP COLUMN deleted_at;
ALTER TABLE rooms DROP COLUMN purged_seq;
ALTER TABLE rooms DROP COLUMN retention_days;
ALTER TABLE rooms DROP COLUMN direct_key;
