//! After a rotation of secrets: seals what the old ones sealed with the new one, so that they can be taken away.

use std::time::Duration;

use crate::{
    app::App,
    service::{outbox, totp},
};

/// Before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(app: &App) {
    loop {
        let mut failed = false;
        for (what, sealed) in
            [("second factors", totp::seal_anew(app).await), ("tokens of push", outbox::seal_anew(app).await)]
        {
            match sealed {
                Ok(0) => {}
                // Those that another server seals meanwhile with the old secret are left to its own next start.
                Ok(count) => tracing::info!(count, "{what} were sealed with the newest secret"),
                Err(e) => {
                    failed = true;
                    tracing::warn!(error = &e as &dyn std::error::Error, "{what} could not be sealed anew");
                }
            }
        }
        if !failed {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = app.tasks.soft_stop() => return,
        }
    }
}
