//! The way of a notification: what happened becomes what is due, which leaves by the driver. Every step is one
//! transaction, so that a death between two of them loses nothing; only between a push server's answer and its record can
//! one be sent twice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mesh_protocol::{
    RoomId, UserId,
    push::{Locale, PushKind},
};

use crate::{
    app::App,
    config::Secret,
    domain::push::{
        DEAD_MS, Facts, HOLD_MS, PERSONAL, PushContent, RING_MS, backoff, compose, priority, quiet_until, time_zone,
        wanted,
    },
    error::Result,
    push::{Note, Outcome, Push, Verdict},
    store::{
        self, Tx,
        push::{Cause, Due, NewDue, Reader},
    },
};

/// What happened, looked at together.
const CAUSES: i64 = 100;
/// Members looked at in one transaction: its writers make chat wait.
const MEMBERS: i64 = 50;
/// Rooms that may wait for one person, and dead letters kept of one.
pub const MOST: u64 = 100;
/// How long one process may take to send what it claimed, milliseconds: longer than a driver takes.
const CLAIM_MS: i64 = 15_000;
/// Dead letters are forgotten after 30 days.
const DEAD_KEPT_MS: i64 = 30 * 86_400_000;
/// The writer that the workers use.
const KEY: u128 = 10;

/// The purpose under which a person's token is sealed.
pub(super) fn purpose(user: UserId) -> String {
    format!("gotify:{user}")
}

/// Notes a message, in its transaction.
///
/// # Errors
/// As the store says.
pub(super) fn message(tx: &mut Tx<'_>, id: &str, room: &str, seq: u64, author: &str, now: i64) -> Result<()> {
    store::push::enqueue(tx, PushKind::Message, id, room, seq, author, now)
}

/// A call, as its push knows it. Its id is the caller's choice: the room is part of its name.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its id.
    pub id: &'a str,
    /// Where.
    pub room: RoomId,
    /// Who calls.
    pub from: UserId,
}

impl Call<'_> {
    /// Ids of calls are their callers' choice: the room keeps one from touching another's.
    fn key(&self) -> String {
        format!("{}/{}", self.room, self.id)
    }
}

/// Notes that somebody is calling: one row in the caller's own transaction, none where push is off. Whoever is in the
/// room and has no connection is rung. After the commit, [`Push::wake`] sends it without delay; within a second it leaves
/// anyhow.
///
/// # Errors
/// As the store says.
pub fn ring(push: &Push, tx: &mut Tx<'_>, call: Call<'_>, now: i64) -> Result<()> {
    if !push.is_on() {
        return Ok(());
    }
    store::push::enqueue(tx, PushKind::Ring, &call.key(), &call.room.to_string(), 0, &call.from.to_string(), now)
}

/// Takes a ring back that has not left: the call was answered, declined by the only other, cancelled, or has ended. Whoever
/// answers or declines has a connection, and is not rung by push in any case.
///
/// # Errors
/// As the store says.
pub fn unring(push: &Push, tx: &mut Tx<'_>, call: Call<'_>) -> Result<()> {
    if !push.is_on() {
        return Ok(());
    }
    store::push::unring(tx, &call.key())
}

/// Notes that nobody answered a call; a ring that has not left is taken back.
///
/// # Errors
/// As the store says.
pub fn missed(push: &Push, tx: &mut Tx<'_>, call: Call<'_>, now: i64) -> Result<()> {
    if !push.is_on() {
        return Ok(());
    }
    unring(push, tx, call)?;
    let id = format!("{}/missed", call.key());
    store::push::enqueue(tx, PushKind::Missed, &id, &call.room.to_string(), 0, &call.from.to_string(), now)
}

/// What a process that was killed had claimed is tried at once.
///
/// # Errors
/// As the store says.
pub async fn begin(app: &App) -> Result<()> {
    if app.config.bus_url.is_some() {
        return Ok(());
    }
    app.db.write(KEY, |tx| store::push::free(tx).map(drop)).await
}

