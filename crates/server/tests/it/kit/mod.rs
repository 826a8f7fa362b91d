//! What the tests stand on: servers of their own, with databases of their own, seen from outside.

mod binary;
mod chance;
pub mod coturn;
mod database;
mod peer;
mod secure_postgres;
mod server;

pub use binary::{Binary, EXE, output};
pub use chance::{Chance, seeds};
pub use coturn::Coturn;
pub use database::{Database, postgres_url};
pub use peer::Peer;
pub use secure_postgres::SecurePostgres;
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

/// An HTTP client, of which nobody waits for ever.
pub fn http() -> reqwest::ClientBuilder {
    // The client library is built without a provider of its own; a second test finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE)
}

/// Says loudly that something was not tested, since a variable is not set: nobody must believe that it was. With
/// `CI=true` that is a failure.
pub fn skipped(what: &str, variable: &str) {
    use std::io::Write as _;
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "CI=true, and {variable} is not set: {what} cannot be tested");
    // Not `eprintln!`, which is swallowed where the test passes.
    let line = format!("\nSKIPPED: {what}, since {variable} is not set\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
