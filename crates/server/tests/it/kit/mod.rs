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

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::channel,
    time::Duration,
};

/// How long something may take that must happen: a bound for broken code, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, happens).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits until something holds that is only seen by asking: a figure, a row, a list.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Reads what a program says until it says these words, and lets it talk on; all that it said where it does not.
pub fn says(log: impl Read + Send + 'static, words: &'static str) -> Result<(), String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(log).lines() {
            let Ok(line) = line else { break };
            said.push_str(&line);
            said.push('\n');
            if line.contains(words) {
                let _ = tell.send(Ok(()));
            }
        }
        let _ = tell.send(Err(said));
    });
    told.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("nothing in time".to_owned()))
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
