//! What is to be sent to whom: one row for each person, room and kind. A row of messages stands for all that were said in
//! the room from `first_seq` on: how many, by whom and what is read when it leaves, so that a room where people talk
//! writes nothing more for whoever is told already.

use mesh_protocol::{
    RoomId, UserId,
    push::{NotificationLevel, PushKind},
};

use super::{Settings, dead, kind, settings_at, small};
use crate::{
    domain::push::WINDOW_MS,
    error::Result,
    store::{
        db::{Row, Tx},
        messages::param,
        statements,
    },
};

/// When what could not be taken away is looked at again.
const AGAIN_MS: i64 = 1_000;

/// Whether others have said something since, which the row stands for too.
macro_rules! more_was_said {
    ($after:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM messages x WHERE x.room_id = push_due.room_id AND x.seq > ",
            $after,
            " AND x.user_id <> push_due.user_id)"
        )
    };
}

statements! {
    WAITING = "SELECT user_id, priority FROM push_due WHERE room_id = $1 AND kind = 'message' AND user_id >= $2 \
        AND user_id <= $3 AND unsent > 0 AND dead_at IS NULL";
    ADD = "INSERT INTO push_due (id, user_id, room_id, kind, author_id, call_id, priority, unsent, named, first_seq, \
        last_seq, created_at, due_at, claimed_until, attempts, terse) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9, $10, $11, 0, 0, 0) \
        ON CONFLICT (user_id, room_id, kind) WHERE dead_at IS NULL DO UPDATE SET \
        id = CASE WHEN push_due.unsent = 0 THEN excluded.id ELSE push_due.id END, \
        created_at = CASE WHEN push_due.unsent = 0 THEN excluded.created_at ELSE push_due.created_at END, \
        first_seq = CASE WHEN push_due.unsent = 0 OR excluded.first_seq < push_due.first_seq THEN excluded.first_seq ELSE push_due.first_seq END, \
        unsent = 1, \
        due_at = CASE WHEN excluded.priority > push_due.priority AND push_due.attempts = 0 \
            AND (push_due.unsent = 0 OR excluded.due_at < push_due.due_at) THEN excluded.due_at \
            WHEN push_due.unsent = 0 AND excluded.due_at > push_due.due_at THEN excluded.due_at \
            ELSE push_due.due_at END, \
        priority = CASE WHEN push_due.unsent = 0 OR excluded.priority > push_due.priority \
            THEN excluded.priority ELSE push_due.priority END";
    // A call is told at once: whatever waits of an earlier one takes its place, with its id.
    CALL = "INSERT INTO push_due (id, user_id, room_id, kind, author_id, call_id, priority, unsent, named, first_seq, \
        last_seq, created_at, due_at, claimed_until, attempts, terse) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9, $10, $11, 0, 0, 0) \
        ON CONFLICT (user_id, room_id, kind) WHERE dead_at IS NULL DO UPDATE SET \
        id = excluded.id, author_id = excluded.author_id, call_id = excluded.call_id, priority = excluded.priority, \
        unsent = excluded.unsent + CASE WHEN push_due.kind = 'missed' THEN push_due.unsent ELSE 0 END, \
        created_at = excluded.created_at, due_at = excluded.due_at, claimed_until = 0, attempts = 0, tried_at = NULL, \
        terse = 0, last_error = NULL";
    UNRING = "DELETE FROM push_due WHERE call_id = $1 AND kind = 'ring' AND dead_at IS NULL";
    WAITING_OF = "SELECT CAST(COUNT(*) AS BIGINT) FROM push_due WHERE user_id = $1 AND dead_at IS NULL AND unsent > 0";
    OLDEST_OF = "SELECT id FROM push_due WHERE user_id = $1 AND dead_at IS NULL AND unsent > 0 \
        ORDER BY created_at, id LIMIT 1";
    NEXT_AT = "SELECT due_at, claimed_until FROM push_due WHERE dead_at IS NULL ORDER BY due_at LIMIT 1";
    // What a notification stands for ends with the room's number at this moment: what is said later is its successor's.
    DUE = "SELECT d.id, d.user_id, d.room_id, d.kind, d.priority, d.unsent, d.first_seq, d.created_at, \
        d.claimed_until, d.attempts, d.tried_at, d.terse, u.username, u.disabled_at, s.sealed_token, \
        s.enabled, s.min_priority, s.quiet_from, s.quiet_to, s.time_zone, s.locale, r.name, r.kind, r.last_seq, \
        m.read_seq, l.level, l.muted_until, a.display_name FROM push_due d JOIN users u ON u.id = d.user_id \
        LEFT JOIN push_settings s ON s.user_id = d.user_id \
        LEFT JOIN rooms r ON r.id = d.room_id AND r.deleted_at IS NULL \
        LEFT JOIN room_members m ON m.room_id = d.room_id AND m.user_id = d.user_id \
        LEFT JOIN push_levels l ON l.room_id = d.room_id AND l.user_id = d.user_id \
        LEFT JOIN users a ON a.id = d.author_id \
        WHERE d.dead_at IS NULL AND d.due_at <= $1 AND d.claimed_until <= $1 \
        ORDER BY d.priority DESC, d.due_at LIMIT $2";
    // As many as a room's unread messages are counted.
    SAID = "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(n.named), 0) AS BIGINT), MAX(n.seq), \
        MAX(CASE WHEN n.named = 1 THEN n.seq END) FROM (SELECT x.seq AS seq, CASE WHEN x.mentions LIKE $1 THEN 1 ELSE 0 END AS named \
        FROM messages x WHERE x.room_id = $2 AND x.seq > $3 AND x.seq <= $4 AND x.user_id <> $5 AND x.deleted_at IS NULL \
        ORDER BY x.seq DESC LIMIT 1000) AS n";
    SAID_LAST = "SELECT u.display_name, x.content FROM messages x JOIN users u ON u.id = x.user_id \
        WHERE x.room_id = $1 AND x.seq = $2 AND x.deleted_at IS NULL";
    CLAIM = "UPDATE push_due SET claimed_until = $1, tried_at = COALESCE(tried_at, $2) \
        WHERE id = $3 AND claimed_until = $4 AND dead_at IS NULL";
    CANCEL = concat!("DELETE FROM push_due WHERE id = $1 AND dead_at IS NULL AND (kind <> 'message' OR unsent = 0 OR NOT ", more_was_said!("$2"), ")");
    RELEASE = "UPDATE push_due SET claimed_until = 0, due_at = $1 WHERE id = $2 AND dead_at IS NULL";
    HOLD = "UPDATE push_due SET due_at = $1 WHERE id = $2 AND dead_at IS NULL";
    // A mention that came while it was under way waits for no window.
    SENT = concat!("UPDATE push_due SET unsent = CASE WHEN ", more_was_said!("$1"), " THEN 1 ELSE 0 END, \
        first_seq = $2, due_at = CASE WHEN priority > $3 THEN CAST($4 AS BIGINT) ELSE CAST($5 AS BIGINT) END, claimed_until = 0, attempts = 0, tried_at = NULL, \
        terse = 0, last_error = NULL, id = $6, created_at = $4 WHERE id = $7 AND dead_at IS NULL");
    TOLD = "DELETE FROM push_due WHERE id = $1 AND dead_at IS NULL";
    FAILED = "UPDATE push_due SET due_at = $1, claimed_until = 0, attempts = attempts + 1, last_error = $2, terse = $3 \
        WHERE id = $4 AND dead_at IS NULL";
    FREE = "UPDATE push_due SET claimed_until = 0 WHERE claimed_until > 0 AND dead_at IS NULL";
    HURRY = "UPDATE push_due SET due_at = $1 WHERE user_id = $2 AND dead_at IS NULL AND unsent > 0 \
        AND due_at > $1 AND attempts > 0";
    LOOK_AGAIN = "UPDATE push_due SET due_at = $1 WHERE user_id = $2 AND dead_at IS NULL AND unsent > 0 \
        AND due_at > $3 AND attempts = 0";
    OF_DELETED = "DELETE FROM push_due WHERE user_id = $1";
    SETTINGS_OF_DELETED = "DELETE FROM push_settings WHERE user_id = $1";
    COUNTS = "SELECT (SELECT CAST(COUNT(*) AS BIGINT) FROM push_outbox), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM push_due WHERE dead_at IS NULL AND unsent > 0), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM push_due WHERE dead_at IS NOT NULL)";
}

