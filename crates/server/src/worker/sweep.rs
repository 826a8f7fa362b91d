//! Forgets what is old: logins and tickets that have ended, and the tail of the audit log.

use std::time::Duration;

use crate::{
    app::App,
    service::{audit, ended, outbox},
};

/// After a start others have more to do.
const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) async fn run(app: &App) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.tasks.soft_stop() => break,
        }
        wait = EVERY;
        for (what, swept) in [
            ("logins", ended::sweep(app).await),
            ("audit entries", audit::sweep(app).await),
            ("dead letters", outbox::sweep(app).await),
        ] {
            match swept {
                Ok(0) => {}
                Ok(count) => tracing::info!(what, count, "forgot what is old"),
                Err(e) => {
                    tracing::warn!(what, error = &e as &dyn std::error::Error, "a sweep failed; it is tried again")
                }
            }
        }
    }
}
