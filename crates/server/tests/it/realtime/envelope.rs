//! The envelope: what every event bears, what answers what, and what is no event.

use std::collections::{HashMap, HashSet};

use mesh_protocol::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{code, messages, public_room, send, two_in_a_room, until_pong};
use crate::kit::Server;
use futures_util::SinkExt as _;

/// What every event of the server holds.
fn assert_whole(event: &Value, ids: &mut HashSet<String>) {
    for field in ["type", "id", "timestamp", "from", "to"] {
        assert!(event[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing: {event}");
    }
    assert!(event["payload"].is_object(), "{event}");
    let at = event["timestamp"].as_str().unwrap();
    assert_eq!(at.parse::<Timestamp>().unwrap().to_string(), at, "RFC 3339 in UTC with milliseconds");
    let known = ["type", "id", "timestamp", "from", "to", "reply_to", "payload"];
    assert!(event.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{event}");
    uuid::Uuid::try_parse(event["id"].as_str().unwrap()).unwrap();
    assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "an id of its own: {event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_the_server_bears_all_fields() {
    let (server, ana, ben, _) = two_in_a_room().await;
    let room = public_room(&server, &ana, "Place").await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut b = crate::kit::Peer::connect(&server.base, &ben.token).await;
    b.send(json!({"type": "system.ping"})).await;
    let early = b.next().await;
    assert_eq!(code(&early), "hello_required");
    let mut events = vec![early, b.hello().await, b.join(&room).await];
    let own = b.say(&room, "hello").await;
    events.push(b.ask("nonsense", json!({})).await);
    events.push(b.ask("room.leave", json!({"room_id": room})).await);
    events.push(b.ask("system.ping", json!({})).await);
    server.post(&messages(&room), &ana, json!({"content": "by REST"})).await;
    let news = [a.next_of("chat.message.created").await, a.next_of("chat.message.created").await];
    assert_eq!((&news[0]["from"], &news[1]["from"]), (&json!(b.id), &json!("server")));
    // All get the same event, the asker with `reply_to` beside.
    let mut shared = own.clone();
    assert!(shared.as_object_mut().unwrap().remove("reply_to").is_some());
    assert_eq!(news[0], shared);
    let mut events_of_a = Vec::from(news);
    events_of_a.push(a.next_of("room.member.added").await);
    events.push(b.next_of("room.added").await);
    server.app.tasks.stop_softly();
    events.extend(b.closed().await.2);
    let kinds: HashSet<_> = events.iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    for kind in ["system.welcome", "system.pong", "system.error", "system.goodbye", "room.joined", "room.left"] {
        assert!(kinds.contains(kind), "{kind} did not come: {kinds:?}");
    }
    // An id names one event, whoever gets it.
    for events in [&events, &events_of_a] {
        let mut ids = HashSet::new();
        events.iter().for_each(|event| assert_whole(event, &mut ids));
    }
    for event in events.iter().filter(|e| e["type"].as_str().unwrap().starts_with("system.")).skip(1) {
        assert_eq!((&event["from"], &event["to"]), (&json!("server"), &json!(b.id)), "{event}");
    }
    drop((a, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_with_an_id_gets_exactly_one_answer() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut other = server.peer(&ben).await;
    other.join(&room).await;
    let mut peer = server.peer(&ana).await;
    let say = |n: u32, content: &str| json!({"type": "chat.message.send", "id": format!("s{n}"), "payload": {"room_id": room, "content": content}});
    // All at once: some are answered at once, some after the commit, some before and some after joining.
    let mut asked = Vec::new();
    for event in [
        say(1, "before joining"),
        json!({"type": "room.join", "id": "j1", "payload": {"room_id": room}}),
        say(2, "joined"),
        say(3, ""),
        json!({"type": "system.ping", "id": "p1"}),
        json!({"type": "unheard.of", "id": "u1", "payload": {}}),
        json!({"type": "room.join", "id": "j2", "payload": {"room_id": "nowhere"}}),
        json!({"type": "room.join", "id": "j3", "payload": {"room_id": 5}}),
        json!({"type": "system.ping", "id": "f1", "from": "somebody-else"}),
        json!({"type": "system.hello", "id": "h1", "payload": {"peer_type": "client", "version": "1"}}),
        say(4, "again").clone(),
        json!({"type": "chat.message.send", "id": "r1", "payload": {"room_id": room, "content": "x", "client_id": "s2"}}),
        json!({"type": 5, "id": "m1"}),
        json!({"type": "room.join", "id": "j4", "payload": {"room_id": room, "since_seq": 0}}),
        json!({"type": "room.leave", "id": "l1", "payload": {"room_id": room}}),
        say(5, "left"),
        json!({"type": "room.leave", "id": "l2", "payload": {"room_id": "nowhere"}}),
    ] {
        asked.push(event["id"].as_str().unwrap().to_owned());
        peer.send(event).await;
    }
    let mut answers: HashMap<String, u32> = HashMap::new();
    let mut count = |event: &Value| {
        if let Some(id) = event["reply_to"].as_str() {
            *answers.entry(id.to_owned()).or_default() += 1;
        }
        answers.len()
    };
    while count(&peer.next().await) < asked.len() {}
    // Whatever were answered twice would come before the room's next event.
    peer.join(&room).await;
    other.say(&room, "the end").await;
    while peer.next_of("chat.message.created").await["payload"]["message"]["content"] != "the end" {}
    for event in until_pong(&mut peer).await {
        count(&event);
    }
    for id in asked {
        assert_eq!(answers.get(&id), Some(&1), "the answers to {id}");
    }
    for event in until_pong(&mut other).await {
        assert!(event.get("reply_to").is_none(), "nobody else's question: {event}");
    }
    drop((other, peer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_id_is_answered_without_reply_to() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    for (event, answer) in [
        (json!({"type": "system.ping"}), "system.pong"),
        (json!({"type": "system.ping", "payload": null, "id": null}), "system.pong"),
        (json!({"type": "room.join", "payload": {"room_id": room}}), "room.joined"),
        (json!({"type": "chat.message.send", "payload": {"room_id": room, "content": "x"}}), "chat.message.created"),
        (json!({"type": "unheard.of"}), "system.error"),
        (json!({"type": "room.leave", "payload": {"room_id": room}}), "room.left"),
    ] {
        peer.send(event).await;
        let event = peer.next().await;
        assert_eq!(event["type"], answer, "{event}");
        assert!(event.get("reply_to").is_none(), "{event}");
    }
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_is_refused_and_nothing_else_happens() {
    let (server, ana, ..) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    for kind in ["nonsense", "", "system.welcome", "chat.message.created", "SYSTEM.PING", &"x".repeat(10_000)] {
        let refused = peer.ask(kind, json!({})).await;
        assert_eq!((code(&refused), &refused["payload"]["retryable"]), ("unknown_type", &json!(false)), "{refused}");
        assert!(refused["payload"]["message"].as_str().unwrap().len() < 500);
    }
    assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_malformed() {
    let server = Server::start().await;
    let mut peer = server.peer(&server.register("ana").await).await;
    let kinds = [
        "not JSON",
        "",
        " ",
        "[]",
        r#"["system.ping"]"#,
        "5",
        "null",
        "true",
        r#""system.ping""#,
        "{}",
        r#"{"payload":{}}"#,
        r#"{"type":5}"#,
        r#"{"type":null}"#,
        r#"{"type":"system.ping"} more"#,
        r#"{"type":"system.ping""#,
        r#"{"type":"system.ping","id":5}"#,
        r#"{"type":"system.ping","from":[]}"#,
        r#"{"type":"system.ping","type":"system.ping"}"#,
        "\u{feff}{}",
    ];
    for text in kinds {
        peer.send_text(text).await;
        let refused = peer.next().await;
        assert_eq!((code(&refused), &refused["payload"]["retryable"]), ("malformed", &json!(false)), "{text}");
        assert!(refused.get("reply_to").is_none(), "{refused}");
        // Not ten in a row.
        assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    }
    for bytes in [&b""[..], b"\xff\xfe", br#"{"type":"system.ping"}"#] {
        peer.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
        assert_eq!(code(&peer.next().await), "malformed");
    }
    // Deep nesting must not end more than this frame.
    peer.send_text(format!(r#"{{"type":"system.ping","payload":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000))).await;
    let refused = peer.next().await;
    assert!(["malformed", "invalid_payload"].contains(&code(&refused)), "{refused}");
    // Where an id can be read, it is answered.
    peer.send_text(r#"{"type":5,"id":"m1"}"#).await;
    let refused = peer.next().await;
    assert_eq!((code(&refused), &refused["reply_to"]), ("malformed", &json!("m1")));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_malformed_frames_in_a_row_close_with_4400() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut peer = server.peer(&ana).await;
    let mut bystander = server.peer(&ana).await;
    for n in 0..12 {
        if n % 2 == 0 {
            peer.send_text("nonsense").await;
        } else {
            let _ = peer.socket.send(Message::binary(vec![n])).await;
        }
    }
    let (code, reason, mut events) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (4400, "malformed"));
    let goodbye = events.pop().unwrap();
    assert_eq!(goodbye["type"], "system.goodbye");
    let expected = json!({"code": 4400, "reason": "malformed", "action": "stop", "retry_after_ms": 0});
    assert_eq!(goodbye["payload"], expected);
    assert_eq!(events.len(), 10, "nothing after the tenth is answered");
    assert!(events.iter().all(|e| super::code(e) == "malformed"));
    until_pong(&mut bystander).await;
    drop((peer, bystander));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_event_begins_the_count_of_malformed_ones_anew() {
    let server = Server::start().await;
    let mut peer = server.peer(&server.register("ana").await).await;
    for _ in 0..3 {
        for _ in 0..9 {
            peer.send_text("nonsense").await;
        }
        let refused = until_pong(&mut peer).await;
        assert_eq!(refused.iter().map(code).collect::<Vec<_>>(), ["malformed"; 9]);
    }
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_has_1_to_64_characters() {
    let server = Server::start().await;
    let mut peer = server.peer(&server.register("ana").await).await;
    for id in ["1", &"x".repeat(64), &"é".repeat(64), "with \"quotes\"\n"] {
        peer.send(json!({"type": "system.ping", "id": id})).await;
        assert_eq!(peer.next().await["reply_to"], id);
    }
    for id in ["", &"x".repeat(65), &"é".repeat(65)] {
        peer.send(json!({"type": "system.ping", "id": id})).await;
        let refused = peer.next().await;
        assert_eq!(code(&refused), "invalid_payload");
        assert_eq!(refused["payload"]["details"]["field"], "id");
        assert!(refused.get("reply_to").is_none());
    }
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    let text = json!({"type": "room.join", "id": "j", "payload": {"room_id": room, "colour": "red", "x": {"y": []}},
        "version": 3, "to": "server", "timestamp": "whenever", "reply_to": "nothing"});
    peer.send(text).await;
    let joined = peer.next().await;
    assert_eq!((&joined["type"], &joined["reply_to"]), (&json!("room.joined"), &json!("j")));
    let payload = json!({"room_id": room, "content": "x", "seq": 99, "message": {"id": "mine"}, "user_id": "someone"});
    let created = peer.ask("chat.message.send", payload).await;
    assert_eq!((&created["payload"]["seq"], &created["payload"]["message"]["user_id"]), (&json!(1), &json!(ana.id)));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_does_not_fit_names_the_field() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    for (kind, payload, field) in [
        ("room.join", json!({}), "room_id"),
        ("room.join", json!({"room_id": 5}), "room_id"),
        ("room.join", json!({"room_id": room, "since_seq": -1}), "since_seq"),
        ("room.join", json!({"room_id": room, "since_seq": "12"}), "since_seq"),
        ("room.join", json!({"room_id": room, "since_seq": 1.5}), "since_seq"),
        ("room.leave", json!({"room": room}), "room_id"),
        ("chat.message.send", json!({"room_id": room}), "content"),
        ("chat.message.send", json!({"room_id": room, "content": null}), "content"),
        ("chat.message.send", json!({"content": "x"}), "room_id"),
        ("chat.message.send", json!({"room_id": room, "content": "x", "client_id": 7}), "client_id"),
        ("chat.message.send", json!({"room_id": room, "content": "x", "reply_to_id": {}}), "reply_to_id"),
        ("system.hello", json!({"peer_type": "robot", "version": "1"}), "peer_type"),
        ("system.hello", json!({"peer_type": "client"}), "version"),
    ] {
        let refused = peer.ask(kind, payload.clone()).await;
        assert_eq!((code(&refused), &refused["payload"]["retryable"]), ("invalid_payload", &json!(false)), "{payload}");
        assert!(refused["payload"]["message"].as_str().unwrap().contains(field), "{refused}");
        assert_eq!(refused["payload"]["details"]["field"], field, "{refused}");
    }
    for payload in [json!([]), json!("text"), json!(5), json!(false)] {
        assert_eq!(code(&peer.ask("room.join", payload).await), "invalid_payload");
    }
    assert!(server.log(&ana, &room).await.is_empty());
    peer.send(send(&room, "fine")).await;
    assert_eq!(peer.next().await["type"], "chat.message.created");
    drop(peer);
    server.stop().await;
}