/// Something to be sent to somebody: what happened in one room.
#[derive(Clone, Debug)]
pub struct NewDue {
    /// Its id, where nothing of the kind waits yet.
    pub id: String,
    /// Whom.
    pub user: String,
    /// Of which room.
    pub room: String,
    /// What.
    pub kind: PushKind,
    /// Who, for a call.
    pub author: String,
    /// Which call.
    pub call: Option<String>,
    /// How urgent.
    pub priority: u8,
    /// How many calls.
    pub count: u64,
    /// The number of the first message.
    pub first_seq: u64,
    /// Since when.
    pub at: i64,
    /// When it leaves.
    pub due_at: i64,
}

/// Whom of a range of people a notification of the room's messages waits for, and how urgent it is.
pub fn waiting(tx: &mut Tx<'_>, room: &str, from: &str, to: &str) -> Result<Vec<(String, u8)>> {
    let rows = tx.rows(WAITING, &[room.into(), from.into(), to.into()])?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), small(Some(row.int(1)?))))).collect()
}

/// Adds it to what waits for that person and room. Beyond `most` for one person, the oldest is given up.
pub fn add(tx: &mut Tx<'_>, new: &NewDue, most: u64, now: i64) -> Result<()> {
    tx.exec(
        if new.kind == PushKind::Message { ADD } else { CALL },
        &[
            (&new.id).into(),
            (&new.user).into(),
            (&new.room).into(),
            new.kind.as_str().into(),
            (&new.author).into(),
            new.call.as_deref().into(),
            i64::from(new.priority).into(),
            param(new.count).into(),
            param(new.first_seq).into(),
            new.at.into(),
            new.due_at.into(),
        ],
    )?;
    let waiting = tx.row(WAITING_OF, &[(&new.user).into()])?.map_or(Ok(0), |row| row.count(0))?;
    if waiting > most
        && let Some(row) = tx.row(OLDEST_OF, &[(&new.user).into()])?
    {
        let end = dead::End { why: &format!("more than {most} waited for this person"), tried: false, count: None };
        dead::kill(tx, row.text(0)?, &new.user, &end, most, now)?;
    }
    Ok(())
}

