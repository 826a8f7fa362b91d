//! Carries committed happenings from the store to the connections. Within one process a bounded queue; what a
//! connection misses, its room's feed restores from the store.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::domain::happening::{Happening, Told};

/// Batches of happenings that may wait for the hub. A batch is one transaction's; beyond it the store's threads wait,
/// so that a slow fan-out slows sends down instead of growing memory.
const QUEUE: usize = 256;

/// The receiving end.
pub type Receiver = mpsc::Receiver<Told>;

/// The sending end; it may wait, so it is called on threads of the store only.
pub type Sender = std::sync::Arc<dyn Fn(Vec<Happening>) + Send + Sync>;

/// A bus within this process: the store's sink, and the hub's receiver.
pub fn local() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let sink: Sender = std::sync::Arc::new(move |happenings| {
        // Without a receiver the house is stopping, and nobody is left to tell.
        let _ = sender.blocking_send(Told { at: Instant::now(), happenings });
    });
    (sink, receiver)
}
