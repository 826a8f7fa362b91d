//! Push: how each person wants it, what happened, and what is due.

use mesh_protocol::{
    RoomId, Timestamp, UserId,
    push::{Locale, NotificationLevel, OutboxEntry, OutboxState, PushKind},
};

use super::{
    db::{Row, Tx},
    messages::param,
    statements,
};
use crate::{
    domain::push::{Quiet, WINDOW_MS},
    error::{Error, Result},
};

statements! {
    SETTINGS = "SELECT sealed_token, enabled, min_priority, quiet_from, quiet_to, time_zone, locale FROM push_settings \
        WHERE user_id = $1";
    SAVE = "INSERT INTO push_settings (user_id, sealed_token, enabled, min_priority, quiet_from, quiet_to, time_zone, locale) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_id) DO UPDATE SET sealed_token = excluded.sealed_token, \
        enabled = excluded.enabled, min_priority = excluded.min_priority, quiet_from = excluded.quiet_from, \
        quiet_to = excluded.quiet_to, time_zone = excluded.time_zone, locale = excluded.locale";
    HURRY = "UPDATE push_due SET due_at = $1, claimed_until = 0 WHERE user_id = $2 AND dead_at IS NULL AND unsent > 0 \
        AND due_at > $1 AND attempts > 0";
    LOOK_AGAIN = "UPDATE push_due SET due_at = $1 WHERE user_id = $2 AND dead_at IS NULL AND unsent > 0 \
        AND due_at > $1 AND attempts = 0 AND created_at < $3";
    LEVEL = "SELECT level, muted_until FROM push_levels WHERE room_id = $1 AND user_id = $2";
    SET_LEVEL = "INSERT INTO push_levels (room_id, user_id, level, muted_until) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (room_id, user_id) DO UPDATE SET level = excluded.level, muted_until = excluded.muted_until";
    ENQUEUE = "INSERT INTO push_outbox (created_at, id, room_id, kind, seq, author_id, after_user) \
        VALUES ($1, $2, $3, $4, $5, $6, '') ON CONFLICT (created_at, id) DO NOTHING";
    HAPPENED = "SELECT created_at, id, room_id, kind, seq, author_id, after_user FROM push_outbox \
        ORDER BY created_at, id LIMIT $1";
    FORGET = "DELETE FROM push_outbox WHERE created_at = $1 AND id = $2 AND after_user = $3";
    MOVE_ON = "UPDATE push_outbox SET after_user = $1 WHERE created_at = $2 AND id = $3 AND after_user = $4";
    UNRING = "DELETE FROM push_outbox WHERE id = $1 AND kind = 'ring'";
    UNRING_DUE = "DELETE FROM push_due WHERE call_id = $1 AND kind = 'ring' AND dead_at IS NULL";
    READERS = "SELECT m.user_id, m.read_seq, l.level, l.muted_until, CAST(CASE WHEN s.sealed_token IS NULL THEN 0 ELSE 1 END AS BIGINT), s.enabled, s.min_priority \
        FROM room_members m LEFT JOIN push_levels l ON l.room_id = m.room_id AND l.user_id = m.user_id \
        LEFT JOIN push_settings s ON s.user_id = m.user_id \
        WHERE m.room_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
    NAMED = "SELECT mentions FROM messages WHERE room_id = $1 AND seq = $2 AND mentions IS NOT NULL";
    ROOM_KIND = "SELECT kind FROM rooms WHERE id = $1";
    ADD = "INSERT INTO push_due (id, user_id, room_id, kind, author_id, call_id, priority, unsent, named, first_seq, \
        last_seq, created_at, due_at, claimed_until, attempts, terse) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0) \
        ON CONFLICT (user_id, room_id, kind) WHERE dead_at IS NULL DO UPDATE SET \
        id = CASE WHEN push_due.unsent = 0 THEN excluded.id ELSE push_due.id END, \
        created_at = CASE WHEN push_due.unsent = 0 THEN excluded.created_at ELSE push_due.created_at END, \
        first_seq = CASE WHEN push_due.unsent = 0 OR excluded.first_seq < push_due.first_seq THEN excluded.first_seq ELSE push_due.first_seq END, \
        last_seq = CASE WHEN excluded.last_seq > push_due.last_seq THEN excluded.last_seq ELSE push_due.last_seq END, \
        author_id = excluded.author_id, call_id = excluded.call_id, \
        unsent = push_due.unsent + excluded.unsent, named = push_due.named + excluded.named, \
        due_at = CASE WHEN push_due.attempts = 0 AND excluded.due_at < push_due.due_at \
            AND excluded.priority > push_due.priority THEN excluded.due_at \
            WHEN push_due.unsent = 0 AND excluded.due_at > push_due.due_at THEN excluded.due_at \
            ELSE push_due.due_at END, \
        priority = CASE WHEN push_due.unsent = 0 OR excluded.priority > push_due.priority \
            THEN excluded.priority ELSE push_due.priority END";
    WAITING_OF = "SELECT CAST(COUNT(*) AS BIGINT) FROM push_due WHERE user_id = $1 AND dead_at IS NULL AND unsent > 0";
    OLDEST_OF = "SELECT id FROM push_due WHERE user_id = $1 AND dead_at IS NULL AND unsent > 0 \
        ORDER BY created_at, id LIMIT 1";
    NEXT_AT = "SELECT due_at, claimed_until FROM push_due WHERE dead_at IS NULL ORDER BY due_at LIMIT 1";
    DUE = "SELECT d.id, d.user_id, d.room_id, d.kind, d.priority, d.unsent, d.named, d.first_seq, d.last_seq, \
        d.created_at, d.claimed_until, d.attempts, d.tried_at, d.terse, u.username, u.disabled_at, s.sealed_token, \
        s.enabled, s.min_priority, s.quiet_from, s.quiet_to, s.time_zone, s.locale, r.name, r.kind, m.read_seq, l.level, \
        l.muted_until, a.display_name, x.content, x.deleted_at FROM push_due d JOIN users u ON u.id = d.user_id \
        LEFT JOIN push_settings s ON s.user_id = d.user_id \
        LEFT JOIN rooms r ON r.id = d.room_id AND r.deleted_at IS NULL \
        LEFT JOIN room_members m ON m.room_id = d.room_id AND m.user_id = d.user_id \
        LEFT JOIN push_levels l ON l.room_id = d.room_id AND l.user_id = d.user_id \
        LEFT JOIN users a ON a.id = d.author_id \
        LEFT JOIN messages x ON d.kind = 'message' AND x.room_id = d.room_id AND x.seq = d.last_seq \
        WHERE d.dead_at IS NULL AND d.due_at <= $1 AND d.claimed_until <= $1 \
        ORDER BY d.priority DESC, d.due_at LIMIT $2";
    CLAIM = "UPDATE push_due SET claimed_until = $1, tried_at = COALESCE(tried_at, $2) \
        WHERE id = $3 AND claimed_until = $4 AND dead_at IS NULL";
    DROP_ONE = "DELETE FROM push_due WHERE id = $1 AND last_seq <= $2 AND dead_at IS NULL";
    HOLD = "UPDATE push_due SET due_at = $1 WHERE id = $2 AND last_seq <= $3 AND dead_at IS NULL";
    SENT = "UPDATE push_due SET unsent = unsent - $1, named = CASE WHEN named < $2 THEN 0 ELSE named - $2 END, \
        first_seq = $3, due_at = $4, claimed_until = 0, attempts = 0, tried_at = NULL, terse = 0, last_error = NULL, \
        id = $5, created_at = $6 WHERE id = $7 AND dead_at IS NULL";
    FAILED = "UPDATE push_due SET due_at = $1, claimed_until = 0, attempts = attempts + 1, last_error = $2, terse = $3 \
        WHERE id = $4 AND dead_at IS NULL";
    KILL = "UPDATE push_due SET dead_at = $1, claimed_until = 0, last_error = $2, attempts = attempts + $3 \
        WHERE id = $4 AND dead_at IS NULL";
    FREE = "UPDATE push_due SET claimed_until = 0 WHERE claimed_until > 0 AND dead_at IS NULL";
    LIST = "SELECT d.id, d.kind, d.user_id, u.username, d.room_id, d.unsent, d.priority, d.attempts, d.last_error, \
        d.created_at, d.due_at, d.dead_at FROM push_due d JOIN users u ON u.id = d.user_id \
        WHERE d.unsent > 0 AND (d.created_at < $1 OR (d.created_at = $1 AND d.id < $2)) \
        AND (CAST($3 AS BIGINT) = 0 OR ($3 = 1 AND d.dead_at IS NULL) OR ($3 = 2 AND d.dead_at IS NOT NULL)) \
        ORDER BY d.created_at DESC, d.id DESC LIMIT $4";
    ONE_DEAD = "SELECT user_id, room_id, kind, author_id, call_id, priority, unsent, named, first_seq, last_seq, created_at \
        FROM push_due WHERE id = $1 AND dead_at IS NOT NULL";
    REMOVE = "DELETE FROM push_due WHERE id = $1 AND dead_at IS NOT NULL";
    SWEEP_DEAD = "DELETE FROM push_due WHERE dead_at <= $1";
    DEAD_OF = "DELETE FROM push_due WHERE user_id = $1 AND dead_at IS NOT NULL AND id NOT IN \
        (SELECT id FROM push_due WHERE user_id = $1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, id DESC LIMIT $2)";
}

