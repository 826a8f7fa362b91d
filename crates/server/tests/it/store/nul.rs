//! NUL, which PostgreSQL cannot store and SQLite can: refused at the edge, alike on both.

use serde_json::{Value, json};

use super::postgres;
use crate::kit::{Database, Server};

const NUL: &str = "a\0b";

async fn refuses_nul(database: Database) {
    let server = Server::start_on(database, &[]).await;
    let ana = server.register("ana").await;
    let ben = server.register("ben").await;
    let room = server.room(&ana, "Cuisine").await;
    let messages = format!("/api/rooms/{room}/messages");
    let members = format!("/api/rooms/{room}/members");
    let register = |field: &str| {
        let mut body = json!({"username": "cat", "password": "correct horse battery"});
        body[field] = json!(format!("correct\0{NUL}@example.org"));
        body
    };
    let mut cases: Vec<(&str, &str, Value, u16)> = vec![
        ("POST", "/api/rooms", json!({"name": NUL}), 422),
        ("POST", "/api/rooms", json!({"name": "x", "description": NUL}), 422),
        ("POST", &messages, json!({"content": NUL}), 422),
        ("POST", &messages, json!({"content": "x", "client_id": NUL}), 422),
        ("POST", &messages, json!({"content": "x", "reply_to_id": NUL}), 404),
        ("POST", &members, json!({"username": NUL}), 404),
        ("POST", &members, json!({"username": "ben\0"}), 404),
        ("POST", &members, json!({"user_id": NUL}), 404),
        ("POST", "/api/auth/login", json!({"username": "ana\0", "password": "x"}), 401),
        ("POST", "/api/auth/login", json!({"username": "ana", "password": NUL}), 401),
        ("GET", "/api/rooms/%00", Value::Null, 404),
        ("GET", "/api/rooms/%00/messages", Value::Null, 404),
        ("GET", "/api/rooms?cursor=%00", Value::Null, 422),
        ("GET", "/api/rooms?cursor=1.%00", Value::Null, 422),
        ("GET", "/api/rooms?visibility=public%00", Value::Null, 422),
    ];
    for field in ["username", "password", "email", "display_name"] {
        cases.push(("POST", "/api/auth/register", register(field), 422));
    }
    let cursor = format!("{members}?cursor=a%00bc");
    cases.push(("GET", &cursor, Value::Null, 422));
    for (method, path, body, expected) in cases {
        let body = Some(body).filter(|body| !body.is_null());
        let (status, answer) = server.ask(method, path, Some(&ana.token), body.clone()).await;
        assert_eq!(status, expected, "{method} {path} {body:?}: {answer}");
    }
    let mut peer = server.peer(&ana).await;
    peer.join(&room).await;
    for (payload, code) in [
        (json!({"room_id": room, "content": NUL}), "invalid_payload"),
        (json!({"room_id": room, "content": "x", "client_id": NUL}), "invalid_payload"),
        // An id that is none names nothing.
        (json!({"room_id": room, "content": "x", "reply_to_id": NUL}), "not_found"),
        (json!({"room_id": NUL, "content": "x"}), "not_found"),
    ] {
        let refused = peer.ask("chat.message.send", payload).await;
        assert_eq!(refused["payload"]["code"], code, "{refused}");
    }
    assert_eq!(peer.ask("room.join", json!({"room_id": NUL})).await["payload"]["code"], "not_found");
    assert!(server.log(&ana, &room).await.is_empty());
    // And nobody was disturbed.
    server.add(&ana, &room, &ben).await;
    peer.say(&room, "hello").await;
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    refuses_nul(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    if let Some(database) = postgres("NUL in texts") {
        refuses_nul(database).await;
    }
}
