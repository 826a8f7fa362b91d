//! After a rotation of secrets: seals what the old ones sealed with the new one, so that they can be taken away.

use std::time::Duration;

use crate::{app::App, service::totp};

/// Before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(app: &App) {
    loop {
        match totp::seal_anew(app).await {
            Ok(0) => return,
            // Those that another server seals meanwhile with the old secret are left to its own next start.
            Ok(count) => return tracing::info!(count, "second factors were sealed with the newest secret"),
            Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "second factors could not be sealed anew"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = app.tasks.soft_stop() => return,
        }
    }
}
