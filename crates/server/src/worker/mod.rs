//! What goes on beside requests: looks for what other processes did, and forgets what is old.

mod backup;
mod index;
mod purge;
mod push;
mod revocations;
mod seals;
mod sweep;
mod traces;

use std::sync::Arc;

use crate::app::App;

/// Starts the workers; they end with the house.
///
/// # Errors
/// Where one cannot do its work with these settings: a sentence for the operator.
pub fn start(app: &Arc<App>) -> Result<(), String> {
    let exporter = match &app.tracer {
        Some(tracer) => tracer.exporter(&app.config)?,
        None => None,
    };
    let (watching, sweeping, indexing) = (app.clone(), app.clone(), app.clone());
    let (purging, sealing) = (app.clone(), app.clone());
    app.tasks.spawn("revocations", async move { revocations::run(&watching).await });
    app.tasks.spawn("seals", async move { seals::run(&sealing).await });
    app.tasks.spawn("sweep", async move { sweep::run(&sweeping).await });
    app.tasks.spawn("index", async move { index::run(&indexing).await });
    app.tasks.spawn("purge", async move { purge::run(&purging).await });
    if let Some(exporter) = exporter {
        let telling = app.clone();
        app.tasks.spawn("traces", async move { traces::run(&telling, exporter).await });
    }
    if let Some(folder) = app.config.backup_dir.clone() {
        let copying = app.clone();
        app.tasks.spawn("backup", async move { backup::run(&copying, &folder).await });
    }
    if app.push.is_on() {
        let (looking, sending, counting) = (app.clone(), app.clone(), app.clone());
        app.tasks.spawn("push-outbox", async move { push::expand(&looking).await });
        app.tasks.spawn("push", async move { push::deliver(&sending).await });
        app.tasks.spawn("push-figures", async move { push::figures(&counting).await });
    }
    Ok(())
}
