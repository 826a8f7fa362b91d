//! Takes away messages that are too old, and what deleted rooms left.

use std::time::Duration;

use crate::{app::App, service::retention};

const EVERY: Duration = Duration::from_secs(60);

pub(super) async fn run(app: &App) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.tasks.soft_stop() => break,
        }
        match retention::purge(app).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "took away what is too old"),
            Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "a purge failed; it is tried again"),
        }
    }
}