/// How somebody wants to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Their own token, sealed.
    pub sealed_token: Option<String>,
    /// Whether at all.
    pub enabled: bool,
    /// Only what is so urgent.
    pub min_priority: u8,
    /// When not.
    pub quiet: Option<Quiet>,
    /// In which time zone that is meant.
    pub time_zone: String,
    /// In which language.
    pub locale: Locale,
}

impl Default for Settings {
    fn default() -> Self {
        let time_zone = "UTC".to_owned();
        Self { sealed_token: None, enabled: true, min_priority: 0, quiet: None, time_zone, locale: Locale::En }
    }
}

fn small<T: TryFrom<i64> + Default>(value: Option<i64>) -> T {
    value.and_then(|n| T::try_from(n).ok()).unwrap_or_default()
}

/// Reads settings whose first column is `at`; the defaults where there are none.
fn settings_at(row: &Row, at: usize) -> Result<Settings> {
    let Some(enabled) = row.opt_int(at + 1)? else { return Ok(Settings::default()) };
    let quiet = match (row.opt_int(at + 3)?, row.opt_int(at + 4)?) {
        (Some(from), Some(to)) => Some(Quiet { from: small(Some(from)), to: small(Some(to)) }),
        _ => None,
    };
    Ok(Settings {
        sealed_token: row.opt_text(at)?.map(str::to_owned),
        enabled: enabled != 0,
        min_priority: small(row.opt_int(at + 2)?),
        quiet,
        time_zone: row.text(at + 5)?.to_owned(),
        locale: Locale::parse(row.text(at + 6)?).unwrap_or_default(),
    })
}

