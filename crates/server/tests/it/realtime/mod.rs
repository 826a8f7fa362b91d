//! The real-time contract, clause by clause, on a server with a database of its own.

mod changes;
mod chat;
mod compression;
mod converge;
mod ending;
mod envelope;
mod frames;
mod hello;
mod ice;
mod opening;
mod order;
mod presence;
mod random;
mod raw;
mod recovery;
mod rooms;
mod slow;
mod welcome;

use serde_json::{Value, json};

use crate::kit::{Account, Peer, Server};

/// A server, two people, and a private room of both.
async fn two_in_a_room() -> (Server, Account, Account, String) {
    two_in_a_room_with(&[]).await
}

async fn two_in_a_room_with(settings: &[(&str, &str)]) -> (Server, Account, Account, String) {
    let server = Server::start_with(settings).await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    (server, ana, ben, room)
}

/// A room that everybody may join.
async fn public_room(server: &Server, owner: &Account, name: &str) -> String {
    let (status, room) = server.post("/api/rooms", owner, json!({"name": name, "visibility": "public"})).await;
    assert_eq!(status, 201, "{room}");
    room["id"].as_str().unwrap().to_owned()
}

/// Says `m{n}` for every `n`, by REST: a room's log from outside.
async fn post_many(server: &Server, who: &Account, room: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let (status, posted) = server.post(&messages(room), who, json!({"content": format!("m{n}")})).await;
        assert_eq!((status, &posted["seq"]), (201, &json!(n)), "{posted}");
    }
}

fn messages(room: &str) -> String {
    format!("/api/rooms/{room}/messages")
}

/// A `chat.message.send` under a name of its own: kits of the same user number their events alike.
fn send(room: &str, content: &str) -> Value {
    let id = uuid::Uuid::new_v4().to_string();
    json!({"type": "chat.message.send", "id": id, "payload": {"room_id": room, "content": content}})
}

/// Whether an event is part of the room's ordered stream; what goes to one peer alone is an answer beside it.
fn is_of_room(event: &Value, room: &str) -> bool {
    event["type"] == "chat.message.created" && event["to"] == room
}

/// Reads the room's stream up to `last`: each number once, in order, after `after`. Gives the messages.
async fn stream(peer: &mut Peer, room: &str, after: u64, last: u64) -> Vec<Value> {
    let mut messages = Vec::new();
    while after + (messages.len() as u64) < last {
        let event = peer.next_of("chat.message.created").await;
        if !is_of_room(&event, room) {
            continue;
        }
        let expected = after + messages.len() as u64 + 1;
        assert_eq!(event["payload"]["seq"], expected, "a hole or a repeat: {event}");
        assert_eq!(event["payload"]["message"]["seq"], expected);
        messages.push(event["payload"]["message"].clone());
    }
    messages
}

/// The code of a refusal.
fn code(event: &Value) -> &str {
    assert_eq!(event["type"], "system.error", "expected a refusal: {event}");
    event["payload"]["code"].as_str().unwrap()
}

/// All that came before the answer to a ping: by then everything caused earlier on this connection is here. But for
/// presence, which is told in its own time.
async fn until_pong(peer: &mut Peer) -> Vec<Value> {
    let mut events = all_until_pong(peer).await;
    events.retain(|event| event["type"] != "presence.update");
    events
}

/// The same with presence.
async fn all_until_pong(peer: &mut Peer) -> Vec<Value> {
    let pong = peer.ask("system.ping", json!({})).await;
    assert_eq!(pong["type"], "system.pong", "{pong}");
    std::mem::take(&mut peer.waiting).into()
}
