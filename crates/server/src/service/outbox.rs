//! The way of a notification: what happened becomes what is due ([`expand`]), which leaves by the driver ([`send`]). Every
//! step is one transaction, so that a death between two of them loses nothing; only between a push server's answer and its
//! record can one be sent twice.

pub mod expand;
pub mod send;

use mesh_protocol::{
    RoomId, UserId,
    push::{Locale, PushKind},
};

use crate::{
    app::App,
    config::Secret,
    domain::push::PERSONAL,
    error::Result,
    push::{Note, Push},
    store::{
        self, Tx,
        push::{causes, dead, due},
    },
};

/// Rooms that may wait for one person, and dead letters kept of one.
pub(super) const MOST: u64 = 100;
/// Dead letters are forgotten after 30 days.
const DEAD_KEPT_MS: i64 = 30 * 86_400_000;
/// The writer that does all of this, so that what one step skips no other takes away at the same moment.
pub(super) const KEY: u128 = 10;
/// Tokens looked at in one go.
const SEALED_AT_ONCE: u64 = 100;

/// The purpose under which a person's token is sealed.
pub(super) fn purpose(user: UserId) -> String {
    format!("gotify:{user}")
}

/// Notes a message, in its transaction.
///
/// # Errors
/// As the store says.
pub(super) fn message(tx: &mut Tx<'_>, id: &str, room: &str, seq: u64, author: &str, now: i64) -> Result<()> {
    causes::enqueue(tx, PushKind::Message, id, room, seq, author, now)
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
/// anyhow. A minute later it is no use to anybody, and is dropped.
///
/// # Errors
/// As the store says.
pub fn ring(push: &Push, tx: &mut Tx<'_>, call: Call<'_>, now: i64) -> Result<()> {
    if !push.is_on() {
        return Ok(());
    }
    causes::enqueue(tx, PushKind::Ring, &call.key(), &call.room.to_string(), 0, &call.from.to_string(), now)
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
    causes::unring(tx, &call.key())?;
    due::unring(tx, &call.key())
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
    causes::enqueue(tx, PushKind::Missed, &id, &call.room.to_string(), 0, &call.from.to_string(), now)
}

/// Forgets dead letters that nobody looked at for 30 days; how many.
///
/// # Errors
/// As the store says.
pub async fn sweep(app: &App) -> Result<u64> {
    let before = app.clock.now_ms() - DEAD_KEPT_MS;
    app.db.write(KEY, move |tx| dead::sweep(tx, before)).await
}

/// Counts what there is, for the figures.
///
/// # Errors
/// As the store says.
pub async fn count(app: &App) -> Result<()> {
    let counts = app.db.read(due::counts).await?;
    let places = [counts.new, counts.waiting, counts.dead];
    for (gauge, n) in app.metrics.push.outbox.iter().zip(places) {
        gauge.set(usize::try_from(n).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// Seals every token with the secret in use that was sealed with one before it; how many. As `totp::seal_anew`.
///
/// # Errors
/// As the store says.
pub async fn seal_anew(app: &App) -> Result<u64> {
    let (mut sealed_anew, mut last) = (0, None);
    if !app.keys.has_older_secrets() {
        return Ok(0);
    }
    loop {
        let page = app.db.read(move |tx| store::push::sealed_after(tx, last, SEALED_AT_ONCE)).await?;
        let Some((newest, _)) = page.last() else { return Ok(sealed_anew) };
        last = Some(*newest);
        for (user, before) in page {
            let Some(sealed) = app.keys.seal_anew(&purpose(user), &before)? else { continue };
            let work = move |tx: &mut Tx<'_>| store::push::seal_anew(tx, user, &before, &sealed);
            sealed_anew += u64::from(app.db.write(user.uuid().as_u128(), work).await?);
        }
        if app.tasks.is_stopping() {
            return Ok(sealed_anew);
        }
    }
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
