//! The ways out of the house: a driver for each kind of push server, behind one small trait.

mod client;
mod gotify;
mod ntfy;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};

use crate::{
    config::{Config, Secret},
    domain::happening::{Change, Happening},
};

/// Tests that may be under way at once.
const TESTS: usize = 4;

/// Something to be shown on somebody's phone.
pub struct Note {
    /// The same for every attempt, so that a receiver may know a double.
    pub id: String,
    /// The person's own token; none for the server's.
    pub token: Option<Secret>,
    /// Its first line.
    pub title: String,
    /// Its text: plain, not Markdown.
    pub message: String,
    /// 0 to 10, as Gotify counts.
    pub priority: u8,
    /// Where a tap leads.
    pub click: String,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it means.
    pub verdict: Verdict,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// A sentence for a person; never the other side's own words.
    pub detail: String,
}

/// What an attempt's outcome means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The push server has it.
    Delivered,
    /// It may go well later.
    Later,
    /// It may go well if it is shorter.
    TooLarge,
    /// It will never go well.
    Never,
}

impl Verdict {
    /// Its word in the figures, see [`crate::metrics::ATTEMPTS`].
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::TooLarge => "too_large",
            Self::Never => "refused",
            Self::Later => "failed",
        }
    }
}

/// A kind of push server.
pub trait Driver: Send + Sync {
    /// Its name in sentences.
    fn name(&self) -> &'static str;
    /// Whether a person may have a token of their own.
    fn takes_own_tokens(&self) -> bool;
    /// Whether it reaches those who have none.
    fn has_default(&self) -> bool;
    /// Hands over one note. Answers within 10 s, whatever the other side does.
    fn send<'a>(&'a self, note: &'a Note) -> BoxFuture<'a, Outcome>;
}

/// Where push goes, and what wakes its workers.
pub struct Push {
    driver: Option<Arc<dyn Driver>>,
    /// Something was written into the outbox.
    pub outbox: Notify,
    /// Something may be due.
    pub due: Notify,
    /// Bounds the tests that people ask for.
    pub tests: Semaphore,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("driver", &self.driver.as_ref().map(|d| d.name())).finish_non_exhaustive()
    }
}

impl Push {
    /// The driver that the settings ask for: Gotify, else ntfy, else none.
    ///
    /// # Errors
    /// Where TLS cannot be set up: a sentence.
    pub fn new(config: &Config) -> Result<Self, String> {
        let driver: Option<Arc<dyn Driver>> = match (&config.gotify_url, &config.ntfy_url) {
            (Some(url), _) => Some(Arc::new(gotify::Gotify::new(url, config.gotify_token.clone())?)),
            (None, Some(url)) => Some(Arc::new(ntfy::Ntfy::new(url, config.ntfy_token.clone())?)),
            (None, None) => None,
        };
        Ok(Self { driver, outbox: Notify::new(), due: Notify::new(), tests: Semaphore::new(TESTS) })
    }

    /// Whether there is anywhere to push to. Without, nothing is written for it.
    pub fn is_on(&self) -> bool {
        self.driver.is_some()
    }

    /// The driver, where push is on.
    pub fn driver(&self) -> Option<&Arc<dyn Driver>> {
        self.driver.as_ref()
    }

    /// Wakes the worker: something that is to be told was committed.
    pub fn wake(&self) {
        self.outbox.notify_one();
    }

    /// Wakes the worker where something was said. Called after each commit: it costs next to nothing.
    pub fn hear(&self, happenings: &[Happening]) {
        if happenings.iter().any(|h| matches!(h, Happening::Change { change: Change::Created(_), .. })) {
            self.wake();
        }
    }
}
