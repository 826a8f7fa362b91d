-- loses: every second factor and every personal access token
DROP TABLE access_tokens;
DROP TABLE used_challenges;
DROP TABLE recovery_codes;
DROP TABLE totp;
