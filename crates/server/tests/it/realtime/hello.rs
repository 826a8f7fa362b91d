//! Hello, peer ids that nobody can steal, and the examples that the protocol began with.

use serde_json::{Value, json};

use super::{
    code, messages,
    raw::{Raw, masked},
    two_in_a_room, until_pong,
};
use crate::kit::{Peer, Server};

fn hello(from: &str) -> Value {
    json!({"type": "system.hello", "id": "h", "from": from, "payload": {"peer_type": "client", "version": "1"}})
}

/// A connection that proposed a peer id, and its welcome.
async fn propose(server: &Server, token: &str, from: &str) -> (Peer, Value) {
    let mut peer = Peer::connect(&server.base, token).await;
    peer.send(hello(from)).await;
    let welcome = peer.next().await;
    if welcome["type"] == "system.welcome" {
        peer.id = welcome["payload"]["peer_id"].as_str().unwrap().to_owned();
        assert_eq!(welcome["to"], peer.id.as_str(), "the welcome is for the name that it gives");
    }
    (peer, welcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_examples_work_to_the_letter() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = Peer::connect(&server.base, &ana.token).await;
    peer.send_text(r#"{"type":"system.hello","from":"peer_123","payload":{"peer_type":"client","version":"1.0.0"}}"#)
        .await;
    let welcome = peer.next().await;
    assert_eq!((&welcome["type"], &welcome["payload"]["peer_id"]), (&json!("system.welcome"), &json!("peer_123")));
    peer.send_text(format!(r#"{{"type":"room.join","from":"peer_123","payload":{{"room_id":"{room}"}}}}"#)).await;
    let joined = peer.next().await;
    assert_eq!((&joined["type"], &joined["payload"]["room_id"]), (&json!("room.joined"), &json!(room)));
    peer.send_text(format!(
        r#"{{"type":"chat.message.send","from":"peer_123","payload":{{"room_id":"{room}","content":"Hello"}}}}"#
    ))
    .await;
    let created = peer.next().await;
    assert_eq!((&created["type"], &created["from"]), (&json!("chat.message.created"), &json!("peer_123")));
    assert_eq!((&created["payload"]["seq"], &created["payload"]["room_id"]), (&json!(1), &json!(room)));
    let message = &created["payload"]["message"];
    assert_eq!((&message["content"], &message["client_id"]), (&json!("Hello"), &Value::Null));
    for event in [welcome, joined, created] {
        assert!(event.get("reply_to").is_none(), "{event}");
    }
    // Without an id nothing makes two sends one message.
    peer.send_text(format!(r#"{{"type":"chat.message.send","payload":{{"room_id":"{room}","content":"Hello"}}}}"#))
        .await;
    assert_eq!(peer.next().await["payload"]["seq"], 2);
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_comes_first() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = Peer::connect(&server.base, &ana.token).await;
    for (kind, payload) in [
        ("system.ping", json!({})),
        ("room.join", json!({"room_id": room})),
        ("room.leave", json!({"room_id": room})),
        ("chat.message.send", json!({"room_id": room, "content": "early"})),
    ] {
        assert_eq!(code(&peer.ask(kind, payload).await), "hello_required", "{kind}");
    }
    peer.hello().await;
    assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    assert!(server.log(&ana, &room).await.is_empty());
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_hello_may_be_said_again() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut peer = Peer::connect(&server.base, &ana.token).await;
    let long = "x".repeat(101);
    for (payload, field) in [
        (json!({"peer_type": "client", "version": long}), "version"),
        (json!({"peer_type": "client", "version": "1", "device_name": long}), "device_name"),
        (json!({"peer_type": "client", "version": "1", "device_name": "a\u{7}"}), "device_name"),
        (json!({"version": "1"}), "peer_type"),
    ] {
        let refused = peer.ask("system.hello", payload).await;
        assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!(field)));
    }
    let most = "é".repeat(100);
    let payload = json!({"peer_type": "agent", "version": most, "device_name": most});
    assert_eq!(peer.ask("system.hello", payload).await["type"], "system.welcome");
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hello_is_a_conflict_and_changes_nothing() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (mut peer, _) = propose(&server, &ana.token, "first").await;
    for from in [Value::Null, json!("first")] {
        let mut again = hello("");
        again["from"] = from;
        peer.send(again).await;
        assert_eq!(code(&peer.next().await), "conflict");
    }
    // Under another name it is somebody else's word.
    peer.send(hello("second")).await;
    assert_eq!(code(&peer.next().await), "invalid_from");
    peer.send(json!({"type": "system.ping", "from": "first"})).await;
    let pong = peer.next().await;
    assert_eq!((&pong["type"], &pong["to"]), (&json!("system.pong"), &json!("first")));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_peer_id_is_taken_up() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for id in ["a", "Laptop-1.local_x", &"z".repeat(64)] {
        assert_eq!(propose(&server, &ana.token, id).await.1["payload"]["peer_id"], id);
    }
    let (one, two) = (server.peer(&ana).await, server.peer(&ana).await);
    assert!(!one.id.is_empty() && one.id != two.id, "who proposes none gets one of their own");
    drop((one, two));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_id_that_is_none_is_refused() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for id in ["", "a b", "é", "server", "a/b", "a\n", &"z".repeat(65)] {
        let (mut peer, refused) = propose(&server, &ana.token, id).await;
        assert_eq!(code(&refused), "invalid_from", "{id}");
        peer.send(hello("better")).await;
        assert_eq!(peer.next_of("system.welcome").await["payload"]["peer_id"], "better");
        assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_peer_id_that_another_user_holds() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let (mut holder, _) = propose(&server, &ana.token, "phone").await;
    holder.join(&room).await;
    let (mut thief, welcome) = propose(&server, &ben.token, "phone").await;
    assert_eq!(welcome["type"], "system.welcome");
    assert_ne!(thief.id, "phone");
    assert!(!thief.id.is_empty());
    thief.join(&room).await;
    thief.say(&room, "me").await;
    let heard = holder.next_of("chat.message.created").await;
    assert_eq!((&heard["from"], &heard["payload"]["message"]["user_id"]), (&json!(thief.id), &json!(ben.id)));
    assert_eq!(until_pong(&mut holder).await, Vec::<Value>::new());
    drop((holder, thief));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_id_is_free_once_its_holder_has_gone() {
    let (server, ana, ben, _) = two_in_a_room().await;
    let mut holder = Raw::open(&server.base, &ana.token).await;
    holder.text(&hello("phone").to_string()).await;
    assert_eq!(holder.event().await["payload"]["peer_id"], "phone");
    holder.close().await;
    assert_eq!(propose(&server, &ben.token, "phone").await.0.id, "phone");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_user_replaces_an_older_connection_of_that_id() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let (mut older, _) = propose(&server, &ana.token, "phone").await;
    older.join(&room).await;
    let (mut newer, welcome) = propose(&server, &ana.token, "phone").await;
    assert_eq!(welcome["payload"]["peer_id"], "phone");
    let (code, reason, events) = older.closed().await;
    assert_eq!((code, reason.as_str()), (4409, "replaced"));
    let goodbye = events.last().unwrap();
    assert_eq!(goodbye["type"], "system.goodbye");
    assert_eq!(goodbye["payload"], json!({"code": 4409, "reason": "replaced", "action": "stop", "retry_after_ms": 0}));
    // The newer one is whole: it joins, hears, and is the user's one peer.
    let joined = newer.join(&room).await;
    let members = joined["payload"]["members"].as_array().unwrap();
    let me = members.iter().find(|m| m["user_id"] == ana.id).unwrap();
    assert_eq!(me["peers"].as_array().unwrap().len(), 1, "{me}");
    let mut b = server.peer(&ben).await;
    b.join(&room).await;
    b.say(&room, "to the newer").await;
    assert_eq!(newer.next_of("chat.message.created").await["payload"]["message"]["content"], "to the newer");
    assert_eq!(newer.say(&room, "from the newer").await["from"], "phone");
    drop((older, newer, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_replaces_a_silent_connection_is_seen_once() {
    let (server, ana, _, room) = two_in_a_room().await;
    // It never answers the goodbye, as a network that is gone.
    let mut older = Raw::open(&server.base, &ana.token).await;
    older.text(&hello("phone").to_string()).await;
    older.event().await;
    let (mut newer, _) = propose(&server, &ana.token, "phone").await;
    let joined = newer.join(&room).await;
    let me = joined["payload"]["members"].as_array().unwrap().iter().find(|m| m["user_id"] == ana.id).unwrap().clone();
    assert_eq!(me["peers"].as_array().unwrap().len(), 1, "{me}");
    drop(older);
    drop(newer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_as_another() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let (mut a, _) = propose(&server, &ana.token, "ana-phone").await;
    let (mut b, _) = propose(&server, &ben.token, "ben-phone").await;
    a.join(&room).await;
    b.join(&room).await;
    for from in ["ana-phone", "server", "", "BEN-PHONE", &room] {
        let payload = json!({"room_id": room, "content": "I am Ana"});
        b.send(json!({"type": "chat.message.send", "id": "lie", "from": from, "payload": payload})).await;
        let refused = b.next().await;
        assert_eq!((code(&refused), &refused["reply_to"]), ("invalid_from", &json!("lie")), "{from}");
    }
    for from in [Value::Null, json!("ben-phone")] {
        b.send(json!({"type": "chat.message.send", "from": from, "payload": {"room_id": room, "content": "I am Ben"}}))
            .await;
        let heard = a.next().await;
        assert_eq!(heard["from"], "ben-phone");
        let message = &heard["payload"]["message"];
        assert_eq!((&message["user_id"], &message["username"]), (&json!(ben.id), &json!("ben")));
        assert_eq!(message["content"], "I am Ben");
    }
    assert_eq!(server.log(&ana, &room).await.len(), 2, "no lie was stored");
    server.post(&messages(&room), &ana, json!({"content": "by REST"})).await;
    assert_eq!(a.next().await["from"], "server");
    drop((a, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_with_the_hello_is_acted_on_after_the_welcome() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut early = Vec::new();
    for event in [
        json!({"type": "system.hello", "id": "h", "payload": {"peer_type": "client", "version": "1"}}),
        json!({"type": "room.join", "id": "j", "payload": {"room_id": room, "since_seq": 0}}),
        json!({"type": "chat.message.send", "id": "s", "payload": {"room_id": room, "content": "first"}}),
    ] {
        early.extend(masked(0x81, event.to_string().as_bytes()));
    }
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.bytes(&early).await;
    for (kind, id) in [("system.welcome", "h"), ("room.joined", "j"), ("chat.message.created", "s")] {
        let mut event = raw.event().await;
        while event["type"] == "presence.update" {
            event = raw.event().await;
        }
        assert_eq!((&event["type"], &event["reply_to"]), (&json!(kind), &json!(id)), "{event}");
    }
    // What says something before the hello has nothing to do with one that follows.
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.text(&json!({"type": "room.join", "id": "j", "payload": {"room_id": room}}).to_string()).await;
    assert_eq!(raw.event().await["payload"]["code"], "hello_required");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_arrives_with_rooms_to_join_is_answered_in_one_piece() {
    let (server, ana, _, room) = two_in_a_room().await;
    let other = server.room(&ana, "Cuisine").await;
    let mut early = Vec::new();
    for event in [
        json!({"type": "system.hello", "id": "h", "payload": {"peer_type": "client", "version": "1"}}),
        json!({"type": "room.join", "id": "j", "payload": {"room_id": room}}),
        json!({"type": "room.join", "id": "k", "payload": {"room_id": other}}),
    ] {
        early.extend(masked(0x81, event.to_string().as_bytes()));
    }
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.bytes(&early).await;
    let events = raw.at_once().await;
    let mut answers = events.iter().filter(|event| !event["reply_to"].is_null()).map(|event| &event["reply_to"]);
    assert_eq!([answers.next(), answers.next()], [Some(&json!("h")), Some(&json!("j"))], "{events:?}");
    // Unless the first room has something to tell meanwhile, the second one is among them too.
    if answers.next().is_none() {
        while raw.event().await["reply_to"] != "k" {}
    }
    drop(raw);
    server.stop().await;
}
