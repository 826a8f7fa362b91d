//! Who may not come back to a room.

use mesh_protocol::{RoomId, Timestamp, UserId, rest::Ban};

use super::{
    db::{Row, Tx},
    statements,
};
use crate::error::Result;

statements! {
    PUT = "INSERT INTO room_bans (room_id, user_id, reason, banned_by, created_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (room_id, user_id) DO UPDATE SET reason = excluded.reason, banned_by = excluded.banned_by, \
        created_at = excluded.created_at";
    DELETE = "DELETE FROM room_bans WHERE room_id = $1 AND user_id = $2";
    ONE = "SELECT b.user_id, u.username, b.reason, b.banned_by, b.created_at FROM room_bans b \
        JOIN users u ON u.id = b.user_id WHERE b.room_id = $1 AND b.user_id = $2";
    LIST = "SELECT b.user_id, u.username, b.reason, b.banned_by, b.created_at FROM room_bans b \
        JOIN users u ON u.id = b.user_id \
        WHERE b.room_id = $1 AND (b.created_at, b.user_id) < ($2, $3) \
        ORDER BY b.created_at DESC, b.user_id DESC LIMIT $4";
}

fn ban(row: &Row) -> Result<Ban> {
    Ok(Ban {
        user_id: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        reason: row.opt_text(2)?.map(str::to_owned),
        banned_by: row.opt_text(3)?.map(UserId::parse),
        created_at: Timestamp::from_millis(row.int(4)?),
    })
}

/// Keeps somebody out, or says anew why.
pub fn put(tx: &mut Tx<'_>, room: &str, user: &str, reason: Option<&str>, by: &str, now: i64) -> Result<()> {
    tx.exec(PUT, &[room.into(), user.into(), reason.into(), by.into(), now.into()]).map(drop)
}

/// Lets somebody in again; false where they were not kept out.
pub fn delete(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<bool> {
    Ok(tx.exec(DELETE, &[room.into(), user.into()])? == 1)
}

/// The ban of `user`, where there is one.
pub fn one(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<Option<Ban>> {
    tx.row(ONE, &[room.into(), user.into()])?.as_ref().map(ban).transpose()
}

/// A room's bans before `(at, user)`, newest first.
pub fn list(tx: &mut Tx<'_>, room: RoomId, at: i64, user: &str, limit: usize) -> Result<Vec<Ban>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(LIST, &[(&room.to_string()).into(), at.into(), user.into(), limit.into()])?.iter().map(ban).collect()
}
