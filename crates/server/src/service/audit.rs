//! Who did what, to whom, from where: written in the transaction of the change itself.

use std::{net::IpAddr, sync::Arc};

use mesh_protocol::{SessionId, UserId, admin::AuditEntry};
use serde_json::{Value, json};

use super::{Page, admin::Admin, auth::Caller, page};
use crate::{
    app::App,
    error::{Error, Result},
    store::{
        self, Tx,
        audit::{Before, Filter, Target, Trail},
    },
};

/// What is written down. Others may be added; none changes its meaning.
pub mod action {
    /// Somebody made an account for themselves.
    pub const REGISTERED: &str = "user.registered";
    /// An administrator made an account.
    pub const USER_CREATED: &str = "user.created";
    /// An account's role was changed.
    pub const ROLE_CHANGED: &str = "user.role_changed";
    /// An account was shut.
    pub const DISABLED: &str = "user.disabled";
    /// An account was opened again.
    pub const ENABLED: &str = "user.enabled";
    /// An administrator set an account's password.
    pub const PASSWORD_RESET: &str = "user.password_reset";
    /// Somebody changed their own password.
    pub const PASSWORD_CHANGED: &str = "user.password_changed";
    /// An administrator changed what an account is called, or its address.
    pub const PROFILE_CHANGED: &str = "user.profile_changed";
    /// Somebody logged in.
    pub const LOGIN: &str = "login.succeeded";
    /// Somebody tried to.
    pub const LOGIN_FAILED: &str = "login.failed";
    /// Somebody logged out.
    pub const LOGOUT: &str = "session.logout";
    /// Somebody ended another of their logins.
    pub const SESSION_ENDED: &str = "session.ended";
    /// A refresh token was used that had been replaced.
    pub const TOKEN_REUSED: &str = "session.token_reused";
    /// A token was made on the command line.
    pub const TOKEN_MINTED: &str = "session.token_minted";
    /// Somebody turned their second factor on.
    pub const TOTP_ENABLED: &str = "totp.enabled";
    /// Somebody turned their second factor off.
    pub const TOTP_DISABLED: &str = "totp.disabled";
    /// A personal access token was made.
    pub const TOKEN_CREATED: &str = "token.created";
    /// A personal access token was revoked.
    pub const TOKEN_REVOKED: &str = "token.revoked";
    /// A registration invite was made.
    pub const INVITE_CREATED: &str = "invite.created";
    /// A registration invite was revoked.
    pub const INVITE_REVOKED: &str = "invite.revoked";
    /// A room was deleted.
    pub const ROOM_DELETED: &str = "room.deleted";
    /// Somebody was put out of a room for good.
    pub const ROOM_BANNED: &str = "room.banned";
    /// Somebody may come back to a room.
    pub const ROOM_UNBANNED: &str = "room.unbanned";
}

/// Failed logins written down in a second; a storm of them is counted, not listed.
const FAILURES_PER_SECOND: u32 = 20;
/// As many at once.
const FAILURES_BURST: u32 = 200;
/// Entries are kept for so long, milliseconds: 400 days, so that a year can be compared with the one before.
const KEPT_MS: i64 = 400 * 86_400_000;
/// Entries kept at most.
const KEPT: i64 = 1_000_000;
/// Rows that one transaction of a sweep forgets.
const SWEPT_AT_ONCE: i64 = 500;
/// Entries that an export holds at once.
const EXPORT_PAGE: usize = 500;

/// What a caller does now.
pub(super) fn trail_of(app: &App, caller: &Caller, ip: Option<IpAddr>) -> Trail {
    let ip = ip.map(|ip| ip.to_string());
    let (actor, name) = (Some(caller.user_id), Some(caller.username.clone()));
    Trail { ids: app.ids.clone(), now: app.clock.now_ms(), actor, name, ip }
}

/// What an account does that has just shown that it is its owner.
pub(super) fn trail_as(app: &App, user: UserId, name: &str, ip: Option<IpAddr>) -> Trail {
    let ip = ip.map(|ip| ip.to_string());
    Trail { ids: app.ids.clone(), now: app.clock.now_ms(), actor: Some(user), name: Some(Arc::from(name)), ip }
}

/// Writes down what was done to an account.
pub(super) fn on_user(
    tx: &mut Tx<'_>,
    trail: &Trail,
    action: &str,
    user: UserId,
    name: &str,
    details: Option<&Value>,
) -> Result<()> {
    let id = user.to_string();
    store::audit::record(tx, trail, action, Some(Target { kind: "user", id: &id, name: Some(name) }), details)
}

/// Writes down what was done to a login.
pub(super) fn on_session(
    tx: &mut Tx<'_>,
    trail: &Trail,
    action: &str,
    session: SessionId,
    details: Option<&Value>,
) -> Result<()> {
    let id = session.to_string();
    store::audit::record(tx, trail, action, Some(Target { kind: "session", id: &id, name: None }), details)
}

/// How many failed logins may still be written down, and how many were not.
pub struct Failures {
    state: std::sync::Mutex<(crate::domain::bucket::Bucket, u64)>,
}

impl Default for Failures {
    fn default() -> Self {
        let bucket = crate::domain::bucket::Bucket::new(FAILURES_PER_SECOND, FAILURES_BURST, 0);
        Self { state: std::sync::Mutex::new((bucket, 0)) }
    }
}

