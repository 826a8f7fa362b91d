//! Push: a task that finds out whom to tell, one that tells them, and one that counts. Chat waits for none of them.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    app::App,
    service::outbox::{self, expand::expand as look, send},
};

/// The safety net below the wake-ups.
const POLL: Duration = Duration::from_secs(1);
/// What is said in such a time is looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// The shortest rest, between two looks.
const REST: Duration = Duration::from_millis(20);
/// Counting takes at most so small a part of the time.
const COUNTING: u32 = 50;
/// After a failure of the store.
const PAUSE: Duration = Duration::from_secs(5);
/// Notifications under way at once.
const AT_ONCE: usize = 16;
/// How long a stop waits for those that are under way: cut off, they might be sent twice.
const PARTING: Duration = Duration::from_secs(2);

/// Makes what is due of what happened.
pub(super) async fn expand(app: &App) {
    loop {
        let mut wait = GATHER;
        match look(app).await {
            Ok(true) => wait = REST,
            Ok(false) => {
                tokio::select! {
                    () = app.push.outbox.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                    () = app.tasks.soft_stop() => return,
                }
            }
            Err(e) => {
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "the outbox could not be looked at; it is tried again"
                );
                wait = PAUSE;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.tasks.soft_stop() => return,
        }
    }
}

/// Sends what is due.
pub(super) async fn deliver(app: &App) {
    if let Err(e) = send::begin(app).await {
        tracing::warn!(error = &e as &dyn std::error::Error, "what was claimed before could not be freed");
    }
    let (mut under_way, mut ids) = (FuturesUnordered::new(), HashSet::new());
    loop {
        let free = AT_ONCE.saturating_sub(under_way.len());
        let mut wait = POLL;
        if free > 0 {
            match send::take(app, i64::try_from(free).unwrap_or(1), &ids).await {
                Ok(claimed) => {
                    for one in claimed {
                        ids.insert(one.id().to_owned());
                        under_way.push(send::send(app, one));
                    }
                }
                Err(e) => {
                    tracing::warn!(
                        error = &e as &dyn std::error::Error,
                        "what is due could not be taken; it is tried again"
                    );
                    wait = PAUSE;
                }
            }
            if wait == POLL
                && let Ok(Some(at)) = send::next_at(app).await
            {
                let left = u64::try_from(at.saturating_sub(app.clock.now_ms())).unwrap_or(0);
                wait = wait.min(Duration::from_millis(left)).max(REST);
            }
        }
        tokio::select! {
            Some(id) = under_way.next(), if !under_way.is_empty() => {
                ids.remove(&id);
            }
            () = app.push.due.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = app.tasks.soft_stop() => break,
        }
    }
    let _ = tokio::time::timeout(PARTING, async { while under_way.next().await.is_some() {} }).await;
}

/// Counts what there is, for the figures.
pub(super) async fn figures(app: &App) {
    loop {
        let began = Instant::now();
        // What keeps the database from being read is told elsewhere.
        let _ = outbox::count(app).await;
        tokio::select! {
            () = tokio::time::sleep(POLL.max(began.elapsed() * COUNTING)) => {}
            () = app.tasks.soft_stop() => return,
        }
    }
}
