//! What is due leaves: decided once more at the last moment, sent, and recorded.

use std::{collections::HashSet, time::Instant};

use mesh_protocol::push::{NotificationLevel, PushKind};

use super::{KEY, MOST, purpose};
use crate::{
    app::App,
    config::Secret,
    domain::push::{DEAD_MS, Facts, PushContent, RING_MS, backoff, compose, priority, quiet_until, time_zone, wanted},
    error::Result,
    push::{Note, Outcome, Verdict},
    store::{
        Tx,
        push::{
            dead::{self, End},
            due::{self, Due},
        },
    },
};

/// How long one process may take to send what it claimed, milliseconds: longer than a driver takes.
const CLAIM_MS: i64 = 15_000;

/// What a process that was killed had claimed is tried at once.
///
/// # Errors
/// As the store says.
pub async fn begin(app: &App) -> Result<()> {
    if app.config.bus_url.is_some() {
        return Ok(());
    }
    app.db.write(KEY, |tx| due::free(tx).map(drop)).await
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
    let (Some(driver), Some(room)) = (app.push.driver(), &due.in_room) else { return Decision::Cancel };
    let (direct, settings, said) = (room.direct, &due.settings, &due.said);
    let message = due.kind == PushKind::Message;
    let named = said.named > 0;
    // Who hears of mentions alone is told of these alone.
    let (count, last) = if named && due.level == NotificationLevel::Mentions && !direct {
        (said.named, &said.last_named)
    } else {
        (said.count, if named { &said.last_named } else { &said.last })
    };
    let own = settings.sealed_token.as_ref().filter(|_| driver.takes_own_tokens());
    let urgent = priority(due.kind, named, direct);
    let over = due.count == 0
        || due.disabled
        || !settings.enabled
        || urgent < settings.min_priority
        || (own.is_none() && !driver.has_default())
        || due.read_seq.is_none()
        || app.presence.is_online(due.user)
        || (message && (count == 0 || last.is_none()))
        || (due.kind == PushKind::Ring && now - due.at > RING_MS)
        || !wanted(due.kind, named, direct, due.level, due.muted_until, now);
    if over {
        return Decision::Cancel;
    }
    if let (Some(quiet), Some(zone)) = (settings.quiet, time_zone(&settings.time_zone))
        && let Some(until) = quiet_until(quiet, &zone, now)
    {
        match due.kind {
            PushKind::Message | PushKind::Missed => return Decision::Hold(until),
            // Nobody calls a whole room to wake one of it.
            PushKind::Ring if !direct => return Decision::Cancel,
            PushKind::Ring => {}
        }
    }
    let token = own.map(|sealed| {
        let opened = app.keys.open(&purpose(due.user), sealed).and_then(|bytes| String::from_utf8(bytes).ok());
        // One that cannot be opened, since the secret was lost, is refused like a wrong one.
        Secret::new(opened.unwrap_or_default())
    });
    let (author, text) = last.as_ref().map_or((&due.author, None), |(author, text)| (author, Some(text.as_str())));
    let facts = Facts {
        kind: due.kind,
        author,
        room: (!direct).then_some(&room.name),
        count: if message { count } else { due.count },
        named,
        text: text.filter(|_| !due.terse),
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
        priority: urgent,
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

impl Claimed {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.due.id
    }
}

/// Takes what is due, at most `limit`; what need not be sent any more is forgotten, and what must wait waits. What is
/// `under_way` is left alone, even where the clock says that its claim is over.
///
/// # Errors
/// As the store says.
pub async fn take(app: &App, limit: i64, under_way: &HashSet<String>) -> Result<Vec<Claimed>> {
    let now = app.clock.now_ms();
    let due = app.db.read(move |tx| due::due(tx, now, limit)).await?;
    let mut decided = Vec::with_capacity(due.len());
    let mut work = Vec::with_capacity(due.len());
    for due in due.into_iter().filter(|due| !under_way.contains(&due.id)) {
        let decision = decide(app, &due, now);
        let step = match &decision {
            Decision::Cancel => Step::Cancel,
            Decision::Hold(until) => Step::Hold(*until),
            Decision::Send(_) => Step::Claim,
        };
        work.push((due.clone(), step));
        decided.push((due, decision));
    }
    if work.is_empty() {
        return Ok(Vec::new());
    }
    let until = now + CLAIM_MS;
    let mine: Vec<bool> = app
        .db
        .write(KEY, move |tx| {
            let one = |(due, step): &(Due, Step)| match step {
                Step::Cancel => due::cancel(tx, due, now).map(|()| false),
                Step::Hold(until) => due::hold(tx, due, *until).map(|()| false),
                Step::Claim => due::claim(tx, due, until, now),
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

/// Sends what was claimed and records what became of it; its id.
pub async fn send(app: &App, claimed: Claimed) -> String {
    let Claimed { mut due, note } = claimed;
    let id = due.id.clone();
    let Some(driver) = app.push.driver() else { return id };
    // Who came while it was claimed needs no telling.
    let outcome = if app.presence.is_online(due.user) {
        None
    } else {
        let began = Instant::now();
        let outcome = driver.send(&note).await;
        app.metrics.push.exchange.since(began);
        Some(outcome)
    };
    let now = app.clock.now_ms();
    due.tried_at.get_or_insert(now);
    if let Some(outcome) = &outcome {
        app.metrics.push.attempts.count_word(outcome.verdict.word());
        if outcome.verdict == Verdict::Delivered {
            tracing::debug!(id, user = %due.user, "a notification was delivered");
        } else {
            tracing::warn!(
                id, user = %due.user, attempts = due.attempts + 1, driver = driver.name(), why = outcome.detail,
                "a notification was not delivered"
            );
        }
    }
    let (next_id, random) = (app.ids.uuid().to_string(), u32::from_le_bytes(app.ids.random()));
    let work = move |tx: &mut Tx<'_>| match &outcome {
        Some(outcome) => record(tx, &due, outcome, &next_id, random, now),
        None => due::cancel(tx, &due, now),
    };
    if let Err(e) = app.db.write(KEY, work).await {
        tracing::warn!(id, error = &e as &dyn std::error::Error, "what became of a notification could not be recorded");
    }
    id
}

fn record(tx: &mut Tx<'_>, due: &Due, outcome: &Outcome, next_id: &str, random: u32, now: i64) -> Result<()> {
    let user = due.user.to_string();
    let tried_for = now - due.tried_at.unwrap_or(now);
    let count = if due.kind == PushKind::Message { due.said.count.max(1) } else { due.count };
    let give_up = |tx: &mut Tx<'_>, why: &str| {
        dead::kill(tx, &due.id, &user, &End { why, tried: true, count: Some(count) }, MOST, now)
    };
    match outcome.verdict {
        Verdict::Delivered => due::delivered(tx, due, next_id, now),
        Verdict::TooLarge if !due.terse => due::failed(tx, &due.id, now, &outcome.detail, true),
        Verdict::Never | Verdict::TooLarge => give_up(tx, &outcome.detail),
        Verdict::Later if tried_for >= DEAD_MS => give_up(tx, &format!("tried for 24 hours: {}", outcome.detail)),
        Verdict::Later => {
            let again = now + backoff(due.attempts + 1, random);
            due::failed(tx, &due.id, again, &outcome.detail, due.terse)
        }
    }
}

/// When something is due next, Unix milliseconds.
///
/// # Errors
/// As the store says.
pub async fn next_at(app: &App) -> Result<Option<i64>> {
    app.db.read(due::next_at).await
}
