//! Writing for many connections at once: a fan-out to a room wakes one task for each core instead of one for each
//! listener, which would find in its turn nothing to do but write.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::sync::Notify;

use super::{conn::Conn, hub::locked};
use crate::tasks::Tasks;

/// Connections that a writer takes from the list at once; where it is put aside by the system, so many wait for it.
const AT_ONCE: usize = 32;

/// The connections that are to be written for. Each stands on the list once at most.
#[derive(Default)]
struct List {
    waiting: Mutex<VecDeque<Arc<Conn>>>,
    wake: Notify,
}

/// The writers' list.
#[derive(Clone)]
pub(super) struct Writers {
    list: Arc<List>,
}

impl Writers {
    /// Starts a writer for each core.
    pub(super) fn start(tasks: &Tasks) -> Self {
        let list = Arc::new(List::default());
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (list, house) = (list.clone(), tasks.clone());
            tasks.spawn("writer", async move { list.write(&house).await });
        }
        Self { list }
    }

    /// Has the queues of these connections written.
    pub(super) fn write<'a>(&self, conns: impl Iterator<Item = &'a Arc<Conn>>) {
        // Whoever is listed already is written for later, with all that waits then.
        let new: Vec<_> = conns.filter(|conn| !conn.listed.swap(true, Ordering::AcqRel)).cloned().collect();
        if !new.is_empty() {
            locked(&self.list.waiting).extend(new);
            self.list.wake.notify_one();
        }
    }
}

impl List {
    /// Takes the next; whether others are left.
    fn take(&self) -> (Vec<Arc<Conn>>, bool) {
        let mut waiting = locked(&self.waiting);
        let count = waiting.len().min(AT_ONCE);
        let part = waiting.drain(..count).collect();
        (part, !waiting.is_empty())
    }

    /// Writes for whoever is listed, until the house stops.
    async fn write(&self, tasks: &Tasks) {
        loop {
            let (part, more) = self.take();
            if more {
                self.wake.notify_one();
            }
            if part.is_empty() {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = tasks.hard_stop() => return,
                }
            }
            for conn in part {
                // What is queued from here on needs a new entry.
                conn.listed.store(false, Ordering::Release);
                conn.flush();
            }
            tokio::task::yield_now().await;
        }
    }
}
