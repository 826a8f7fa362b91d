//! The time, passed in: a test moves it by hand.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use mesh_protocol::Timestamp;

/// Tells the wall-clock time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until somebody moves it: Unix milliseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Now, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        match self {
            #[allow(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
            Self::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Self::Manual(ms) => ms.load(Ordering::Relaxed),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }
}
