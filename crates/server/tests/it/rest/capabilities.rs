//! Capability tokens: who gets them, what they say, and what they fall with.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{RoomId, model::Capability};
use mesh_server::service::{auth, capabilities};
use serde_json::{Value, json};

use crate::kit::{Account, Server};

const PATH: &str = "/api/auth/capability";

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Whether the server lets a token be used for a call in the room; the error's code where it does not.
pub(super) async fn usable(server: &Server, who: &Account, token: &str, room: &str) -> Result<(), &'static str> {
    let caller = auth::authenticate(&server.app, &who.token).await.map_err(|e| e.code)?;
    let checked = capabilities::check(&server.app, &caller, token, RoomId::parse(room), Capability::Call).await;
    checked.map(drop).map_err(|e| e.code)
}

async fn grant(server: &Server, who: &Account, room: &str) -> String {
    let (status, answer) = server.post(PATH, who, json!({"room_id": room, "capabilities": ["call"]})).await;
    assert_eq!(status, 200, "{answer}");
    answer["capability_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_may_do_what_where_and_for_how_long() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let colons = ["AB"; 32].join(":");
    let body = json!({
        "room_id": room, "capabilities": ["screen", "call", "call"], "target_peer_id": "peer_9", "ttl": 60,
        "fingerprint": format!("sha-256 {colons}"),
    });
    let (status, answer) = server.post(PATH, &ana, body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "capability");
    assert_eq!(answer["capabilities"], json!(["call", "screen"]));
    assert_eq!((&answer["room_id"], &answer["target_peer_id"]), (&json!(room), &json!("peer_9")));
    assert_eq!(answer["expires_in"], 60);
    let token = answer["capability_token"].as_str().unwrap();
    assert_eq!(part(token, 0)["typ"], "mesh-cap+jwt");
    let claims = part(token, 1);
    assert_eq!(claims["sub"], ana.id.as_str());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims["cnf"]["x5t#S256"], BASE64_URL_SAFE_NO_PAD.encode([0xAB; 32]));
    // Neither kind is accepted in the place of the other.
    assert_eq!(server.ask("GET", "/api/auth/me", Some(token), None).await.0, 401);
    assert_eq!(usable(&server, &ana, &ana.token, &room).await, Err("token_invalid"));
    // Without a target the field is there and null; the default is two minutes.
    let (_, answer) = server.post(PATH, &ana, json!({"room_id": room, "capabilities": ["call"]})).await;
    assert_eq!((&answer["target_peer_id"], &answer["expires_in"]), (&Value::Null, &json!(120)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_named() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    for (change, field) in [
        (json!({"ttl": 59}), "ttl"),
        (json!({"ttl": 181}), "ttl"),
        (json!({"ttl": "60"}), "ttl"),
        (json!({"capabilities": []}), "capabilities"),
        (json!({"capabilities": ["fly"]}), "capabilities[0]"),
        (json!({"fingerprint": "AB:CD"}), "fingerprint"),
        (json!({"target_peer_id": "no peer"}), "target_peer_id"),
    ] {
        let mut body = json!({"room_id": room, "capabilities": ["call"]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, problem) = server.post(PATH, &ana, body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    // A room that one is not in is absent, public or not.
    let eve = server.register("eve").await;
    let (_, public) = server.post("/api/rooms", &ana, json!({"name": "Open", "visibility": "public"})).await;
    for id in [room.as_str(), public["id"].as_str().unwrap(), "nonsense"] {
        let (status, _) = server.post(PATH, &eve, json!({"room_id": id, "capabilities": ["call"]})).await;
        assert_eq!(status, 404, "{id}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_holds_what_touches_nothing() {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Cuisine").await;
    let path = format!("/api/rooms/{room}/members");
    assert_eq!(server.post(&path, &ana, json!({"username": "ben", "role": "guest"})).await.0, 201);
    for (capability, status) in [
        ("call", 200),
        ("screen", 200),
        ("terminal:view", 200),
        ("share:file", 403),
        ("share:folder", 403),
        ("terminal:control", 403),
    ] {
        let body = json!({"room_id": room, "capabilities": [capability]});
        assert_eq!(server.post(PATH, &ben, body.clone()).await.0, status, "{capability}");
        assert_eq!(server.post(PATH, &ana, body).await.0, 200, "{capability}");
    }
    let mixed = json!({"room_id": room, "capabilities": ["call", "share:file"]});
    assert_eq!(server.post(PATH, &ben, mixed).await.0, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_falls_with_its_time_its_login_and_its_holder() {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let (room, other) = (server.room(&ana, "Cuisine").await, server.room(&ana, "Salon").await);
    server.add(&ana, &room, &ben).await;
    let token = grant(&server, &ana, &room).await;
    assert_eq!(usable(&server, &ana, &token, &room).await, Ok(()));
    assert_eq!(usable(&server, &ana, &token, &other).await, Err("forbidden"));
    assert_eq!(usable(&server, &ben, &token, &room).await, Err("forbidden"), "it is ana's");
    server.advance(121);
    assert_eq!(usable(&server, &ana, &token, &room).await, Err("token_expired"));
    // The login that asked for it ends; another one of the same person does not save it.
    let token = grant(&server, &ana, &room).await;
    let body = json!({"username": "ana", "password": "correct horse battery"});
    let (_, again) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
    let elsewhere = Account { token: again["access_token"].as_str().unwrap().to_owned(), ..ana.clone() };
    assert_eq!(usable(&server, &elsewhere, &token, &room).await, Ok(()));
    assert_eq!(server.post("/api/auth/logout", &ana, json!({})).await.0, 204);
    assert_eq!(usable(&server, &elsewhere, &token, &room).await, Err("token_invalid"));
    server.stop().await;
}
