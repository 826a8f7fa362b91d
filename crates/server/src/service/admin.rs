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

/// How the server fares.
///
/// # Errors
/// 403.
pub async fn stats(app: &App, admin: &Admin) -> Result<Stats> {
    let (admin, now) = (admin.clone(), app.clock.now_ms());
    let (counts, database) = app
        .db
        .read(move |tx| {
            admin.still(tx)?;
            Ok((store::admin::counts(tx, now)?, store::admin::database(tx)?))
        })
        .await?;
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
