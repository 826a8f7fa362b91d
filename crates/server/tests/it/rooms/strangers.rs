//! A private room answers a stranger exactly like one that never was: every route and every event is tried, by the
//! documents. One that names a room and does not stand in these tables fails the test.

use mesh_protocol::event::ClientEvent;
use serde_json::{Value, json};

use super::{House, house, text};

const ABSENT: &str = "00000000-0000-7000-8000-00000000abcd";

/// Calls that name a room: method, path, and a body that is allowed. The last deletes it.
fn calls(room: &str) -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("post", "/api/auth/capability", Some(json!({"room_id": room, "capabilities": ["call"]}))),
        ("get", "/api/rooms/{id}", None),
        ("patch", "/api/rooms/{id}", Some(json!({"name": "Other"}))),
        ("post", "/api/rooms/{id}/join", None),
        ("get", "/api/rooms/{id}/members", None),
        ("post", "/api/rooms/{id}/members", Some(json!({"username": "cat"}))),
        ("patch", "/api/rooms/{id}/members/{user_id}", Some(json!({"role": "guest"}))),
        ("delete", "/api/rooms/{id}/members/{user_id}", None),
        ("get", "/api/rooms/{id}/bans", None),
        ("put", "/api/rooms/{id}/bans/{user_id}", Some(json!({"reason": "x"}))),
        ("get", "/api/rooms/{id}/bans/{user_id}", None),
        ("delete", "/api/rooms/{id}/bans/{user_id}", None),
        ("get", "/api/rooms/{id}/invites", None),
        ("post", "/api/rooms/{id}/invites", Some(json!({}))),
        ("delete", "/api/rooms/{id}/invites/{code}", None),
        ("get", "/api/rooms/{id}/messages", None),
        ("get", "/api/rooms/{id}/messages/search", None),
        ("post", "/api/rooms/{id}/messages", Some(json!({"content": "hello"}))),
        ("patch", "/api/rooms/{id}/messages/{message_id}", Some(json!({"content": "other"}))),
        ("put", "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", None),
        ("delete", "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", None),
        ("delete", "/api/rooms/{id}/messages/{message_id}", None),
        ("put", "/api/rooms/{id}/read", Some(json!({"seq": 1}))),
        ("get", "/api/rooms/{id}/notifications", None),
        ("put", "/api/rooms/{id}/notifications", Some(json!({"level": "mentions"}))),
        ("get", "/api/rooms/{id}/export", None),
        ("delete", "/api/rooms/{id}", None),
    ]
}

