//! Whether the server can do its work.

use std::time::Duration;

use crate::{
    app::App,
    error::{Error, Result},
    store,
};

/// Succeeds while the server can take work.
///
/// # Errors
/// 503 that names what is missing: the server is stopping, or its database does not answer.
pub async fn ready(app: &App) -> Result<()> {
    let wait = Duration::from_secs(1);
    if app.tasks.is_stopping() {
        return Err(Error::unavailable("stopping", "the server is stopping", wait));
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), app.db.read(store::ping)).await;
    if app.db.failed() || !matches!(answer, Ok(Ok(()))) {
        return Err(Error::unavailable("database_unreachable", "the database does not answer", wait));
    }
    Ok(())
}
