//! What happened, and whom it may be for.

use std::collections::HashSet;

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
    // By their numbers, which are given in the order of the commits: nothing that was not seen is in between.
    COVERED = "DELETE FROM push_outbox WHERE room_id = $1 AND kind = 'message' AND seq > $2 AND seq <= $3 AND after_user = ''";
    NAMED = "SELECT DISTINCT user_id FROM message_mentions WHERE room_id = $1 AND user_id >= $2 AND user_id <= $3 AND seq >= $4";
    ROOM = "SELECT r.kind, (SELECT MAX(m.seq) FROM messages m WHERE m.room_id = r.id) FROM rooms r WHERE r.id = $1";
    ANOTHER = "SELECT seq FROM messages WHERE room_id = $1 AND seq > $2 AND user_id <> $3 ORDER BY seq LIMIT 1";
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

/// Members by id, after one.
pub fn readers(tx: &mut Tx<'_>, room: &str, after: &str, limit: i64) -> Result<Vec<Reader>> {
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
    tx.rows(READERS, &[room.into(), after.into(), limit.into()])?.iter().map(read).collect()
}

/// Whether a room is a direct one, and the number of its last message; none where it is gone.
pub fn room(tx: &mut Tx<'_>, room: &str) -> Result<Option<(bool, u64)>> {
    let row = tx.row(ROOM, &[room.into()])?;
    row.map(|row| Ok((row.text(0)? == "direct", small(row.opt_int(1)?)))).transpose()
}

/// Whom of a range of members messages from a number on name.
pub fn named(tx: &mut Tx<'_>, room: &str, from: &str, to: &str, seq: u64) -> Result<HashSet<UserId>> {
    let rows = tx.rows(NAMED, &[room.into(), from.into(), to.into(), param(seq).into()])?;
    rows.iter().map(|row| Ok(UserId::parse(row.text(0)?))).collect()
}

/// The first message after a number that is not of this author.
pub fn another(tx: &mut Tx<'_>, room: &str, after: u64, author: &str) -> Result<Option<u64>> {
    let row = tx.row(ANOTHER, &[room.into(), param(after).into(), author.into()])?;
    row.map(|row| row.count(0)).transpose()
}

/// Forgets messages of a room that another stands for: those after its number, up to one, that nobody was looked up for.
pub fn covered(tx: &mut Tx<'_>, cause: &Cause, upto: u64) -> Result<()> {
    tx.exec(COVERED, &[(&cause.room).into(), param(cause.seq).into(), param(upto).into()]).map(drop)
}
