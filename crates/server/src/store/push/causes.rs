//! What happened, and whom it may be for.

use mesh_protocol::{
    UserId,
    push::{NotificationLevel, PushKind},
};

use super::{kind, small};
use crate::{
    error::Result,
    store::{
        db::{Row, Tx},
        messages::param,
        statements,
    },
};

statements! {
    ENQUEUE = "INSERT INTO push_outbox (created_at, id, room_id, kind, seq, author_id, after_user) \
        VALUES ($1, $2, $3, $4, $5, $6, '') ON CONFLICT (created_at, id) DO NOTHING";
    HAPPENED = "SELECT created_at, id, room_id, kind, seq, author_id, after_user FROM push_outbox \
        ORDER BY created_at, id LIMIT $1";
    FORGET = "DELETE FROM push_outbox WHERE created_at = $1 AND id = $2 AND after_user = $3";
    MOVE_ON = "UPDATE push_outbox SET after_user = $1 WHERE created_at = $2 AND id = $3 AND after_user = $4";
    UNRING = "DELETE FROM push_outbox WHERE id = $1 AND kind = 'ring'";
    READERS = "SELECT m.user_id, m.read_seq, l.level, l.muted_until, CAST(CASE WHEN s.sealed_token IS NULL THEN 0 ELSE 1 END AS BIGINT), s.enabled, s.min_priority \
        FROM room_members m LEFT JOIN push_levels l ON l.room_id = m.room_id AND l.user_id = m.user_id \
        LEFT JOIN push_settings s ON s.user_id = m.user_id \
        WHERE m.room_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
    NAMED = "SELECT mentions FROM messages WHERE room_id = $1 AND seq = $2 AND mentions IS NOT NULL";
    ROOM_KIND = "SELECT kind FROM rooms WHERE id = $1";
}

/// Something that happened, of which people may have to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// When, Unix milliseconds.
    pub at: i64,
    /// The message's or the call's id.
    pub id: String,
    /// Where.
    pub room: String,
    /// What.
    pub kind: PushKind,
    /// The message's number; 0 for a call.
    pub seq: u64,
    /// Who.
    pub author: String,
    /// Members up to here were looked at.
    pub after: String,
}

/// Notes something that happened, in its transaction: one small row, however many are to be told.
pub fn enqueue(tx: &mut Tx<'_>, kind: PushKind, id: &str, room: &str, seq: u64, author: &str, now: i64) -> Result<()> {
    let params = [now.into(), id.into(), room.into(), kind.as_str().into(), param(seq).into(), author.into()];
    tx.exec(ENQUEUE, &params).map(drop)
}

/// Forgets a ring that nobody was looked up for yet.
pub fn unring(tx: &mut Tx<'_>, call: &str) -> Result<()> {
    tx.exec(UNRING, &[call.into()]).map(drop)
}

/// The oldest of what happened.
pub fn happened(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Cause>> {
    let read = |row: &Row| {
        Ok(Cause {
            at: row.int(0)?,
            id: row.text(1)?.to_owned(),
            room: row.text(2)?.to_owned(),
            kind: kind(row.text(3)?)?,
            seq: row.count(4)?,
            author: row.text(5)?.to_owned(),
            after: row.text(6)?.to_owned(),
        })
    };
    tx.rows(HAPPENED, &[limit.into()])?.iter().map(read).collect()
}

/// All members after `cause.after` up to `to` were looked at, or all; false where another process was faster.
pub fn looked(tx: &mut Tx<'_>, cause: &Cause, to: Option<&str>) -> Result<bool> {
    let place = [cause.at.into(), (&cause.id).into(), (&cause.after).into()];
    let changed = match to {
        None => tx.exec(FORGET, &place)?,
        Some(to) => {
            let [at, id, after] = place;
            tx.exec(MOVE_ON, &[to.into(), at, id, after])?
        }
    };
    Ok(changed == 1)
}

/// A member, and what they want to hear.
pub struct Reader {
    /// Who.
    pub user: UserId,
    /// Up to where they have read.
    pub read_seq: u64,
    /// What they want to hear of the room.
    pub level: NotificationLevel,
    /// Until when nothing.
    pub muted_until: Option<i64>,
    /// Whether they gave a token of their own.
    pub own_token: bool,
    /// Whether they want to be told at all.
    pub enabled: bool,
    /// Only what is so urgent.
    pub min_priority: u8,
}

/// Members by id, after one; and whether the room is a direct one.
pub fn readers(tx: &mut Tx<'_>, room: &str, after: &str, limit: i64) -> Result<(Vec<Reader>, bool)> {
    let direct = tx.row(ROOM_KIND, &[room.into()])?.is_some_and(|row| row.text(0).is_ok_and(|kind| kind == "direct"));
    let read = |row: &Row| {
        Ok(Reader {
            user: UserId::parse(row.text(0)?),
            read_seq: row.count(1)?,
            level: row.opt_text(2)?.and_then(NotificationLevel::parse).unwrap_or_default(),
            muted_until: row.opt_int(3)?,
            own_token: row.count(4)? != 0,
            enabled: row.opt_int(5)?.unwrap_or(1) != 0,
            min_priority: small(row.opt_int(6)?),
        })
    };
    let rows = tx.rows(READERS, &[room.into(), after.into(), limit.into()])?;
    Ok((rows.iter().map(read).collect::<Result<_>>()?, direct))
}

/// Whom a message names.
pub fn named(tx: &mut Tx<'_>, room: &str, seq: u64) -> Result<Vec<UserId>> {
    let row = tx.row(NAMED, &[room.into(), param(seq).into()])?;
    Ok(row.map_or_else(Vec::new, |row| row.text(0).unwrap_or_default().split(' ').map(UserId::parse).collect()))
}
