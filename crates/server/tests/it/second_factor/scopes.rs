//! What a personal access token may do. Everything that exists is tried: what is new is refused until it stands here.

use mesh_protocol::event::ClientEvent;
use serde_json::{Value, json};

use super::{text, token, with};
use crate::kit::{Account, Server};

const SCOPES: [&str; 4] = ["chat:read", "chat:write", "rooms:read", "rtc"];

/// Which calls a scope opens, and which every token opens; no token opens any other.
const CALLS: &[(&str, &str)] = &[
    ("get /api/auth/me", "rooms:read"),
    ("get /api/rooms", "rooms:read"),
    ("get /api/rooms/{id}", "rooms:read"),
    ("get /api/rooms/{id}/members", "rooms:read"),
    ("get /api/rooms/{id}/messages", "chat:read"),
    ("get /api/rooms/{id}/messages/search", "chat:read"),
    ("post /api/rooms/{id}/messages", "chat:write"),
    ("patch /api/rooms/{id}/messages/{message_id}", "chat:write"),
    ("delete /api/rooms/{id}/messages/{message_id}", "chat:write"),
    ("put /api/rooms/{id}/messages/{message_id}/reactions/{emoji}", "chat:write"),
    ("delete /api/rooms/{id}/messages/{message_id}/reactions/{emoji}", "chat:write"),
    ("put /api/rooms/{id}/read", "chat:read"),
    ("post /api/auth/capability", "rtc"),
    ("get /api/ice-servers", "rtc"),
    ("post /api/auth/ws-ticket", "any"),
];

/// Which events a scope opens, and which every token may send.
const EVENTS: &[(&str, &str)] = &[
    ("system.hello", "any"),
    ("system.ping", "any"),
    ("system.auth", "any"),
    ("presence.set", "any"),
    ("room.join", "chat:read"),
    ("room.leave", "chat:read"),
    ("chat.message.send", "chat:write"),
    ("chat.message.edit", "chat:write"),
    ("chat.message.delete", "chat:write"),
    ("chat.reaction.add", "chat:write"),
    ("chat.reaction.remove", "chat:write"),
    ("chat.typing", "chat:write"),
    ("chat.read", "chat:read"),
    ("chat.history", "chat:read"),
    ("rtc.offer", "rtc"),
    ("rtc.answer", "rtc"),
    ("rtc.ice", "rtc"),
    ("rtc.bye", "rtc"),
    ("p2p.session.request", "rtc"),
    ("p2p.session.accept", "rtc"),
    ("p2p.session.reject", "rtc"),
    ("p2p.session.close", "rtc"),
    ("file.share", "rtc"),
    ("file.unshare", "rtc"),
    ("terminal.share", "rtc"),
    ("terminal.unshare", "rtc"),
    ("terminal.control.request", "rtc"),
    ("terminal.control.grant", "rtc"),
    ("terminal.control.release", "rtc"),
    ("terminal.control.revoke", "rtc"),
    ("call.ring", "rtc"),
    ("call.cancel", "rtc"),
    ("call.decline", "rtc"),
];

fn expected(table: &[(&str, &str)], name: &str, scope: &str) -> bool {
    table.iter().any(|(n, s)| *n == name && (*s == scope || *s == "any"))
}

/// A token of each scope alone.
async fn one_each(server: &Server, ana: &Account) -> Vec<(&'static str, Account)> {
    let mut bots = Vec::new();
    for scope in SCOPES {
        bots.push((scope, with(ana, &token(server, ana, &[scope], None).await)));
    }
    bots
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_refused_but_those_of_the_scope() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let bots = one_each(&server, &ana).await;
    let (_, document) = server.ask("GET", "/openapi.json", None, None).await;
    let (mut tried, mut opened) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // What needs no credential looks at none.
            if operation["security"] == json!([]) {
                continue;
            }
            let name = format!("{method} {path}");
            let filled = path
                .split('/')
                .map(|part| if part.starts_with('{') { "00000000-0000-7000-8000-000000000000" } else { part });
            let filled = filled.collect::<Vec<_>>().join("/");
            let body = operation["requestBody"].is_object().then(|| json!({}));
            for (scope, bot) in &bots {
                // With and without the trailing slash, which must not make a difference.
                for path in [filled.clone(), format!("{filled}/")] {
                    let (status, answer) =
                        server.ask(&method.to_uppercase(), &path, Some(&bot.token), body.clone()).await;
                    let refused = (status, &answer["code"]) == (403, &json!("insufficient_scope"));
                    assert_eq!(refused, !expected(CALLS, &name, scope), "{name} with {scope}: {status} {answer}");
                    assert_ne!(status, 401, "{name}: the token itself is good");
                    opened += u32::from(!refused);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 60 && opened >= 12, "{tried} {opened}");
    // A HEAD is a GET.
    for (scope, bot) in &bots {
        let head = server.http.head(server.url("/api/rooms")).bearer_auth(&bot.token).send().await.unwrap();
        assert_eq!(head.status().as_u16(), if *scope == "rooms:read" { 200 } else { 403 });
        let told = head.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(told, (*scope != "rooms:read").then_some("Bearer error=\"insufficient_scope\""));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_refused_but_those_of_the_scope() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for (scope, bot) in one_each(&server, &ana).await {
        let mut peer = server.peer(&bot).await;
        for info in ClientEvent::catalogue() {
            let example: Value = serde_json::from_str(info.example).unwrap();
            let answer = peer.ask(info.name, example["payload"].clone()).await;
            let refused = answer["payload"]["details"]["reason"] == "insufficient_scope";
            assert_eq!(refused, !expected(EVENTS, info.name, scope), "{} with {scope}: {answer}", info.name);
            if refused {
                assert_eq!(
                    (&answer["type"], &answer["payload"]["code"]),
                    (&json!("system.error"), &json!("forbidden"))
                );
            }
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_welcome_tells_what_the_scopes_allow() {
    let server = Server::start_with(&[("STUN_URL", "stun:stun.example.org:3478")]).await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "kitchen").await;
    for (scope, bot) in one_each(&server, &ana).await {
        let mut peer = crate::kit::Peer::connect(&server.base, &bot.token).await;
        let welcome = peer.hello().await["payload"].clone();
        let rooms = welcome["rooms"].as_array().unwrap();
        assert_eq!(rooms.is_empty(), scope != "rooms:read", "{scope}");
        assert_eq!(welcome["rooms_complete"], scope == "rooms:read");
        assert_eq!(welcome["ice_servers"].as_array().unwrap().len(), usize::from(scope == "rtc"), "{scope}");
        // Nor is it told of rooms later, unless it may see them.
        server.room(&ana, "garden").await;
        peer.ask("system.ping", json!({})).await;
        server.app.db.settled().await;
        if scope == "rooms:read" {
            assert_eq!(peer.next_of("room.added").await["payload"]["room"]["name"], "garden");
            assert_eq!(text(&rooms[0]["id"]).len(), room.len());
        } else {
            assert!(peer.waiting.iter().all(|e| e["type"] != "room.added"), "{scope}");
        }
    }
    server.stop().await;
}