/// Somebody's settings.
pub fn settings(tx: &mut Tx<'_>, user: UserId) -> Result<Settings> {
    let row = tx.row(SETTINGS, &[(&user.to_string()).into()])?;
    row.map_or_else(|| Ok(Settings::default()), |row| settings_at(&row, 0))
}

/// Keeps somebody's settings.
pub fn save(tx: &mut Tx<'_>, user: UserId, settings: &Settings) -> Result<()> {
    let quiet = settings.quiet;
    tx.exec(
        SAVE,
        &[
            (&user.to_string()).into(),
            settings.sealed_token.as_deref().into(),
            i64::from(settings.enabled).into(),
            i64::from(settings.min_priority).into(),
            quiet.map(|q| i64::from(q.from)).into(),
            quiet.map(|q| i64::from(q.to)).into(),
            (&settings.time_zone).into(),
            settings.locale.as_str().into(),
        ],
    )
    .map(drop)
}

/// What failed for somebody is tried at once: they gave another token.
pub fn hurry(tx: &mut Tx<'_>, user: UserId, now: i64) -> Result<()> {
    tx.exec(HURRY, &[now.into(), (&user.to_string()).into()]).map(drop)
}

/// What waits for somebody without having failed is looked at again: their hours changed.
pub fn look_again(tx: &mut Tx<'_>, user: UserId, now: i64) -> Result<()> {
    tx.exec(LOOK_AGAIN, &[now.into(), (&user.to_string()).into(), (now - WINDOW_MS).into()]).map(drop)
}

