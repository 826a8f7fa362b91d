//! What the tests stand on: servers of their own, with databases of their own, seen from outside.

mod binary;
mod database;
mod peer;
mod server;

pub use binary::{Binary, output};
pub use database::{Database, postgres_url};
pub use peer::Peer;
pub use server::{Account, Server};

use std::time::Duration;

/// How long something may take that must happen: a bound for broken code, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, happens).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