/// Makes what is due of what happened; whether there may be more.
///
/// # Errors
/// As the store says.
pub async fn expand(app: &App) -> Result<bool> {
    let causes = app.db.read(|tx| store::push::happened(tx, CAUSES)).await?;
    let more = i64::try_from(causes.len()).is_ok_and(|n| n == CAUSES);
    // Messages of one room are looked at together, as long as nobody was before.
    let mut groups: Vec<Vec<Cause>> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for cause in causes {
        let joins = cause.kind == PushKind::Message && cause.after.is_empty();
        match open.get(&cause.room).and_then(|at| groups.get_mut(*at)).filter(|_| joins) {
            Some(group) => group.push(cause),
            None => {
                if joins {
                    open.insert(cause.room.clone(), groups.len());
                }
                groups.push(vec![cause]);
            }
        }
    }
    let mut unfinished = false;
    for group in groups {
        unfinished |= look(app, group).await?;
    }
    Ok(more || unfinished)
}

/// Looks at the next members for some causes of one room; whether there are more members.
async fn look(app: &App, causes: Vec<Cause>) -> Result<bool> {
    let causes = Arc::new(causes);
    let looked = causes.clone();
    let (readers, direct, named) = app
        .db
        .read(move |tx| {
            let Some(first) = looked.first() else { return Ok((Vec::new(), false, HashMap::new())) };
            let (readers, direct) = store::push::readers(tx, &first.room, &first.after, MEMBERS)?;
            let mut named: HashMap<u64, HashSet<UserId>> = HashMap::new();
            for cause in looked.iter().filter(|cause| cause.kind == PushKind::Message) {
                named.insert(cause.seq, store::push::named(tx, &cause.room, cause.seq)?.into_iter().collect());
            }
            Ok((readers, direct, named))
        })
        .await?;
    let now = app.clock.now_ms();
    let to = if i64::try_from(readers.len()).is_ok_and(|n| n == MEMBERS) {
        readers.last().map(|reader| reader.user.to_string())
    } else {
        None
    };
    let due: Vec<NewDue> = readers
        .iter()
        .filter(|reader| !app.presence.is_online(reader.user))
        .filter_map(|reader| due_of(app, reader, &causes, direct, &named, now))
        .collect();
    let (unfinished, woken) = (to.is_some(), !due.is_empty());
    app.db
        .write(KEY, move |tx| {
            let mut fresh = true;
            for cause in causes.iter() {
                fresh &= store::push::looked(tx, cause, to.as_deref())?;
            }
            if !fresh {
                // Another process does it; what is changed here is taken back.
                return Err(crate::error::Error::internal("another process looked at the outbox at the same time"));
            }
            due.iter().try_for_each(|new| store::push::add(tx, new, MOST, now))
        })
        .await?;
    if woken {
        app.push.due.notify_one();
    }
    Ok(unfinished)
}

/// What one member is to be told of some causes of one room.
fn due_of(
    app: &App,
    reader: &Reader,
    causes: &[Cause],
    direct: bool,
    named: &HashMap<u64, HashSet<UserId>>,
    now: i64,
) -> Option<NewDue> {
    let driver = app.push.driver()?;
    let reached = driver.has_default() || (driver.takes_own_tokens() && reader.own_token);
    if !reader.enabled || !reached {
        return None;
    }
    let me = reader.user.to_string();
    let mut due: Option<NewDue> = None;
    for cause in causes.iter().filter(|cause| cause.author != me) {
        let is_named = named.get(&cause.seq).is_some_and(|names| names.contains(&reader.user));
        let urgent = priority(cause.kind, is_named, direct);
        let read = cause.kind == PushKind::Message && cause.seq <= reader.read_seq;
        if read
            || urgent < reader.min_priority
            || !wanted(cause.kind, is_named, direct, reader.level, reader.muted_until, now)
        {
            continue;
        }
        let due = due.get_or_insert_with(|| NewDue {
            id: app.ids.uuid().to_string(),
            user: me.clone(),
            room: cause.room.clone(),
            kind: cause.kind,
            author: String::new(),
            call: (cause.kind != PushKind::Message).then(|| cause.id.clone()),
            priority: 0,
            count: 0,
            named: 0,
            first_seq: cause.seq,
            last_seq: 0,
            at: cause.at,
            due_at: if cause.kind == PushKind::Message { cause.at + HOLD_MS } else { cause.at },
        });
        // Those of one millisecond come in any order.
        due.first_seq = due.first_seq.min(cause.seq);
        if cause.seq >= due.last_seq {
            due.author.clone_from(&cause.author);
        }
        due.priority = due.priority.max(urgent);
        due.count += 1;
        due.named += u64::from(is_named);
        due.last_seq = due.last_seq.max(cause.seq);
    }
    due
}

