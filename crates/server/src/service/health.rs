//! Whether the server can do its work.

use std::time::Duration;

use crate::{
    app::App,
    error::{Error, Result},
    metrics::Trouble,
    store,
};

/// How long the database may take to give a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);

/// What keeps the server from its work, as far as is known without asking the database: a word and a sentence.
pub fn trouble(app: &App) -> Option<(&'static str, &'static str)> {
    if app.tasks.is_leaving() {
        return Some(("stopping", "the server is stopping"));
    }
    if app.db.failed() {
        return Some((Trouble::Unreachable.code(), Trouble::Unreachable.meaning()));
    }
    app.db.figures().trouble().map(|trouble| (trouble.code(), trouble.meaning()))
}

/// Succeeds while the server can take work.
///
/// # Errors
/// 503 that names what is missing: the server is stopping, its database does not answer, or cannot be written.
pub async fn ready(app: &App) -> Result<()> {
    let refuse = |(code, message)| Err(Error::unavailable(code, message, Duration::from_secs(1)));
    if let Some(known) = trouble(app) {
        return refuse(known);
    }
    match tokio::time::timeout(PATIENCE, app.db.read(store::ping)).await {
        Ok(Ok(())) => Ok(()),
        // What cannot be read is named as what cannot be written.
        Ok(Err(e)) if Trouble::ALL.iter().any(|trouble| trouble.code() == e.code) => Err(e),
        _ => refuse(trouble(app).unwrap_or((Trouble::Unreachable.code(), Trouble::Unreachable.meaning()))),
    }
}
