//! Invites to rooms.

use mesh_protocol::{RoomId, UserId};

use super::{
    db::{Row, Tx},
    statements,
};
use crate::error::Result;

statements! {
    INSERT = "INSERT INTO room_invites (code, room_id, created_by, created_at, expires_at, max_uses, uses) \
        VALUES ($1, $2, $3, $4, $5, $6, 0)";
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) FROM room_invites WHERE room_id = $1";
    FORGET_DEAD = "DELETE FROM room_invites WHERE code = (SELECT code FROM room_invites WHERE room_id = $1 \
        AND (expires_at <= $2 OR uses >= max_uses) ORDER BY created_at, code LIMIT 1)";
    BY_CODE = "SELECT code, room_id, created_by, created_at, expires_at, max_uses, uses FROM room_invites \
        WHERE code = $1";
    USE = "UPDATE room_invites SET uses = uses + 1 WHERE code = $1 AND (expires_at IS NULL OR expires_at > $2) \
        AND (max_uses IS NULL OR uses < max_uses)";
    DELETE = "DELETE FROM room_invites WHERE code = $1 AND room_id = $2";
    LIST = "SELECT code, room_id, created_by, created_at, expires_at, max_uses, uses FROM room_invites \
        WHERE room_id = $1 AND (created_at, code) < ($2, $3) \
        ORDER BY created_at DESC, code DESC LIMIT $4";
}

/// An invite, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What opens the room.
    pub code: String,
    /// Which room.
    pub room: RoomId,
    /// Who made it; none where that account is gone.
    pub created_by: Option<UserId>,
    /// When, Unix milliseconds.
    pub created_at: i64,
    /// When it ends, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// How many may come with it.
    pub max_uses: Option<i64>,
    /// How many have.
    pub uses: i64,
}

fn invite(row: &Row) -> Result<Invite> {
    Ok(Invite {
        code: row.text(0)?.to_owned(),
        room: RoomId::parse(row.text(1)?),
        created_by: row.opt_text(2)?.map(UserId::parse),
        created_at: row.int(3)?,
        expires_at: row.opt_int(4)?,
        max_uses: row.opt_int(5)?,
        uses: row.int(6)?,
    })
}

/// Adds an invite that nobody has used.
pub fn insert(tx: &mut Tx<'_>, invite: &Invite) -> Result<()> {
    tx.exec(
        INSERT,
        &[
            (&invite.code).into(),
            (&invite.room.to_string()).into(),
            invite.created_by.map(|id| id.to_string()).as_ref().into(),
            invite.created_at.into(),
            invite.expires_at.into(),
            invite.max_uses.into(),
        ],
    )
    .map(drop)
}

/// How many invites a room has, those that ended too.
pub fn count(tx: &mut Tx<'_>, room: &str) -> Result<u64> {
    tx.row(COUNT, &[room.into()])?.map_or(Ok(0), |row| row.count(0))
}

/// Forgets the oldest invite of a room that is used up or has ended; false where each still works.
pub fn forget_dead(tx: &mut Tx<'_>, room: &str, now: i64) -> Result<bool> {
    Ok(tx.exec(FORGET_DEAD, &[room.into(), now.into()])? == 1)
}

/// The invite with this code.
pub fn by_code(tx: &mut Tx<'_>, code: &str) -> Result<Option<Invite>> {
    tx.row(BY_CODE, &[code.into()])?.as_ref().map(invite).transpose()
}

/// Uses an invite once; false where it is none any more, is used up or has ended.
pub fn take(tx: &mut Tx<'_>, code: &str, now: i64) -> Result<bool> {
    Ok(tx.exec(USE, &[code.into(), now.into()])? == 1)
}

/// Ends an invite of a room; false where the room has none with this code.
pub fn delete(tx: &mut Tx<'_>, room: &str, code: &str) -> Result<bool> {
    Ok(tx.exec(DELETE, &[code.into(), room.into()])? == 1)
}

/// A room's invites before `(at, code)`, newest first.
pub fn list(tx: &mut Tx<'_>, room: &str, at: i64, code: &str, limit: usize) -> Result<Vec<Invite>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(LIST, &[room.into(), at.into(), code.into(), limit.into()])?.iter().map(invite).collect()
}
