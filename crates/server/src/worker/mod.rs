//! What goes on beside requests: looks for what other processes did, and forgets what is old.

mod index;
mod purge;
mod push;
mod revocations;
mod seals;
mod sweep;

use std::sync::Arc;

use crate::app::App;

/// Starts the workers; they end with the house.
pub fn start(app: &Arc<App>) {
    let (watching, sweeping, indexing) = (app.clone(), app.clone(), app.clone());
    let (purging, sealing) = (app.clone(), app.clone());
    app.tasks.spawn("revocations", async move { revocations::run(&watching).await });
    app.tasks.spawn("seals", async move { seals::run(&sealing).await });
    app.tasks.spawn("sweep", async move { sweep::run(&sweeping).await });
    app.tasks.spawn("index", async move { index::run(&indexing).await });
    app.tasks.spawn("purge", async move { purge::run(&purging).await });
    if app.push.is_on() {
        let (looking, sending, counting) = (app.clone(), app.clone(), app.clone());
        app.tasks.spawn("push-outbox", async move { push::expand(&looking).await });
        app.tasks.spawn("push", async move { push::deliver(&sending).await });
        app.tasks.spawn("push-figures", async move { push::figures(&counting).await });
    }
}