/// What a member wants to hear of a room, and until when nothing.
pub fn level(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<(NotificationLevel, Option<i64>)> {
    let Some(row) = tx.row(LEVEL, &[room.into(), user.into()])? else { return Ok(Default::default()) };
    Ok((NotificationLevel::parse(row.text(0)?).unwrap_or_default(), row.opt_int(1)?))
}

/// Sets it; the member must be one.
pub fn set_level(
    tx: &mut Tx<'_>,
    room: &str,
    user: &str,
    level: NotificationLevel,
    muted_until: Option<i64>,
) -> Result<()> {
    tx.exec(SET_LEVEL, &[room.into(), user.into(), level.as_str().into(), muted_until.into()]).map(drop)
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

/// Takes a ring back, where it has not left.
pub fn unring(tx: &mut Tx<'_>, call: &str) -> Result<()> {
    tx.exec(UNRING, &[call.into()])?;
    tx.exec(UNRING_DUE, &[call.into()]).map(drop)
}

fn kind(word: &str) -> Result<PushKind> {
    PushKind::parse(word).ok_or_else(|| Error::internal("an unknown kind of notification"))
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
    /// Who, last.
    pub author: String,
    /// Which call.
    pub call: Option<String>,
    /// How urgent.
    pub priority: u8,
    /// How many.
    pub count: u64,
    /// How many of them name the person.
    pub named: u64,
    /// The first number.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// Since when.
    pub at: i64,
    /// When it leaves.
    pub due_at: i64,
}

/// Adds it to what waits for that person and room. Beyond `most` for one person, the oldest is given up.
pub fn add(tx: &mut Tx<'_>, new: &NewDue, most: u64, now: i64) -> Result<()> {
    tx.exec(
        ADD,
        &[
            (&new.id).into(),
            (&new.user).into(),
            (&new.room).into(),
            new.kind.as_str().into(),
            (&new.author).into(),
            new.call.as_deref().into(),
            i64::from(new.priority).into(),
            param(new.count).into(),
            param(new.named).into(),
            param(new.first_seq).into(),
            param(new.last_seq).into(),
            new.at.into(),
            new.due_at.into(),
        ],
    )?;
    let waiting = tx.row(WAITING_OF, &[(&new.user).into()])?.map_or(Ok(0), |row| row.count(0))?;
    if waiting > most
        && let Some(row) = tx.row(OLDEST_OF, &[(&new.user).into()])?
    {
        kill(tx, row.text(0)?, &new.user, &format!("more than {most} waited for this person"), false, most, now)?;
    }
    Ok(())
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
    /// Its name, and whether it is a direct one; none where it is gone.
    pub room_name: Option<(String, bool)>,
    /// What.
    pub kind: PushKind,
    /// How urgent.
    pub priority: u8,
    /// How many; 0 for one that was delivered, and is to be forgotten.
    pub count: u64,
    /// How many of them name the person.
    pub named: u64,
    /// The first number.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
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
    /// Who wrote or called last.
    pub author: String,
    /// What was said last; none where it was deleted or purged.
    pub text: Option<String>,
}

/// What is due, the most urgent first.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Due>> {
    let read = |row: &Row| {
        let room_name = row.opt_text(23)?.map(|name| (name.to_owned(), row.text(24).is_ok_and(|k| k == "direct")));
        let deleted = row.opt_int(30)?.is_some();
        Ok(Due {
            id: row.text(0)?.to_owned(),
            user: UserId::parse(row.text(1)?),
            room: RoomId::parse(row.text(2)?),
            kind: kind(row.text(3)?)?,
            priority: small(Some(row.int(4)?)),
            count: row.count(5)?,
            named: row.count(6)?,
            first_seq: row.count(7)?,
            last_seq: row.count(8)?,
            at: row.int(9)?,
            claimed_until: row.int(10)?,
            attempts: row.count(11)?,
            tried_at: row.opt_int(12)?,
            terse: row.int(13)? != 0,
            username: row.text(14)?.to_owned(),
            disabled: row.opt_int(15)?.is_some(),
            settings: settings_at(row, 16)?,
            room_name,
            read_seq: row.opt_int(25)?.and_then(|n| u64::try_from(n).ok()),
            level: row.opt_text(26)?.and_then(NotificationLevel::parse).unwrap_or_default(),
            muted_until: row.opt_int(27)?,
            author: row.opt_text(28)?.unwrap_or_default().to_owned(),
            text: row.opt_text(29)?.filter(|_| !deleted).map(str::to_owned),
        })
    };
    tx.rows(DUE, &[now.into(), limit.into()])?.iter().map(read).collect()
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

/// It need not be sent any more; what joined it since stays.
pub fn cancel(tx: &mut Tx<'_>, due: &Due) -> Result<()> {
    tx.exec(DROP_ONE, &[(&due.id).into(), param(due.last_seq).into()]).map(drop)
}

/// It waits.
pub fn hold(tx: &mut Tx<'_>, due: &Due, until: i64) -> Result<()> {
    tx.exec(HOLD, &[until.into(), (&due.id).into(), param(due.last_seq).into()]).map(drop)
}

/// It was delivered. What joined it meanwhile stays, as a notification of its own, `next_id`; and the next of the room
/// waits for the window's end.
pub fn delivered(tx: &mut Tx<'_>, due: &Due, next_id: &str, now: i64) -> Result<()> {
    // A call is told once, and the next one at once.
    if due.kind != PushKind::Message {
        return cancel(tx, due);
    }
    let params = [
        param(due.count).into(),
        param(due.named).into(),
        param(due.last_seq.saturating_add(1)).into(),
        (now + WINDOW_MS).into(),
        next_id.into(),
        now.into(),
        (&due.id).into(),
    ];
    tx.exec(SENT, &params).map(drop)
}

/// It failed, and is tried again; `terse` without its text.
pub fn failed(tx: &mut Tx<'_>, id: &str, again_at: i64, why: &str, terse: bool) -> Result<()> {
    tx.exec(FAILED, &[again_at.into(), why.into(), i64::from(terse).into(), id.into()]).map(drop)
}

/// It is given up; the newest `most` of one person are kept to be looked at.
pub fn kill(tx: &mut Tx<'_>, id: &str, user: &str, why: &str, tried: bool, most: u64, now: i64) -> Result<()> {
    tx.exec(KILL, &[now.into(), why.into(), i64::from(tried).into(), id.into()])?;
    tx.exec(DEAD_OF, &[user.into(), param(most).into()]).map(drop)
}

/// What a process that was killed had claimed is free: there is no other.
pub fn free(tx: &mut Tx<'_>) -> Result<u64> {
    tx.exec(FREE, &[])
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
    let (waiting, last) = (row.text(0)?.to_owned(), row.count(9)?);
    let new = NewDue {
        id: new_id.to_owned(),
        user: waiting,
        room: row.text(1)?.to_owned(),
        kind: kind(row.text(2)?)?,
        author: row.text(3)?.to_owned(),
        call: row.opt_text(4)?.map(str::to_owned),
        priority: small(Some(row.int(5)?)),
        count: row.count(6)?,
        named: row.count(7)?,
        first_seq: row.count(8)?,
        last_seq: last,
        at: row.int(10)?,
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