/// Takes a ring back that has not left.
pub fn unring(tx: &mut Tx<'_>, call: &str) -> Result<()> {
    tx.exec(UNRING, &[call.into()]).map(drop)
}

/// Something that is due, with all that decides about it.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id.
    pub id: String,
    /// Whom.
    pub user: UserId,
    /// Their user name.
    pub username: String,
    /// Whether their account is shut.
    pub disabled: bool,
    /// How they want it.
    pub settings: Settings,
    /// Of which room.
    pub room: RoomId,
    /// The room; none where it is gone.
    pub in_room: Option<InRoom>,
    /// What.
    pub kind: PushKind,
    /// How urgent it was held to be.
    pub priority: u8,
    /// How many calls, or whether there are messages; 0 for one that was delivered, and is to be forgotten.
    pub count: u64,
    /// The first number that it stands for.
    pub first_seq: u64,
    /// Since when.
    pub at: i64,
    /// Which claim it had.
    pub claimed_until: i64,
    /// How often it failed.
    pub attempts: u64,
    /// When it was tried first.
    pub tried_at: Option<i64>,
    /// Whether its text was too large.
    pub terse: bool,
    /// Up to where they have read; none where they are no member.
    pub read_seq: Option<u64>,
    /// What they want to hear of the room.
    pub level: NotificationLevel,
    /// Until when nothing.
    pub muted_until: Option<i64>,
    /// Who called last.
    pub author: String,
    /// What was said that they have not read.
    pub said: Said,
}