/// Events that name a room.
fn events(room: &str, message: &str) -> Vec<(&'static str, Value)> {
    let about = |more: Value| {
        let mut payload = json!({"room_id": room});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    vec![
        ("chat.message.send", about(json!({"content": "hello"}))),
        ("chat.message.edit", about(json!({"message_id": message, "content": "other"}))),
        ("chat.message.delete", about(json!({"message_id": message}))),
        ("chat.reaction.add", about(json!({"message_id": message, "emoji": "👍"}))),
        ("chat.reaction.remove", about(json!({"message_id": message, "emoji": "👍"}))),
        ("chat.typing", about(json!({"typing": true}))),
        ("chat.read", about(json!({"seq": 1}))),
        ("chat.history", about(json!({}))),
        ("rtc.offer", about(json!({"call_id": "c1", "capability_token": "x", "sdp": "v=0"}))),
        ("rtc.answer", about(json!({"call_id": "c1", "sdp": "v=0"}))),
        ("rtc.ice", about(json!({"call_id": "c1", "candidate": null}))),
        ("rtc.bye", about(json!({"call_id": "c1"}))),
        (
            "p2p.session.request",
            about(json!({
                "target_peer_id": "peer_456", "kind": "file", "capability_token": "x", "endpoints": ["192.0.2.7:1"],
                "fingerprint": "ab".repeat(32),
            })),
        ),
        ("file.share", about(json!({"file_id": "f1", "name": "a", "size": 1}))),
        ("file.unshare", about(json!({"file_id": "f1"}))),
        ("terminal.share", about(json!({"terminal_id": "t1", "title": "T", "cols": 80, "rows": 24}))),
        ("terminal.unshare", about(json!({"terminal_id": "t1"}))),
        ("terminal.control.grant", about(json!({"terminal_id": "t1", "peer_id": "peer_456"}))),
        ("terminal.control.release", about(json!({"terminal_id": "t1"}))),
        ("terminal.control.revoke", about(json!({"terminal_id": "t1"}))),
        ("call.ring", about(json!({"call_id": "c1", "media": ["audio"]}))),
        ("call.cancel", about(json!({"call_id": "c1"}))),
        ("call.decline", about(json!({"call_id": "c1"}))),
        ("room.leave", about(json!({}))),
        ("room.join", about(json!({"since_seq": 0}))),
    ]
}

/// What there is in the room.
struct Inside {
    message: String,
    code: String,
}

async fn inside(house: &House) -> Inside {
    house.server.register("cat").await;
    let message = house.done("POST", "/messages", &house.ana, Some(json!({"content": "mine"}))).await;
    let invite = house.done("POST", "/invites", &house.ana, Some(json!({}))).await;
    Inside { message: text(&message["id"]).to_owned(), code: text(&invite["code"]).to_owned() }
}

fn filled(path: &str, room: &str, house: &House, inside: &Inside) -> String {
    let path = path.replace("{id}", room).replace("{user_id}", &house.ben.id).replace("{code}", &inside.code);
    let path = path.replace("{message_id}", &inside.message).replace("{emoji}", "%F0%9F%91%8D");
    if path.ends_with("/search") { path + "?q=mine" } else { path }
}

/// Whether a part of a document has a field or parameter for a room's id, in whatever depth.
fn has_room_id(document: &Value, part: &Value, depth: usize) -> bool {
    match part {
        Value::Object(fields) => fields.iter().any(|(name, value)| match (name.as_str(), value) {
            ("room_id", _) => true,
            ("name", Value::String(name)) => name == "room_id",
            ("$ref", Value::String(reference)) => {
                // Schemas may hold themselves.
                let there = document.pointer(reference.trim_start_matches('#')).unwrap();
                depth < 8 && has_room_id(document, there, depth + 1)
            }
            ("example" | "examples", _) => false,
            (_, value) => has_room_id(document, value, depth),
        }),
        Value::Array(items) => items.iter().any(|item| has_room_id(document, item, depth)),
        _ => false,
    }
}

/// The calls that name a room, by their document: in the path, a parameter or the body.
fn calls_by(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let given = ["parameters", "requestBody"].iter().any(|part| has_room_id(document, &operation[*part], 0));
            if given || path.contains("/rooms/{") {
                found.push((method.clone(), path.clone()));
            }
        }
    }
    found
}

