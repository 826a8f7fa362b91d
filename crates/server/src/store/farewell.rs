//! What goes when an account is deleted. Its row stays, without a name, as the author of what it said.

use mesh_protocol::{RoomId, UserId};

use super::{db::Tx, messages::param, statements};
use crate::error::Result;

statements! {
    ROOMS = "SELECT m.room_id, m.role FROM room_members m WHERE m.user_id = $1 ORDER BY m.room_id";
    SUCCESSOR = "SELECT user_id FROM room_members WHERE room_id = $1 AND user_id <> $2 \
        ORDER BY CASE role WHEN 'owner' THEN 0 WHEN 'admin' THEN 1 WHEN 'member' THEN 2 ELSE 3 END, joined_at, user_id LIMIT 1";
    CROWN = "UPDATE room_members SET role = 'owner' WHERE room_id = $1 AND user_id = $2";
    OWN = "UPDATE rooms SET owner_id = $1, updated_at = $2 WHERE id = $3";
    LEAVE = "DELETE FROM room_members WHERE room_id = $1 AND user_id = $2";
    COUNT_LESS = "UPDATE rooms SET member_count = member_count - 1 WHERE id = $1";
    CLOSE = "UPDATE rooms SET deleted_at = $1, visibility = 'private', direct_key = NULL WHERE id = $2";
    CLOSE_BANS = "DELETE FROM room_bans WHERE room_id = $1";
    CLOSE_INVITES = "DELETE FROM room_invites WHERE room_id = $1";
    REACTIONS = "SELECT room_id, message_seq, emoji FROM message_reactions WHERE user_id = $1 \
        ORDER BY room_id, message_seq, emoji LIMIT $2";
    MENTIONS = "DELETE FROM message_mentions WHERE user_id = $1";
    BANS = "DELETE FROM room_bans WHERE user_id = $1";
    INVITES = "DELETE FROM room_invites WHERE created_by = $1";
    REGISTRATION_INVITES = "UPDATE registration_invites SET revoked_at = COALESCE(revoked_at, $1), created_by = NULL \
        WHERE created_by = $2";
    TICKETS = "DELETE FROM ws_tickets WHERE session_id IN (SELECT id FROM sessions WHERE user_id = $1)";
    TOKEN_TICKETS = "DELETE FROM token_tickets WHERE token_id IN (SELECT id FROM access_tokens WHERE user_id = $1)";
    // Logins and tokens stay for a while as what has ended: other servers look for that.
    SESSIONS = "UPDATE sessions SET user_agent = NULL, ip = '' WHERE user_id = $1";
    TOKENS = "UPDATE access_tokens SET name = '' WHERE user_id = $1";
    // What a token was called is its owner's word.
    AUDIT_BY = "UPDATE audit_log SET actor_name = $1, ip = NULL, \
        target_name = CASE WHEN target_kind = 'token' THEN NULL ELSE target_name END WHERE actor_id = $2";
    AUDIT_TO = "UPDATE audit_log SET target_name = $1, ip = CASE WHEN actor_id IS NULL THEN NULL ELSE ip END \
        WHERE target_kind = 'user' AND target_id = $2";
    USER = "UPDATE users SET username = $1, username_key = $1, display_name = 'Deleted account', email = NULL, \
        password_hash = '', role = 'user', disabled_at = COALESCE(disabled_at, $2), deleted_at = $2 \
        WHERE id = $3 AND deleted_at IS NULL";
    TAKEN = "SELECT id FROM users WHERE username_key = $1";
}

/// The rooms that `user` is in, and whether they own each.
pub fn rooms(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<(RoomId, bool)>> {
    let rows = tx.rows(ROOMS, &[(&user.to_string()).into()])?;
    rows.iter().map(|row| Ok((RoomId::parse(row.text(0)?), row.text(1)? == "owner"))).collect()
}

/// Who comes after `user` in a room: the longest-standing member of the highest role.
pub fn successor(tx: &mut Tx<'_>, room: RoomId, user: UserId) -> Result<Option<UserId>> {
    let found = tx.row(SUCCESSOR, &[(&room.to_string()).into(), (&user.to_string()).into()])?;
    found.map(|row| Ok(UserId::parse(row.text(0)?))).transpose()
}

/// Makes a member the room's owner.
pub fn crown(tx: &mut Tx<'_>, room: RoomId, user: UserId, now: i64) -> Result<()> {
    let (room, user) = (room.to_string(), user.to_string());
    tx.exec(OWN, &[(&user).into(), now.into(), (&room).into()])?;
    tx.exec(CROWN, &[(&room).into(), (&user).into()]).map(drop)
}

/// Takes a member out of a room.
pub fn leave(tx: &mut Tx<'_>, room: RoomId, user: UserId) -> Result<()> {
    let (room, user) = (room.to_string(), user.to_string());
    if tx.exec(LEAVE, &[(&room).into(), (&user).into()])? == 1 {
        tx.exec(COUNT_LESS, &[(&room).into()])?;
    }
    Ok(())
}

/// Deletes a room that nobody is in any more; its log is left to the purge.
pub fn close(tx: &mut Tx<'_>, room: RoomId, now: i64) -> Result<()> {
    let room = room.to_string();
    tx.exec(CLOSE, &[now.into(), (&room).into()])?;
    tx.exec(CLOSE_BANS, &[(&room).into()])?;
    tx.exec(CLOSE_INVITES, &[(&room).into()]).map(drop)
}

/// Some reactions of `user`: room, message, emoji.
pub fn reactions(tx: &mut Tx<'_>, user: UserId, limit: u64) -> Result<Vec<(String, u64, String)>> {
    let rows = tx.rows(REACTIONS, &[(&user.to_string()).into(), param(limit).into()])?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.count(1)?, row.text(2)?.to_owned()))).collect()
}

/// Whether an account has this name's key.
pub fn is_taken(tx: &mut Tx<'_>, key: &str) -> Result<bool> {
    Ok(tx.row(TAKEN, &[key.into()])?.is_some())
}

/// Empties the account, and forgets what speaks of it; from now on it is called `name`. False where it is gone already.
pub fn erase(tx: &mut Tx<'_>, user: UserId, name: &str, now: i64) -> Result<bool> {
    let user = user.to_string();
    if tx.exec(USER, &[name.into(), now.into(), (&user).into()])? == 0 {
        return Ok(false);
    }
    for statement in [MENTIONS, BANS, INVITES, TICKETS, TOKEN_TICKETS, SESSIONS, TOKENS] {
        tx.exec(statement, &[(&user).into()])?;
    }
    tx.exec(REGISTRATION_INVITES, &[now.into(), (&user).into()])?;
    tx.exec(AUDIT_BY, &[name.into(), (&user).into()])?;
    tx.exec(AUDIT_TO, &[name.into(), (&user).into()])?;
    Ok(true)
}