impl Failures {
    /// Whether one may be written down; then how many were not since the last.
    fn take(&self, now_ms: u64) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.0.take(now_ms, 1).is_err() {
            state.1 += 1;
            return None;
        }
        Some(std::mem::take(&mut state.1))
    }
}

/// Writes down a failed login, without waiting: whoever guesses must not slow the house down. What was typed for a name
/// is not kept, unless it is an account's: it may be a password in the wrong field.
pub(super) fn login_failed(app: &App, account: Option<(UserId, String)>, ip: IpAddr, reason: &'static str) {
    // Not a login: somebody who is logged in did not know their password.
    if reason != "wrong_current_password" {
        app.metrics.logins.count_word(reason);
    }
    let now = app.clock.now_ms();
    let Some(unlisted) = app.login_failures.take(u64::try_from(now).unwrap_or(0)) else { return };
    let trail = Trail { ids: app.ids.clone(), now, actor: None, name: None, ip: Some(ip.to_string()) };
    let details =
        if unlisted == 0 { json!({"reason": reason}) } else { json!({"reason": reason, "unlisted": unlisted}) };
    let work = move |tx: &mut Tx<'_>| match &account {
        Some((id, name)) => on_user(tx, &trail, action::LOGIN_FAILED, *id, name, Some(&details)),
        None => store::audit::record(tx, &trail, action::LOGIN_FAILED, None, Some(&details)),
    };
    app.db.submit(0, work, drop);
}

/// Which part of the log is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only this action.
    pub action: Option<String>,
    /// Only what this account did, by id or name.
    pub actor: Option<String>,
    /// From this time on, Unix milliseconds.
    pub since: Option<i64>,
    /// Before this time, Unix milliseconds.
    pub until: Option<i64>,
}

impl Query {
    fn parts(self) -> (Filter, Before) {
        let filter = Filter {
            action: self.action.unwrap_or_default(),
            actor: self.actor.unwrap_or_default().to_ascii_lowercase(),
            since: self.since.unwrap_or(i64::MIN),
        };
        (filter, Before { at: self.until.unwrap_or(i64::MAX), id: String::new() })
    }
}

async fn read(app: &App, admin: &Admin, filter: Filter, before: Before, n: usize) -> Result<Vec<(AuditEntry, Before)>> {
    let admin = admin.clone();
    app.db
        .read(move |tx| {
            admin.still(tx)?;
            store::audit::list(tx, &filter, &before, n)
        })
        .await
}

/// A part of the log, newest first.
///
/// # Errors
/// 403; 422 for a cursor that this server did not give.
pub async fn list(
    app: &App,
    admin: &Admin,
    query: Query,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<AuditEntry>> {
    let (filter, mut before) = query.parts();
    if let Some(text) = cursor {
        let bad = || Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list");
        let (at, id) = text.split_once('.').ok_or_else(bad)?;
        uuid::Uuid::try_parse(id).map_err(|_| bad())?;
        before = Before { at: at.parse().map_err(|_| bad())?, id: id.to_owned() };
    }
    let entries = read(app, admin, filter, before, limit + 1).await?;
    Ok(page(entries, limit, |before| format!("{}.{}", before.at, before.id)))
}

/// The log from its newest entry on, a few at a time: whoever exports a million holds hundreds.
pub struct Export {
    app: Arc<App>,
    admin: Admin,
    filter: Filter,
    before: Option<Before>,
}

impl Export {
    /// Begins one.
    pub fn new(app: Arc<App>, admin: Admin, query: Query) -> Self {
        let (filter, before) = query.parts();
        Self { app, admin, filter, before: Some(before) }
    }

    /// The next entries; none at the end.
    ///
    /// # Errors
    /// 403 where the administrator is none any more.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditEntry>>> {
        let Some(before) = self.before.take() else { return Ok(None) };
        let entries = read(&self.app, &self.admin, self.filter.clone(), before, EXPORT_PAGE).await?;
        if entries.len() == EXPORT_PAGE {
            self.before = entries.last().map(|(_, before)| before.clone());
        }
        Ok(Some(entries.into_iter().map(|(entry, _)| entry).collect()))
    }
}

/// Forgets the oldest entries: those older than 400 days, and those beyond the newest million.
///
/// # Errors
/// As the store says.
pub async fn sweep(app: &App) -> Result<u64> {
    let old = app.clock.now_ms().saturating_sub(KEPT_MS);
    let beyond = app.db.read(|tx| store::audit::beyond(tx, KEPT)).await?;
    let until = beyond.map_or(old, |at| at.max(old));
    let mut all = 0;
    loop {
        let swept = app.db.write(0, move |tx| store::audit::sweep(tx, until, SWEPT_AT_ONCE)).await?;
        all += swept;
        if i64::try_from(swept).is_ok_and(|n| n < SWEPT_AT_ONCE) || app.tasks.is_stopping() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_failures_is_counted_not_listed() {
        let failures = Failures::default();
        assert_eq!(failures.take(1_000), Some(0));
        let listed = (0..1_000).filter(|_| failures.take(1_000).is_some()).count();
        assert!(listed < FAILURES_BURST as usize, "{listed}");
        let unlisted = failures.take(2_000).unwrap();
        assert_eq!(unlisted, 1_000 - listed as u64);
    }
}