/// The events of clients that name a room, by their document.
fn events_by(document: &Value) -> Vec<String> {
    let messages = document["components"]["messages"].as_object().unwrap();
    let of_clients = messages.iter().filter_map(|(key, message)| Some((key.strip_prefix("client.")?, message)));
    of_clients
        .filter(|(_, message)| has_room_id(document, &message["payload"], 0))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_event_that_names_a_room_is_walked() {
    let house = house().await;
    let document = async |path: &str| house.server.ask("GET", path, None, None).await.1;
    let (mut openapi, mut asyncapi) = (document("/openapi.json").await, document("/asyncapi.json").await);
    let mut walked: Vec<_> =
        calls("").into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    let mut found = calls_by(&openapi);
    walked.sort();
    found.sort();
    assert_eq!(found, walked, "what names a room stands in the walk, and nothing else");
    let mut walked: Vec<_> = events("", "").into_iter().map(|(name, _)| name.to_owned()).collect();
    let mut found = events_by(&asyncapi);
    walked.sort();
    found.sort();
    assert_eq!(found, walked, "what names a room stands in the walk, and nothing else");
    // The document knows every event that there is.
    for info in ClientEvent::catalogue() {
        assert!(asyncapi["components"]["messages"][format!("client.{}", info.name)].is_object(), "{}", info.name);
    }

    // One that is added is found, however it names its room.
    openapi["components"]["schemas"]["New"] = json!({"properties": {"where": {"$ref": "#/components/schemas/Inner"}}});
    openapi["components"]["schemas"]["Inner"] = json!({"properties": {"room_id": {"type": "string"}}});
    let body = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}});
    openapi["paths"]["/api/new/{room_id}"] = json!({"get": {"parameters": [{"name": "room_id", "in": "path"}]}});
    openapi["paths"]["/api/new"] =
        json!({"get": {"parameters": [{"name": "room_id", "in": "query"}]}, "post": {"requestBody": body}});
    openapi["paths"]["/api/rooms/{id}/new"] = json!({"get": {}});
    assert_eq!(calls_by(&openapi).len(), calls("").len() + 4);
    asyncapi["components"]["messages"]["client.new.event"] = json!({"payload": {"$ref": "#/components/schemas/New"}});
    asyncapi["components"]["schemas"]["New"] = json!({"properties": {"payload": {"properties": {"room_id": {}}}}});
    assert_eq!(events_by(&asyncapi).len(), events("", "").len() + 1);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_stranger_a_private_room_is_none() {
    let house = house().await;
    let inside = inside(&house).await;
    let mut peer = house.server.peer(&house.eve).await;
    let token = Some(house.eve.token.as_str());
    for ((method, path, real), (_, _, absent)) in calls(&house.room).into_iter().zip(calls(ABSENT)) {
        let method = method.to_uppercase();
        let real = house.server.ask(&method, &filled(path, &house.room, &house, &inside), token, real).await;
        let absent = house.server.ask(&method, &filled(path, ABSENT, &house, &inside), token, absent).await;
        assert_eq!((real.0, &real.1["code"]), (404, &json!("not_found")), "{method} {path}: {real:?}");
        assert_eq!(real, absent, "{method} {path}");
    }
    for ((name, real), (_, absent)) in
        events(&house.room, &inside.message).into_iter().zip(events(ABSENT, &inside.message))
    {
        let (real, absent) = (peer.ask(name, real).await, peer.ask(name, absent).await);
        let told = absent["payload"].to_string().replace(ABSENT, &house.room);
        assert_eq!((&real["type"], real["payload"].to_string()), (&absent["type"], told), "{name}");
        if name != "room.leave" {
            assert_eq!(real["payload"]["code"], "not_found", "{name}: {real}");
        }
    }
    // Each of these is something that the owner may ask: what was refused was the stranger, not the words.
    for (method, path, body) in calls(&house.room) {
        let asked = filled(path, &house.room, &house, &inside);
        // Its answer is lines of JSON; that the owner gets it is another test's.
        if path.ends_with("/export") {
            continue;
        }
        let (status, answer) = house.server.ask(&method.to_uppercase(), &asked, Some(&house.ana.token), body).await;
        // Ben is out by then, and was banned.
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_room_asks_to_be_joined_first() {
    let house = house().await;
    let inside = inside(&house).await;
    house.done("PATCH", "", &house.ana, Some(json!({"visibility": "public"}))).await;
    let mut peer = house.server.peer(&house.eve).await;
    for (method, path, body) in calls(&house.room) {
        let asked = filled(path, &house.room, &house, &inside);
        let name = format!("{method} {path}");
        let expected = match name.as_str() {
            "get /api/rooms/{id}" => 200,
            // Joining is what it asks for.
            "post /api/rooms/{id}/join" => continue,
            "post /api/auth/capability" => 404,
            _ => 403,
        };
        let (status, answer) = house.server.ask(&method.to_uppercase(), &asked, Some(&house.eve.token), body).await;
        assert_eq!(status, expected, "{name}: {answer}");
    }
    for (name, payload) in events(&house.room, &inside.message) {
        let answer = peer.ask(name, payload).await;
        match name {
            "room.leave" => assert_eq!(answer["type"], "room.left"),
            "room.join" => assert_eq!(answer["type"], "room.joined"),
            // What goes between its members has no room for others, public or not.
            _ if ["rtc.", "call.", "p2p.", "terminal.control."].iter().any(|f| name.starts_with(f))
                || name.ends_with(".unshare") =>
            {
                assert_eq!(answer["payload"]["code"], "not_found", "{name}: {answer}")
            }
            _ => assert_eq!(answer["payload"]["code"], "forbidden", "{name}: {answer}"),
        }
    }
    house.server.stop().await;
}