impl Due {
    /// The last number that it stands for; where the room is gone, all that there were.
    pub fn upto(&self) -> u64 {
        self.in_room.as_ref().map_or(u64::MAX, |room| room.last_seq)
    }
}

/// The room of a notification.
#[derive(Clone, Debug)]
pub struct InRoom {
    /// Its name.
    pub name: String,
    /// Whether it is a direct one.
    pub direct: bool,
    /// Its number at this moment.
    pub last_seq: u64,
}

/// What others have said in a room, and was not deleted.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// How many messages, at most 1,000.
    pub count: u64,
    /// How many of them name the person.
    pub named: u64,
    /// The last: who said what.
    pub last: Option<(String, String)>,
    /// The last that names the person.
    pub last_named: Option<(String, String)>,
}

fn said(tx: &mut Tx<'_>, due: &Due) -> Result<Said> {
    let (user, room) = (due.user.to_string(), due.room.to_string());
    let after = due.read_seq.unwrap_or(0).max(due.first_seq.saturating_sub(1));
    let like = format!("%{user}%");
    let params = [(&like).into(), (&room).into(), param(after).into(), param(due.upto()).into(), (&user).into()];
    let Some(row) = tx.row(SAID, &params)? else { return Ok(Said::default()) };
    let mut one = |seq: Option<i64>| {
        let Some(seq) = seq else { return Ok(None) };
        let row = tx.row(SAID_LAST, &[(&room).into(), seq.into()])?;
        row.map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).transpose()
    };
    let last = one(row.opt_int(2)?)?;
    let last_named = one(row.opt_int(3)?)?;
    Ok(Said { count: row.count(0)?, named: row.count(1)?, last, last_named })
}

/// What is due, the most urgent first.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Due>> {
    let read = |row: &Row| {
        let in_room = match (row.opt_text(21)?, row.opt_int(23)?) {
            (Some(name), Some(last_seq)) => Some(InRoom {
                name: name.to_owned(),
                direct: row.opt_text(22)? == Some("direct"),
                last_seq: small(Some(last_seq)),
            }),
            _ => None,
        };
        Ok(Due {
            id: row.text(0)?.to_owned(),
            user: UserId::parse(row.text(1)?),
            room: RoomId::parse(row.text(2)?),
            kind: kind(row.text(3)?)?,
            priority: small(Some(row.int(4)?)),
            count: row.count(5)?,
            first_seq: row.count(6)?,
            at: row.int(7)?,
            claimed_until: row.int(8)?,
            attempts: row.count(9)?,
            tried_at: row.opt_int(10)?,
            terse: row.int(11)? != 0,
            username: row.text(12)?.to_owned(),
            disabled: row.opt_int(13)?.is_some(),
            settings: settings_at(row, 14)?,
            in_room,
            read_seq: row.opt_int(24)?.and_then(|n| u64::try_from(n).ok()),
            level: row.opt_text(25)?.and_then(NotificationLevel::parse).unwrap_or_default(),
            muted_until: row.opt_int(26)?,
            author: row.opt_text(27)?.unwrap_or_default().to_owned(),
            said: Said::default(),
        })
    };
    let mut all = tx.rows(DUE, &[now.into(), limit.into()])?.iter().map(read).collect::<Result<Vec<Due>>>()?;
    for due in all.iter_mut().filter(|due| due.kind == PushKind::Message && due.count > 0) {
        due.said = said(tx, due)?;
    }
    Ok(all)
}

