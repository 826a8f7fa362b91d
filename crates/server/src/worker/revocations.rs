//! Ends the connections of logins that another process ended.

use std::time::Duration;

use crate::{
    app::App,
    service::ended::{Noticed, notice},
};

/// How often it looks: an end is to be prompt within a second.
const EVERY: Duration = Duration::from_millis(400);

pub(super) async fn run(app: &App) {
    let mut noticed = Noticed::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.tasks.soft_stop() => break,
        }
        if let Err(e) = notice(app, &mut noticed).await {
            tracing::warn!(error = &e as &dyn std::error::Error, "ends of logins could not be looked for");
        }
    }
}
