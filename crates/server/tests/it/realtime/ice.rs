//! STUN and TURN servers: what clients are given, and when they get fresh credentials.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use super::until_pong;
use crate::kit::Server;

/// coturn's rule for `use-auth-secret`: the password is HMAC-SHA1 of the name.
fn password(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn expiry(turn: &Value) -> i64 {
    turn["username"].as_str().unwrap().split_once(':').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn fresh_credentials_come_at_three_quarters_of_their_life() {
    let server = Server::start_with(&[
        ("TURN_HOST", "turn.example.org"),
        ("TURN_SECRET", "new secret,old secret"),
        ("TURN_TLS_PORT", "5349"),
        ("TURN_TTL_SECONDS", "1000"),
    ])
    .await;
    let ana = server.register("ana").await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    let first = welcome["payload"]["ice_servers"][1].clone();
    assert_eq!(
        first["urls"],
        json!([
            "turn:turn.example.org:3478?transport=udp",
            "turn:turn.example.org:3478?transport=tcp",
            "turns:turn.example.org:5349?transport=tcp",
        ])
    );
    let name = first["username"].as_str().unwrap();
    assert!(name.ends_with(&ana.id), "{name}");
    assert_eq!(first["credential"], password("new secret", name), "the first secret signs");
    server.advance(749);
    assert!(until_pong(&mut peer).await.is_empty(), "too early");
    server.advance(1);
    let fresh = peer.next_of("rtc.ice_servers").await;
    assert_eq!((&fresh["from"], &fresh["to"]), (&json!("server"), &json!(peer.id)));
    assert_eq!(fresh["payload"]["ttl"], 1000);
    let second = &fresh["payload"]["ice_servers"][1];
    assert_eq!(expiry(second) - expiry(&first), 750);
    assert_eq!(second["credential"], password("new secret", second["username"].as_str().unwrap()));
    // And again: it lives as long as the connection.
    server.advance(750);
    let third = peer.next_of("rtc.ice_servers").await;
    assert_eq!(expiry(&third["payload"]["ice_servers"][1]) - expiry(second), 750);
    server.stop().await;
}

#[tokio::test]
async fn fixed_credentials_are_given_once() {
    let server = Server::start_with(&[
        ("TURN_HOST", "turn.example.org"),
        ("TURN_USERNAME", "all"),
        ("TURN_PASSWORD", "the same"),
        ("TURN_TRANSPORTS", "tcp"),
        ("TURN_TTL_SECONDS", "60"),
    ])
    .await;
    let ana = server.register("ana").await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    let turn =
        json!({"urls": ["turn:turn.example.org:3478?transport=tcp"], "username": "all", "credential": "the same"});
    assert_eq!(welcome["payload"]["ice_servers"][1], turn);
    assert_eq!(server.get("/api/ice-servers", &ana).await.1["ice_servers"][1], turn);
    server.advance(3_000);
    assert!(until_pong(&mut peer).await.is_empty());
    server.stop().await;
}
