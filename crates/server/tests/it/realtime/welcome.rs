//! What `system.welcome` tells; ping and pong.

use base64::{Engine as _, prelude::*};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{
    messages,
    raw::{PING, PONG, Raw},
};
use crate::kit::Server;

fn names(welcome: &Value) -> Vec<&str> {
    welcome["payload"]["rooms"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_who_one_is_and_what_one_may() {
    let settings = [("MESH_MAX_MESSAGE_CHARS", "123"), ("MESH_EVENTS_PER_SECOND", "77")];
    let server = Server::start_with(&settings).await;
    let body = json!({"username": "ana", "password": "correct horse battery", "display_name": "Ana B."});
    let (_, registered) = server.ask("POST", "/api/auth/register", None, Some(body)).await;
    let token = registered["access_token"].as_str().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let mut peer = crate::kit::Peer::connect(&server.base, token).await;
    let welcome = peer.hello().await;
    let payload = &welcome["payload"];
    let user = json!({"id": registered["user"]["id"], "username": "ana", "display_name": "Ana B."});
    assert_eq!(payload["user"], user);
    assert_eq!(payload["session_id"], claims["sid"]);
    assert_eq!((&payload["protocol"], &payload["heartbeat_seconds"]), (&json!(2), &json!(25)));
    let limits = json!({"max_frame_bytes": 65_536, "max_message_chars": 123, "events_per_second": 77});
    assert_eq!(payload["limits"], limits);
    let (_, info) = server.ask("GET", "/api/info", None, None).await;
    assert_eq!((&payload["features"], &payload["server_version"]), (&info["features"], &info["version"]));
    for feature in ["chat", "rooms", "resume"] {
        assert!(payload["features"].as_array().unwrap().contains(&json!(feature)));
    }
    assert_eq!((&payload["rooms"], &payload["rooms_complete"]), (&json!([]), &json!(true)));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_come_with_the_newest_activity_first() {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let mut rooms = Vec::new();
    for name in ["first", "second", "third"] {
        rooms.push(server.room(&ana, name).await);
        server.advance(1);
    }
    server.room(&ben, "not Ana's").await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    assert_eq!(names(&peer.hello().await), ["third", "second", "first"]);
    server.add(&ana, &rooms[0], &ben).await;
    server.advance(1);
    server.post(&messages(&rooms[0]), &ben, json!({"content": "hello @ana"})).await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    assert_eq!(names(&welcome), ["first", "third", "second"]);
    let (_, room) = server.get(&format!("/api/rooms/{}", rooms[0]), &ana).await;
    assert_eq!(welcome["payload"]["rooms"][0], room, "the same room as by REST");
    assert_eq!((&room["unread"], &room["mentions"], &room["last_seq"]), (&json!(1), &json!(1), &json!(1)));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_200_rooms_are_listed() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for n in 1..=200 {
        server.room(&ana, &format!("r{n}")).await;
        server.advance(1);
    }
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    assert_eq!((names(&welcome).len(), &welcome["payload"]["rooms_complete"]), (200, &json!(true)));
    server.room(&ana, "r201").await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    assert_eq!(welcome["payload"]["rooms_complete"], false);
    let expected: Vec<_> = (2..=201).rev().map(|n| format!("r{n}")).collect();
    assert_eq!(names(&welcome), expected, "the one with the oldest activity is left out");
    server.stop().await;
}

/// HMAC by RFC 2104, from its definition.
fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha1::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha1::new().chain_update(pad(0x5C)).chain_update(inner).finalize().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_credentials_are_those_of_coturns_secret() {
    assert_eq!(BASE64_STANDARD.encode(hmac_sha1(b"north", b"1767326645:alice")), "SGuYfYlrPyFttcIku/1iU/JhnSY=");
    let server = Server::start_with(&[
        ("STUN_URL", "stun:stun.example:3478,stun:other.example"),
        ("TURN_HOST", "turn.example"),
        ("TURN_PORT", "5349"),
        ("TURN_SECRET", "the north remembers, the-old-one"),
        ("TURN_TTL_SECONDS", "600"),
    ])
    .await;
    let ana = server.register("ana").await;
    let now = server.app.clock.now_ms() / 1000;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let welcome = peer.hello().await;
    let servers = welcome["payload"]["ice_servers"].as_array().unwrap();
    assert_eq!(servers[0], json!({"urls": ["stun:stun.example:3478", "stun:other.example"]}));
    let urls = json!(["turn:turn.example:5349?transport=udp", "turn:turn.example:5349?transport=tcp"]);
    assert_eq!(servers[1]["urls"], urls);
    let username = servers[1]["username"].as_str().unwrap();
    assert_eq!(username, format!("{}:{}", now + 600, ana.id));
    let credential = BASE64_STANDARD.encode(hmac_sha1(b"the north remembers", username.as_bytes()));
    assert_eq!(servers[1]["credential"], credential);
    assert_eq!(servers.len(), 2);
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_turn_credentials_and_none_at_all() {
    let fixed = [("TURN_HOST", "turn.example"), ("TURN_USERNAME", "mesh"), ("TURN_PASSWORD", "secret")];
    let server = Server::start_with(&fixed).await;
    let ana = server.register("ana").await;
    let mut peer = crate::kit::Peer::connect(&server.base, &ana.token).await;
    let turn = peer.hello().await["payload"]["ice_servers"][1].clone();
    assert_eq!((&turn["username"], &turn["credential"]), (&json!("mesh"), &json!("secret")));
    server.stop().await;
    let server = Server::start().await;
    let mut peer = crate::kit::Peer::connect(&server.base, &server.register("ana").await.token).await;
    let servers = peer.hello().await["payload"]["ice_servers"].clone();
    assert_eq!(servers, json!([{"urls": ["stun:stun.l.google.com:19302"]}]));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_of_both_kinds_are_answered() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut raw = Raw::open(&server.base, &ana.token).await;
    // RFC 6455, 5.5.2: also before hello, and with the same bytes.
    for payload in [&b""[..], b"early", &[0xFF; 125]] {
        raw.frame(PING, payload).await;
        let pong = raw.next().await.unwrap();
        assert_eq!((pong.first, pong.payload.as_slice()), (PONG, payload));
    }
    raw.hello().await;
    raw.frame(PONG, b"unasked").await;
    raw.text(r#"{"type":"system.ping","id":"p","payload":{}}"#).await;
    let pong = raw.event().await;
    assert_eq!((&pong["type"], &pong["reply_to"], &pong["payload"]), (&json!("system.pong"), &json!("p"), &json!({})));
    raw.close().await;
    server.stop().await;
}
