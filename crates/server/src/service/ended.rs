//! Logins that another process ended: a second server, or the command line. This one's own are told by the bus at once.

use std::collections::{HashMap, HashSet};

use mesh_protocol::{SessionId, UserId};

use crate::{
    app::App,
    domain::happening::{Ending, Happening},
    error::Result,
    store,
};

/// How far back each look reaches, milliseconds: what clocks may differ by, and a commit may take.
const REACH_MS: i64 = 10_000;
/// Ends read at once; the newest where there are more.
const AT_ONCE: i64 = 10_000;

/// What was noticed already.
#[derive(Default)]
pub struct Noticed {
    sessions: HashSet<SessionId>,
}

/// Looks for ends since the last look and tells the connections of this process. Costs nothing while there is none, else
/// one indexed query.
///
/// # Errors
/// As the store says.
pub async fn notice(app: &App, noticed: &mut Noticed) -> Result<()> {
    if app.presence.connections() == 0 {
        noticed.sessions.clear();
        return Ok(());
    }
    let since = app.clock.now_ms().saturating_sub(REACH_MS);
    let ended = app.db.read(move |tx| store::admin::ended_since(tx, since, AT_ONCE)).await?;
    let mut fresh: HashMap<(UserId, bool), Vec<SessionId>> = HashMap::new();
    for end in &ended {
        if !noticed.sessions.contains(&end.session) && app.presence.is_online(end.user) {
            fresh.entry((end.user, end.disabled)).or_default().push(end.session);
        }
    }
    noticed.sessions = ended.into_iter().map(|end| end.session).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let happenings: Vec<_> = fresh
        .into_iter()
        .map(|((user, disabled), sessions)| {
            let why = if disabled { Ending::Disabled } else { Ending::LoggedOut };
            Happening::Ended { user, sessions, why }
        })
        .collect();
    // By the way of all happenings, behind those that this process committed before.
    let tell = move |tx: &mut store::Tx<'_>| {
        happenings.iter().cloned().for_each(|happening| tx.publish(happening));
        Ok(())
    };
    app.db.write(0, tell).await
}

/// Logins that ended by themselves are forgotten a day later, milliseconds.
const EXPIRED_KEPT_MS: i64 = 86_400_000;
/// Revoked ones a month later.
const REVOKED_KEPT_MS: i64 = 30 * 86_400_000;
/// Rows that one transaction of a sweep forgets.
const SWEPT_AT_ONCE: i64 = 500;

/// Forgets logins and tickets that have long ended; how many logins.
///
/// # Errors
/// As the store says.
pub async fn sweep(app: &App) -> Result<u64> {
    let now = app.clock.now_ms();
    let (expired, revoked) = (now.saturating_sub(EXPIRED_KEPT_MS), now.saturating_sub(REVOKED_KEPT_MS));
    let mut all = 0;
    loop {
        let work = move |tx: &mut store::Tx<'_>| store::admin::sweep_sessions(tx, expired, revoked, now, SWEPT_AT_ONCE);
        let swept = app.db.write(0, work).await?;
        all += swept;
        if i64::try_from(swept).is_ok_and(|n| n < SWEPT_AT_ONCE) || app.tasks.is_stopping() {
            return Ok(all);
        }
    }
}
