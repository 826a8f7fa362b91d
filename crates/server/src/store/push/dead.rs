//! What was not delivered: the administrators' list, and the dead letters.

use mesh_protocol::{
    RoomId, Timestamp, UserId,
    push::{OutboxEntry, OutboxState, PushKind},
};

use super::{
    due::{NewDue, add},
    kind, small,
};
use crate::{
    error::Result,
    store::{
        db::{Row, Tx},
        messages::param,
        statements,
    },
};

statements! {
    // A dead letter stands for all that was said until it died.
    KILL = "UPDATE push_due SET dead_at = $1, claimed_until = 0, last_error = $2, attempts = attempts + $3, \
        unsent = COALESCE($4, unsent), last_seq = COALESCE((SELECT r.last_seq FROM rooms r WHERE r.id = push_due.room_id), last_seq) \
        WHERE id = $5 AND dead_at IS NULL";
    LIST = "SELECT d.id, d.kind, d.user_id, u.username, d.room_id, \
        CASE WHEN d.kind = 'message' AND d.dead_at IS NULL THEN (SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM messages x \
            WHERE x.room_id = d.room_id AND x.seq >= d.first_seq AND x.user_id <> d.user_id AND x.deleted_at IS NULL LIMIT 1000) AS n) \
            ELSE d.unsent END, \
        d.priority, d.attempts, d.last_error, d.created_at, d.due_at, d.dead_at FROM push_due d JOIN users u ON u.id = d.user_id \
        WHERE d.unsent > 0 AND (d.created_at < $1 OR (d.created_at = $1 AND d.id < $2)) \
        AND (CAST($3 AS BIGINT) = 0 OR ($3 = 1 AND d.dead_at IS NULL) OR ($3 = 2 AND d.dead_at IS NOT NULL)) \
        ORDER BY d.created_at DESC, d.id DESC LIMIT $4";
    ONE_DEAD = "SELECT user_id, room_id, kind, author_id, call_id, priority, unsent, first_seq, created_at FROM push_due \
        WHERE id = $1 AND dead_at IS NOT NULL";
    REMOVE = "DELETE FROM push_due WHERE id = $1 AND dead_at IS NOT NULL";
    SWEEP_DEAD = "DELETE FROM push_due WHERE dead_at <= $1";
    DEAD_OF = "DELETE FROM push_due WHERE user_id = $1 AND dead_at IS NOT NULL AND id NOT IN \
        (SELECT id FROM push_due WHERE user_id = $1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, id DESC LIMIT $2)";
}

/// How a notification ends undelivered.
pub struct End<'a> {
    /// Why.
    pub why: &'a str,
    /// Whether an attempt has failed just now.
    pub tried: bool,
    /// How many messages or calls it stands for, where that was counted.
    pub count: Option<u64>,
}

/// It is given up; the newest `most` of one person are kept to be looked at.
pub fn kill(tx: &mut Tx<'_>, id: &str, user: &str, end: &End<'_>, most: u64, now: i64) -> Result<()> {
    let count = end.count.map(param);
    tx.exec(KILL, &[now.into(), end.why.into(), i64::from(end.tried).into(), count.into(), id.into()])?;
    tx.exec(DEAD_OF, &[user.into(), param(most).into()]).map(drop)
}

/// Forgets what was given up before a time.
pub fn sweep(tx: &mut Tx<'_>, before: i64) -> Result<u64> {
    tx.exec(SWEEP_DEAD, &[before.into()])
}

/// What has not been delivered, newest first, older than `(at, id)`.
pub fn list(tx: &mut Tx<'_>, state: Option<OutboxState>, at: i64, id: &str, limit: usize) -> Result<Vec<OutboxEntry>> {
    let state = match state {
        None => 0_i64,
        Some(OutboxState::Waiting) => 1,
        Some(OutboxState::Dead) => 2,
    };
    let read = |row: &Row| {
        let dead = row.opt_int(11)?;
        Ok(OutboxEntry {
            id: row.text(0)?.to_owned(),
            state: if dead.is_some() { OutboxState::Dead } else { OutboxState::Waiting },
            kind: kind(row.text(1)?)?,
            user_id: UserId::parse(row.text(2)?),
            username: row.text(3)?.to_owned(),
            room_id: RoomId::parse(row.text(4)?),
            count: row.count(5)?,
            priority: small(Some(row.int(6)?)),
            attempts: row.count(7)?,
            last_error: row.opt_text(8)?.map(str::to_owned),
            created_at: Timestamp::from_millis(row.int(9)?),
            due_at: dead.is_none().then_some(Timestamp::from_millis(row.int(10)?)),
            dead_at: dead.map(Timestamp::from_millis),
        })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(LIST, &[at.into(), id.into(), state.into(), limit.into()])?.iter().map(read).collect()
}

/// Sends one again that was given up, with what has come to wait for that person and room; whose, or none.
pub fn requeue(tx: &mut Tx<'_>, id: &str, new_id: &str, most: u64, now: i64) -> Result<Option<UserId>> {
    let Some(row) = tx.row(ONE_DEAD, &[id.into()])? else { return Ok(None) };
    let kind = kind(row.text(2)?)?;
    let new = NewDue {
        id: new_id.to_owned(),
        user: row.text(0)?.to_owned(),
        room: row.text(1)?.to_owned(),
        kind,
        author: row.text(3)?.to_owned(),
        call: row.opt_text(4)?.map(str::to_owned),
        priority: small(Some(row.int(5)?)),
        count: row.count(6)?,
        first_seq: row.count(7)?,
        // A ring that is over stays so.
        at: if kind == PushKind::Ring { row.int(8)? } else { now },
        due_at: now,
    };
    tx.exec(REMOVE, &[id.into()])?;
    add(tx, &new, most, now)?;
    Ok(Some(UserId::parse(&new.user)))
}

/// Forgets one that was given up; false where there is none.
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    Ok(tx.exec(REMOVE, &[id.into()])? == 1)
}
