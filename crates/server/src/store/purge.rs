//! Taking the beginning of a room's log away, a few rows at a time; and what is left of a deleted room.

use mesh_protocol::RoomId;

use super::{db::Tx, messages::param, search, statements};
use crate::error::Result;

statements! {
    WALK = "SELECT r.id, r.retention_days, r.deleted_at, \
        (SELECT m.created_at FROM messages m WHERE m.room_id = r.id ORDER BY m.seq LIMIT 1) \
        FROM rooms r WHERE r.id > $1 ORDER BY r.id LIMIT $2";
    // Changes nothing, but holds the room until the transaction ends: nobody edits what is being taken away.
    HOLD = "UPDATE rooms SET purged_seq = purged_seq WHERE id = $1 RETURNING retention_days, deleted_at, purged_seq";
    // With each message, how many rows go with it; changes are counted up to what one transaction takes.
    OLDEST = "SELECT m.seq, m.created_at, \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM message_reactions r WHERE r.room_id = m.room_id AND r.message_seq = m.seq), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM room_changes c WHERE c.room_id = m.room_id \
            AND c.message_seq = m.seq LIMIT 501) counted) \
        FROM messages m WHERE m.room_id = $1 ORDER BY m.seq LIMIT $2";
    CHANGES = "SELECT seq FROM room_changes WHERE room_id = $1 AND message_seq <= $2 ORDER BY message_seq, seq LIMIT $3";
    FORGET_CHANGE = "DELETE FROM room_changes WHERE room_id = $1 AND seq = $2";
    FORGET_REACTIONS = "DELETE FROM message_reactions WHERE room_id = $1 AND message_seq <= $2";
    FORGET_MENTIONS = "DELETE FROM message_mentions WHERE room_id = $1 AND seq <= $2";
    FORGET_MESSAGES = "DELETE FROM messages WHERE room_id = $1 AND seq <= $2";
    PURGED = "UPDATE rooms SET purged_seq = $1 WHERE id = $2 AND purged_seq < $1";
    FORGET_ROOM = "DELETE FROM rooms WHERE id = $1 AND deleted_at IS NOT NULL";
}

/// A room, as a walk sees it.
pub struct Seen {
    /// Which.
    pub id: RoomId,
    /// Its id as it is stored: where the walk goes on.
    pub key: String,
    /// How long it keeps its messages, days, where it says so.
    pub retention_days: Option<i64>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// When its oldest message was said, Unix milliseconds.
    pub oldest: Option<i64>,
}

/// The rooms after the one with this key, in the order of their keys.
pub fn walk(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<Seen>> {
    tx.rows(WALK, &[after.into(), limit.into()])?
        .iter()
        .map(|row| {
            let key = row.text(0)?;
            Ok(Seen {
                id: RoomId::parse(key),
                key: key.to_owned(),
                retention_days: row.opt_int(1)?,
                deleted: row.opt_int(2)?.is_some(),
                oldest: row.opt_int(3)?,
            })
        })
        .collect()
}

/// What a room says of its messages' life, held until the transaction ends.
pub struct Held {
    /// How long it keeps them, days, where it says so.
    pub retention_days: Option<i64>,
    /// Whether it was deleted.
    pub deleted: bool,
    purged_seq: u64,
}

/// Holds a room; none where it is gone.
pub fn hold(tx: &mut Tx<'_>, room: &str) -> Result<Option<Held>> {
    let Some(row) = tx.row(HOLD, &[room.into()])? else { return Ok(None) };
    Ok(Some(Held { retention_days: row.opt_int(0)?, deleted: row.opt_int(1)?.is_some(), purged_seq: row.count(2)? }))
}

/// Takes away what a held room said before `cutoff` (Unix milliseconds) at its log's beginning: about `most` rows, with
/// all that hangs on them. How many messages, and whether there may be more.
pub fn step(tx: &mut Tx<'_>, room: &str, held: &Held, cutoff: i64, most: u64) -> Result<(u64, bool)> {
    let oldest = tx.rows(OLDEST, &[room.into(), param(most).into()])?;
    let (mut upto, mut count, mut rows) = (0, 0_u64, 0);
    for row in &oldest {
        let changes = row.count(3)?;
        let weight = 1 + row.count(2)? + changes;
        // The first one goes whatever hangs on it, but for its changes, which may be without number: they go before.
        if row.int(1)? >= cutoff || (count > 0 && rows + weight > most) {
            break;
        }
        if changes > most {
            let seq = row.count(0)?;
            let more = count > 0 || forget_changes(tx, room, held, seq, most)? > 0;
            if count == 0 {
                return Ok((0, more));
            }
            break;
        }
        (upto, count, rows) = (row.count(0)?, count + 1, rows + weight);
    }
    if count == 0 {
        return Ok((0, false));
    }
    search::purging(tx, room, upto)?;
    tx.exec(FORGET_REACTIONS, &[room.into(), param(upto).into()])?;
    tx.exec(FORGET_MENTIONS, &[room.into(), param(upto).into()])?;
    tx.exec(FORGET_MESSAGES, &[room.into(), param(upto).into()])?;
    search::purged(tx)?;
    forget_changes(tx, room, held, upto, u64::MAX)?;
    tx.exec(PURGED, &[param(upto).into(), room.into()])?;
    Ok((count, true))
}

/// Forgets changes of messages up to one; the log may have holes up to the last of them from now on.
fn forget_changes(tx: &mut Tx<'_>, room: &str, held: &Held, upto: u64, most: u64) -> Result<u64> {
    let (mut last, mut count) = (held.purged_seq, 0);
    for row in tx.rows(CHANGES, &[room.into(), param(upto).into(), param(most).into()])? {
        let seq = row.count(0)?;
        tx.exec(FORGET_CHANGE, &[room.into(), param(seq).into()])?;
        last = last.max(seq);
        count += 1;
    }
    tx.exec(PURGED, &[param(last).into(), room.into()])?;
    Ok(count)
}

/// Forgets a deleted room, whose log is empty.
pub fn forget_room(tx: &mut Tx<'_>, room: &str) -> Result<()> {
    tx.exec(FORGET_ROOM, &[room.into()]).map(drop)
}