/// What is to be done with something that is due.
enum Decision {
    Cancel,
    Hold(i64),
    Send(Box<Note>),
}

/// The same for the store.
enum Step {
    Cancel,
    Hold(i64),
    Claim,
}

fn decide(app: &App, due: &Due, now: i64) -> Decision {
    let (Some(driver), Some((room, direct))) = (app.push.driver(), &due.room_name) else { return Decision::Cancel };
    let (Some(read_seq), settings) = (due.read_seq, &due.settings) else { return Decision::Cancel };
    let message = due.kind == PushKind::Message;
    let own = settings.sealed_token.as_ref().filter(|_| driver.takes_own_tokens());
    let over = due.count == 0
        || due.disabled
        || !settings.enabled
        || due.priority < settings.min_priority
        || (own.is_none() && !driver.has_default())
        || app.presence.is_online(due.user)
        || (message && read_seq >= due.last_seq)
        || (message && due.count == 1 && due.text.is_none())
        || (due.kind == PushKind::Ring && now - due.at > RING_MS)
        || !wanted(due.kind, due.named > 0, *direct, due.level, due.muted_until, now);
    if over {
        return Decision::Cancel;
    }
    if due.kind != PushKind::Ring
        && let (Some(quiet), Some(zone)) = (settings.quiet, time_zone(&settings.time_zone))
        && let Some(until) = quiet_until(quiet, &zone, now)
    {
        return Decision::Hold(until);
    }
    let token = own.map(|sealed| {
        let opened = app.keys.open(&purpose(due.user), sealed).and_then(|bytes| String::from_utf8(bytes).ok());
        // One that cannot be opened, since the secret was lost, is refused like a wrong one.
        Secret::new(opened.unwrap_or_default())
    });
    // What was read meanwhile is not counted again.
    let unread = due.last_seq.saturating_sub(read_seq.max(due.first_seq.saturating_sub(1)));
    let facts = Facts {
        kind: due.kind,
        author: &due.author,
        room: (!direct).then_some(room),
        count: if message { due.count.min(unread.max(1)) } else { due.count },
        named: due.named > 0 && due.priority >= PERSONAL,
        text: due.text.as_deref().filter(|_| !due.terse),
    };
    let content = app.config.push_content;
    let (title, body) = compose(&facts, settings.locale, content);
    let public = &app.config.public_url;
    Decision::Send(Box::new(Note {
        id: due.id.clone(),
        // Whoever shares a token must see whom it is for.
        title: if token.is_none() { format!("@{}: {title}", due.username) } else { title },
        token,
        message: body,
        priority: due.priority,
        click: match content {
            PushContent::None => public.clone(),
            PushContent::Full | PushContent::Sender => format!("{public}/rooms/{}", due.room),
        },
    }))
}

/// Something that was claimed and is to be sent now.
pub struct Claimed {
    due: Due,
    note: Note,
}

