//! Second factors of logins, and credentials for machines.

mod scopes;
mod tokens;
pub(crate) mod totp;

use mesh_server::clock::Clock;
use serde_json::{Value, json};

use crate::kit::{Account, Server};

const PASSWORD: &str = "correct horse battery";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Unix seconds of the server's clock.
fn now(server: &Server) -> i64 {
    let clock: &Clock = &server.app.clock;
    clock.now_ms() / 1000
}

async fn login(server: &Server, name: &str, password: &str) -> (u16, Value) {
    server.ask("POST", "/api/auth/login", None, Some(json!({"username": name, "password": password}))).await
}

async fn me(server: &Server, token: &str) -> u16 {
    server.ask("GET", "/api/auth/me", Some(token), None).await.0
}

/// Makes a personal access token: what the server answered.
async fn token(server: &Server, who: &Account, scopes: &[&str], expires_in: Option<i64>) -> Value {
    let mut body = json!({"name": "a bot", "scopes": scopes});
    if let Some(seconds) = expires_in {
        body["expires_in"] = seconds.into();
    }
    let (status, answer) = server.post("/api/auth/tokens", who, body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// The same account, by another credential.
fn with(who: &Account, token: &Value) -> Account {
    Account { token: text(&token["token"]), ..who.clone() }
}
