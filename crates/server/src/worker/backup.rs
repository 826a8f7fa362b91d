//! Backups by the clock: `MESH_BACKUP_DIR`, `MESH_BACKUP_EVERY_HOURS`, `MESH_BACKUP_KEEP`.

use std::{path::Path, time::Duration};

use crate::{app::App, service::backups};

/// How often the time is looked at: a clock may be moved, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(app: &App, folder: &Path) {
    loop {
        let wait = match backups::due_in(app, folder).await {
            Ok(left) if !left.is_zero() => left.min(LOOK),
            Ok(_) => match backups::make(app, folder).await {
                Ok(made) => {
                    let (path, bytes, removed) = (made.path.display(), made.bytes, made.removed);
                    let millis = u64::try_from(made.took.as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(%path, bytes, millis, messages = made.contents.messages, removed, "a backup was made");
                    LOOK
                }
                Err(why) => failed(&why),
            },
            Err(why) => failed(&why),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.tasks.soft_stop() => return,
        }
    }
}

fn failed(why: &str) -> Duration {
    tracing::error!(why, "a backup could not be made; it is tried again in five minutes");
    AGAIN
}
