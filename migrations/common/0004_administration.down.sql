-- loses: the audit log and every registration invite
DROP INDEX sessions_expires;
DROP INDEX sessions_revoked;
DROP TABLE registration_invites;
DROP TABLE audit_log;
