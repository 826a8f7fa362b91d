//! The few things that a client library takes from its surroundings: randomness, ids, its background task.

use std::future::Future;

/// A number nobody guesses; 0 where the system has none to give (it spreads delays, it guards nothing).
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// A new name for a message.
#[expect(clippy::disallowed_methods, reason = "a client library has no `ids` passed in; uniqueness is all that counts")]
pub(crate) fn client_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Starts the client's one background task; it ends when every handle is gone.
#[expect(clippy::disallowed_methods, reason = "one task, tracked by the handles: it ends with the last of them")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