/// When the next is due, Unix milliseconds.
pub fn next_at(tx: &mut Tx<'_>) -> Result<Option<i64>> {
    let Some(row) = tx.row(NEXT_AT, &[])? else { return Ok(None) };
    Ok(Some(row.int(0)?.max(row.int(1)?)))
}

/// Takes it, so that no other process sends it; false where one was faster.
pub fn claim(tx: &mut Tx<'_>, due: &Due, until: i64, now: i64) -> Result<bool> {
    Ok(tx.exec(CLAIM, &[until.into(), now.into(), (&due.id).into(), due.claimed_until.into()])? == 1)
}

/// It need not be sent any more. Where more was said since, it stays, and is looked at again in a moment, so that a room
/// full of talk keeps nothing else from its turn.
pub fn cancel(tx: &mut Tx<'_>, due: &Due, now: i64) -> Result<()> {
    if tx.exec(CANCEL, &[(&due.id).into(), param(due.upto()).into()])? == 0 {
        tx.exec(RELEASE, &[(now + AGAIN_MS).into(), (&due.id).into()])?;
    }
    Ok(())
}

/// It waits.
pub fn hold(tx: &mut Tx<'_>, due: &Due, until: i64) -> Result<()> {
    tx.exec(HOLD, &[until.into(), (&due.id).into()]).map(drop)
}

/// It was delivered. What was said meanwhile is a notification of its own, `next_id`, and waits for the window's end.
pub fn delivered(tx: &mut Tx<'_>, due: &Due, next_id: &str, now: i64) -> Result<()> {
    // A call is told once, and the next one at once.
    if due.kind != PushKind::Message {
        return tx.exec(TOLD, &[(&due.id).into()]).map(drop);
    }
    let params = [
        param(due.upto()).into(),
        param(due.upto().saturating_add(1)).into(),
        i64::from(due.priority).into(),
        now.into(),
        (now + WINDOW_MS).into(),
        next_id.into(),
        (&due.id).into(),
    ];
    tx.exec(SENT, &params).map(drop)
}

/// It failed, and is tried again; `terse` without its text.
pub fn failed(tx: &mut Tx<'_>, id: &str, again_at: i64, why: &str, terse: bool) -> Result<()> {
    tx.exec(FAILED, &[again_at.into(), why.into(), i64::from(terse).into(), id.into()]).map(drop)
}

/// What a process that was killed had claimed is free: there is no other.
pub fn free(tx: &mut Tx<'_>) -> Result<u64> {
    tx.exec(FREE, &[])
}

/// What failed for somebody is tried at once: they gave another token.
pub fn hurry(tx: &mut Tx<'_>, user: UserId, now: i64) -> Result<()> {
    tx.exec(HURRY, &[now.into(), (&user.to_string()).into()]).map(drop)
}

/// What is held for somebody's quiet hours is looked at again: these have changed. What waits for a window's end leaves
/// with it.
pub fn look_again(tx: &mut Tx<'_>, user: UserId, now: i64) -> Result<()> {
    tx.exec(LOOK_AGAIN, &[now.into(), (&user.to_string()).into(), (now + WINDOW_MS).into()]).map(drop)
}

/// Forgets all that belongs to an account that is deleted.
pub fn forget(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    let user = user.to_string();
    tx.exec(OF_DELETED, &[(&user).into()])?;
    tx.exec(SETTINGS_OF_DELETED, &[(&user).into()]).map(drop)
}

/// How much there is in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Happened, and not looked at.
    pub new: u64,
    /// To be sent.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
}

/// Counts it.
pub fn counts(tx: &mut Tx<'_>) -> Result<Counts> {
    let Some(row) = tx.row(COUNTS, &[])? else { return Ok(Counts::default()) };
    Ok(Counts { new: row.count(0)?, waiting: row.count(1)?, dead: row.count(2)? })
}
