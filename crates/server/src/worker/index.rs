//! Brings what was said into the index of words, a moment after it was sent.

use std::time::Duration;

use crate::{app::App, service::search};

const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(app: &App) {
    let mut seen = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.tasks.soft_stop() => break,
        }
        if let Err(e) = search::follow(app, &mut seen).await {
            tracing::warn!(error = &e as &dyn std::error::Error, "the index of words could not be brought up to date");
        }
    }
}