/// Takes what is due, at most `limit`; what need not be sent any more is forgotten, and what must wait waits.
///
/// # Errors
/// As the store says.
pub async fn take(app: &App, limit: i64) -> Result<Vec<Claimed>> {
    let now = app.clock.now_ms();
    let due = app.db.read(move |tx| store::push::due(tx, now, limit)).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut decided = Vec::with_capacity(due.len());
    let mut work = Vec::with_capacity(due.len());
    for due in due {
        let decision = decide(app, &due, now);
        let step = match &decision {
            Decision::Cancel => Step::Cancel,
            Decision::Hold(until) => Step::Hold(*until),
            Decision::Send(_) => Step::Claim,
        };
        work.push((due.clone(), step));
        decided.push((due, decision));
    }
    let until = now + CLAIM_MS;
    let mine: Vec<bool> = app
        .db
        .write(KEY, move |tx| {
            let one = |(due, step): &(Due, Step)| match step {
                Step::Cancel => store::push::cancel(tx, due).map(|()| false),
                Step::Hold(until) => store::push::hold(tx, due, *until).map(|()| false),
                Step::Claim => store::push::claim(tx, due, until, now),
            };
            work.iter().map(one).collect()
        })
        .await?;
    let claimed = decided.into_iter().zip(mine).filter_map(|((due, decision), mine)| match decision {
        Decision::Send(note) if mine => Some(Claimed { due, note: *note }),
        _ => None,
    });
    Ok(claimed.collect())
}

/// Sends what was claimed and records what became of it.
pub async fn send(app: &App, claimed: Claimed) {
    let Some(driver) = app.push.driver() else { return };
    let Claimed { mut due, note } = claimed;
    let outcome = driver.send(&note).await;
    let now = app.clock.now_ms();
    due.tried_at.get_or_insert(now);
    if outcome.verdict == Verdict::Delivered {
        tracing::debug!(id = due.id, user = %due.user, "a notification was delivered");
    } else {
        tracing::warn!(
            id = due.id, user = %due.user, attempts = due.attempts + 1, driver = driver.name(), why = outcome.detail,
            "a notification was not delivered"
        );
    }
    let (next_id, random) = (app.ids.uuid().to_string(), u32::from_le_bytes(app.ids.random()));
    let id = due.id.clone();
    let recorded = app.db.write(KEY, move |tx| record(tx, &due, &outcome, &next_id, random, now)).await;
    if let Err(e) = recorded {
        tracing::warn!(id, error = &e as &dyn std::error::Error, "what became of a notification could not be recorded");
    }
}

fn record(tx: &mut Tx<'_>, due: &Due, outcome: &Outcome, next_id: &str, random: u32, now: i64) -> Result<()> {
    let user = due.user.to_string();
    let tried_for = now - due.tried_at.unwrap_or(now);
    match outcome.verdict {
        Verdict::Delivered => store::push::delivered(tx, due, next_id, now),
        Verdict::TooLarge if !due.terse => store::push::failed(tx, &due.id, now, &outcome.detail, true),
        Verdict::Never | Verdict::TooLarge => store::push::kill(tx, &due.id, &user, &outcome.detail, true, MOST, now),
        Verdict::Later if tried_for >= DEAD_MS => {
            let why = format!("tried for 24 hours: {}", outcome.detail);
            store::push::kill(tx, &due.id, &user, &why, true, MOST, now)
        }
        Verdict::Later => {
            let again = now + backoff(due.attempts + 1, random);
            store::push::failed(tx, &due.id, again, &outcome.detail, due.terse)
        }
    }
}

/// When something is due next, Unix milliseconds.
///
/// # Errors
/// As the store says.
pub async fn next_at(app: &App) -> Result<Option<i64>> {
    app.db.read(store::push::next_at).await
}

/// Forgets dead letters that nobody looked at for 30 days; how many.
///
/// # Errors
/// As the store says.
pub async fn sweep(app: &App) -> Result<u64> {
    let before = app.clock.now_ms() - DEAD_KEPT_MS;
    app.db.write(KEY, move |tx| store::push::sweep(tx, before)).await
}

/// A note that says that notes arrive.
pub(super) fn test_note(app: &App, username: &str, token: Option<Secret>, locale: Locale) -> Note {
    let text = crate::domain::push::test_text(locale).to_owned();
    Note {
        id: app.ids.uuid().to_string(),
        title: if token.is_none() { format!("@{username}: Mesh") } else { "Mesh".to_owned() },
        token,
        message: text,
        priority: PERSONAL,
        click: app.config.public_url.clone(),
    }
}
