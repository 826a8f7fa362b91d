//! Tasks: started in one place, so that each is waited for, and none dies unseen.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts tasks, waits for them, and tells them to stop.
#[derive(Clone, Default)]
pub struct Tasks {
    house: TaskTracker,
    clients: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    failed: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}

#[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
fn start(tracker: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
    drop(tracker.spawn(task));
}

impl Tasks {
    /// Starts a task that the house cannot do without: where it panics, the house stops in order and fails.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        start(&self.house, async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(task = name, panic = words(&*panic), "a task died; the server stops");
                tasks.fail();
            }
        });
    }

    /// Starts a task for one client: where it panics, that client's connection ends and no other.
    pub fn spawn_for_client(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        start(&self.clients, async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(task = name, panic = words(&*panic), "a client's task died");
            }
        });
    }

    /// Runs work that would hold up the async threads beside them; none where it panics.
    #[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Stops the house in order, and marks its end as a failure.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.soft.cancel();
    }

    /// Whether the house stops because something died.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Says that the house will stop, while everybody goes on.
    pub fn announce_stop(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the house is stopping, or will soon.
    pub fn is_leaving(&self) -> bool {
        self.is_stopping() || self.leaving.load(Ordering::Relaxed)
    }

    /// Asks everybody to end what they do.
    pub fn stop_softly(&self) {
        self.soft.cancel();
    }

    /// Ends everybody at once.
    pub fn stop_hard(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether the house is stopping.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Resolves when the house begins to stop.
    pub async fn soft_stop(&self) {
        self.soft.cancelled().await;
    }

    /// Resolves when everything must end at once.
    pub async fn hard_stop(&self) {
        self.hard.cancelled().await;
    }

    /// Resolves when every client's task has ended.
    pub async fn clients_ended(&self) {
        self.clients.close();
        self.clients.wait().await;
    }

    /// Resolves when every other task has ended.
    pub async fn house_ended(&self) {
        self.house.close();
        self.house.wait().await;
    }
}
