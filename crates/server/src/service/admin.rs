//! Administration: who may, and how the server fares.

use std::net::IpAddr;

use mesh_protocol::{admin::Stats, model::UserRole};

use super::{accounts::ClientInfo, audit, auth::Caller, info::VERSION};
use crate::{
    app::App,
    error::{Error, Result},
    store::{self, Tx, audit::Trail},
};

/// An administrator who asks for something: only [`enter`] makes one.
#[derive(Clone, Debug)]
pub struct Admin {
    caller: Caller,
    ip: IpAddr,
}

fn not_admin() -> Error {
    Error::forbidden("this is for administrators of this server")
}

/// The one place that decides who administers. What is believed of a login may be a second old: each use-case asks
/// [`Admin::still`] in its transaction.
///
/// # Errors
/// 403.
pub fn enter(caller: Caller, client: &ClientInfo) -> Result<Admin> {
    if caller.role == UserRole::Admin { Ok(Admin { caller, ip: client.ip }) } else { Err(not_admin()) }
}

impl Admin {
    /// Whether the login lives and its account is an administrator's, by the store.
    pub(super) fn still(&self, tx: &mut Tx<'_>) -> Result<()> {
        match store::sessions::live(tx, self.caller.session_id)? {
            Some(live) if live.role == UserRole::Admin => Ok(()),
            _ => Err(not_admin()),
        }
    }

    /// What they do now, for the audit log.
    pub(super) fn trail(&self, app: &App) -> Trail {
        audit::trail_of(app, &self.caller, Some(self.ip))
    }

    /// Whoever it is.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// How long counts are believed at least, milliseconds.
const BELIEVED_MS: i64 = 10_000;
/// And so many times as long as counting took: it never takes more than a fiftieth of the time of one of the store's
/// threads, however much there is to count and however often somebody asks.
const PATIENCE: i64 = 50;

/// What was counted last, and until when it is believed, Unix milliseconds. Who asks meanwhile waits for one count.
#[derive(Default)]
pub struct Counted(tokio::sync::Mutex<Option<(i64, store::admin::Counts)>>);

impl Counted {
    async fn get(&self, app: &App) -> Result<store::admin::Counts> {
        let mut last = self.0.lock().await;
        let now = app.clock.now_ms();
        if let Some((until, counts)) = *last
            && (now..=now.saturating_add(PATIENCE * BELIEVED_MS)).contains(&until)
        {
            return Ok(counts);
        }
        let counts = app.db.read(move |tx| store::admin::counts(tx, now)).await?;
        let took = app.clock.now_ms().saturating_sub(now).max(0);
        let believed = took.saturating_mul(PATIENCE).clamp(BELIEVED_MS, PATIENCE * BELIEVED_MS);
        *last = Some((now.saturating_add(took).saturating_add(believed), counts));
        Ok(counts)
    }
}

/// How the server fares. Its counts may be some seconds old.
///
/// # Errors
/// 403.
pub async fn stats(app: &App, admin: &Admin) -> Result<Stats> {
    let admin = admin.clone();
    let look = move |tx: &mut Tx<'_>| {
        admin.still(tx)?;
        store::admin::database(tx)
    };
    let database = app.db.read(look).await?;
    let counts = app.counted.get(app).await?;
    let now = app.clock.now_ms();
    Ok(Stats {
        version: VERSION.to_owned(),
        uptime_seconds: u64::try_from(now.saturating_sub(app.started_ms) / 1_000).unwrap_or(0),
        users: counts.users,
        sessions: counts.sessions,
        rooms: counts.rooms,
        messages: counts.messages,
        connections: app.presence.connections(),
        database,
    })
}
