//! Whether the server can do its work.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    app::App,
    error::{Error, Result},
    metrics::Trouble,
    store,
};

/// How long the database may take to give a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a moved clock is told of.
const JUMP_TOLD: Duration = Duration::from_secs(600);

/// When the wall clock was last found to have been moved, by the steady clock.
#[derive(Default)]
pub struct ClockJump(Mutex<Option<Instant>>);

impl ClockJump {
    /// It was moved now.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < JUMP_TOLD)
    }
}

/// What an operator should know though the server works, in words for programs.
pub fn warnings(app: &App) -> Vec<String> {
    app.clock_jump.is_recent().then(|| "clock_jumped".to_owned()).into_iter().collect()
}

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
