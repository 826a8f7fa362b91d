//! `chat.message.send`: acknowledgement, idempotence, refusals.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    code, is_of_room, messages,
    raw::{Raw, TEXT, masked},
    send, two_in_a_room, two_in_a_room_with, until_pong,
};
use crate::operations::{scrape, sum};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_committed() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    for n in 1..=30_u64 {
        let created = a.say(&room, &format!("m{n}")).await;
        // Asked on another connection of another user, at once: the answer must not run ahead of the commit.
        let (status, page) = server.get(&format!("{}?after_seq={}", messages(&room), n - 1), &ben).await;
        assert_eq!((status, &page), (200, &json!([created["payload"]["message"]])));
    }
    drop(a);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_joined_still_gets_the_answer() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let (mut a, mut b) = (server.peer(&ana).await, server.peer(&ben).await);
    // Nobody listens at all.
    let alone = a.say(&room, "alone").await;
    assert_eq!((&alone["to"], &alone["from"]), (&json!(a.id), &json!(a.id)));
    b.join(&room).await;
    let answer = a.say(&room, "one listens").await;
    let heard = b.next_of("chat.message.created").await;
    assert_eq!((&answer["to"], &heard["to"]), (&json!(a.id), &json!(room)));
    assert_eq!(answer["payload"], heard["payload"]);
    assert_eq!((&heard["payload"]["seq"], &heard["from"]), (&json!(2), &json!(a.id)));
    assert!(heard.get("reply_to").is_none());
    assert_eq!(until_pong(&mut a).await, Vec::<Value>::new(), "the answer comes once");
    drop((a, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_client_id_is_one_message() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let (mut one, mut two, mut b) = (server.peer(&ana).await, server.peer(&ana).await, server.peer(&ben).await);
    for peer in [&mut one, &mut two, &mut b] {
        peer.join(&room).await;
    }
    let payload = |content: &str| json!({"room_id": room, "content": content, "client_id": "c-1"});
    let first = one.ask("chat.message.send", payload("original")).await;
    assert_eq!(first["payload"]["message"]["client_id"], "c-1");
    two.next_of("chat.message.created").await;
    // On the same connection, on another one, and by REST: the first message answers.
    for peer in [&mut one, &mut two] {
        let again = peer.ask("chat.message.send", payload("changed")).await;
        assert_eq!((&again["type"], &again["payload"]), (&json!("chat.message.created"), &first["payload"]));
        assert_eq!(again["to"], peer.id.as_str(), "to its sender alone");
    }
    let (status, by_rest) = server.post(&messages(&room), &ana, json!({"content": "x", "client_id": "c-1"})).await;
    assert_eq!((status, &by_rest), (200, &first["payload"]["message"]));
    // It is one user's name for one message in one room.
    let others = b.ask("chat.message.send", payload("Ben's own")).await;
    assert_eq!((&others["payload"]["seq"], &others["payload"]["message"]["user_id"]), (&json!(2), &json!(ben.id)));
    let elsewhere = server.room(&ana, "Salon").await;
    let fresh = one.ask("chat.message.send", json!({"room_id": elsewhere, "content": "y", "client_id": "c-1"})).await;
    assert_eq!(fresh["payload"]["seq"], 1);
    assert_eq!(server.log(&ana, &room).await.len(), 2);
    let heard: Vec<_> = until_pong(&mut b).await.into_iter().filter(|e| e["type"] == "chat.message.created").collect();
    assert_eq!(heard.len(), 1, "a repetition is nobody else's news");
    drop((one, two, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_id_stands_in_for_a_client_id() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    let event = send(&room, "once");
    peer.send(event.clone()).await;
    peer.send(event.clone()).await;
    let (one, two) = (peer.next().await, peer.next().await);
    assert_eq!(one["payload"], two["payload"]);
    assert_eq!((&one["reply_to"], &two["reply_to"]), (&event["id"], &event["id"]), "each send is answered");
    assert_eq!(one["payload"]["message"]["client_id"], event["id"]);
    // A client_id counts before the id.
    let payload = json!({"room_id": room, "content": "twice", "client_id": "other"});
    peer.send(json!({"type": "chat.message.send", "id": event["id"], "payload": payload})).await;
    assert_eq!(peer.next().await["payload"]["seq"], 2);
    assert_eq!(server.log(&ana, &room).await.len(), 2);
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_that_race_are_one_message() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut listener = server.peer(&ben).await;
    listener.join(&room).await;
    let mut peers = join_all((0..4).map(|_| server.peer(&ana))).await;
    for round in 1..=10_u64 {
        let body = json!({"content": format!("round {round}"), "client_id": format!("r{round}")});
        let mut payload = body.clone();
        payload["room_id"] = json!(room);
        let path = messages(&room);
        let by_rest = join_all((0..4).map(|_| server.post(&path, &ana, body.clone())));
        let by_socket = join_all(peers.iter_mut().map(|peer| {
            // Answers are told apart by an id that no other round has.
            let event = json!({"type": "chat.message.send", "id": format!("e{round}"), "payload": payload});
            async move {
                peer.send(event).await;
                peer.next_of("chat.message.created").await
            }
        }));
        let (by_rest, by_socket) = tokio::join!(by_rest, by_socket);
        let made = by_rest.iter().filter(|(status, _)| *status == 201).count();
        assert!(made <= 1 && by_rest.iter().all(|(status, _)| [200, 201].contains(status)), "{by_rest:?}");
        let messages: Vec<_> = by_rest.iter().map(|(_, m)| m).collect();
        for event in &by_socket {
            assert_eq!(event["reply_to"], format!("e{round}"));
            assert_eq!(&event["payload"]["message"], messages[0]);
        }
        assert!(messages.iter().all(|m| *m == messages[0]) && messages[0]["seq"] == round, "{messages:?}");
    }
    assert_eq!(server.log(&ana, &room).await.len(), 10);
    assert_eq!(super::stream(&mut listener, &room, 0, 10).await.len(), 10);
    drop((listener, peers));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_too_long_is_too_large() {
    let (server, ana, _, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "20")]).await;
    let mut peer = server.peer(&ana).await;
    for content in ["x".repeat(21), "é".repeat(21), "🦀".repeat(21)] {
        let refused = peer.ask("chat.message.send", json!({"room_id": room, "content": content})).await;
        assert_eq!((code(&refused), &refused["payload"]["retryable"]), ("too_large", &json!(false)));
        assert_eq!(refused["payload"]["details"]["field"], "content");
    }
    for content in ["x".repeat(20), "é".repeat(20), "🦀".repeat(20)] {
        assert_eq!(peer.say(&room, &content).await["payload"]["message"]["content"], content, "characters, not bytes");
    }
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_not_allowed_are_refused() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    for content in ["", "\u{0}", "bell\u{7}", "\u{1b}[31m", "del\u{7f}", "c1\u{85}"] {
        let refused = peer.ask("chat.message.send", json!({"room_id": room, "content": content})).await;
        assert_eq!(code(&refused), "invalid_payload", "{content:?}");
        assert_eq!(refused["payload"]["details"]["field"], "content");
        assert!(refused["payload"]["message"].as_str().unwrap().contains("content"), "{refused}");
    }
    for client_id in ["", "\u{0}", &"x".repeat(65)] {
        let payload = json!({"room_id": room, "content": "x", "client_id": client_id});
        let refused = peer.ask("chat.message.send", payload).await;
        assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!("client_id")));
    }
    assert!(server.log(&ana, &room).await.is_empty());
    // Two lines, a tab and any script are fine; line ends are told in one way.
    let created = peer.say(&room, "a\r\n\tb\rc\n𓀀 مرحبا").await;
    assert_eq!(created["payload"]["message"]["content"], "a\n\tb\nc\n𓀀 مرحبا");
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_must_answer_a_message_of_the_room() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    let first = peer.say(&room, "a question").await["payload"]["message"]["id"].clone();
    let elsewhere = server.room(&ana, "Salon").await;
    let foreign = peer.say(&elsewhere, "elsewhere").await["payload"]["message"]["id"].clone();
    for id in [foreign, json!(uuid::Uuid::new_v4().to_string()), json!("no id at all")] {
        let payload = json!({"room_id": room, "content": "an answer", "reply_to_id": id});
        let refused = peer.ask("chat.message.send", payload).await;
        assert_eq!(refused["type"], "system.error", "{id}: {refused}");
        assert!(["conflict", "invalid_payload", "not_found"].contains(&code(&refused)), "{refused}");
    }
    let payload = json!({"room_id": room, "content": "an answer", "reply_to_id": first});
    let answer = peer.ask("chat.message.send", payload).await;
    assert_eq!((&answer["payload"]["seq"], &answer["payload"]["message"]["reply_to_id"]), (&json!(2), &first));
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_that_cross_a_join_are_answered_once_and_streamed_once() {
    const ROUNDS: u64 = 12;
    const SENDS: u64 = 20;
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut b = server.peer(&ben).await;
    b.join(&room).await;
    let mut peer = server.peer(&ana).await;
    // Whether a commit comes before, within or after the join is chance: all must be right.
    for round in 1..=ROUNDS {
        let sends: Vec<_> = (0..SENDS).map(|n| send(&room, &format!("{round} {n}"))).collect();
        for (n, event) in sends.iter().enumerate() {
            peer.send(event.clone()).await;
            if n == 10 {
                peer.send(json!({"type": "room.join", "id": "j", "payload": {"room_id": room, "since_seq": 0}})).await;
            }
        }
        let (mut answers, mut seen, mut joined) = (Vec::new(), 0, 0);
        while seen < SENDS * round || answers.len() < sends.len() || joined == 0 {
            let event = peer.next().await;
            joined += u32::from(event["reply_to"] == "j");
            answers.extend(sends.iter().map(|s| &s["id"]).find(|id| **id == event["reply_to"]));
            if is_of_room(&event, &room) && joined > 0 {
                seen += 1;
                assert_eq!(event["payload"]["seq"], seen, "a hole or a repeat in round {round}: {event}");
            }
        }
        for event in until_pong(&mut peer).await {
            assert!(event.get("reply_to").is_none(), "answered again in round {round}: {event}");
            assert!(!is_of_room(&event, &room), "repeated in round {round}: {event}");
        }
        assert_eq!((answers.len(), joined), (sends.len(), 1));
        assert!(sends.iter().all(|s| answers.contains(&&s["id"])), "each is answered once");
        if round % 2 == 0 {
            assert_eq!(peer.ask("room.leave", json!({"room_id": room})).await["type"], "room.left");
        }
    }
    super::stream(&mut b, &room, 0, ROUNDS * SENDS).await;
    drop((b, peer));
    server.stop().await;
}

/// What a client says in one piece shares a transaction and a flush: its first message does not take one of its own. What it
/// asks for between is done in its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_one_piece_is_stored_together_and_in_order() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.hello().await;
    let join = json!({"type": "room.join", "id": "join", "payload": {"room_id": room}});
    raw.text(&join.to_string()).await;
    assert_eq!(raw.event().await["type"], "room.joined");
    let said = |id: String| {
        let payload = json!({"room_id": room, "content": id});
        masked(TEXT, json!({"type": "chat.message.send", "id": id, "payload": payload}).to_string().as_bytes())
    };
    // One more than a bucket of the figures holds.
    let count = 33;
    raw.bytes(&(0..count).flat_map(|n| said(format!("s{n}"))).collect::<Vec<_>>()).await;
    for n in 0..count {
        let mut event = raw.event().await;
        while event["type"] != "chat.message.created" {
            event = raw.event().await;
        }
        let payload = &event["payload"];
        assert_eq!((&event["reply_to"], &payload["seq"]), (&json!(format!("s{n}")), &json!(n + 1)), "{event}");
    }
    let figures = scrape(&server).await;
    let within = sum(&figures, "mesh_store_batch_jobs_bucket", &[("le", "32.0")]);
    let all = sum(&figures, "mesh_store_batch_jobs_bucket", &[("le", "+Inf")]);
    assert_eq!(all - within, 1.0, "one transaction held all {count}");

    let read = json!({"type": "chat.read", "id": "read", "payload": {"room_id": room, "seq": count + 1}});
    let read = masked(TEXT, read.to_string().as_bytes());
    raw.bytes(&[said("before".to_owned()), read, said("after".to_owned())].concat()).await;
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let event = raw.event().await;
        answered.extend(event["reply_to"].as_str().map(str::to_owned));
        if event["reply_to"] == "read" {
            assert_eq!(event["payload"]["seq"], count + 1, "the message before it was there: {event}");
        }
    }
    assert_eq!(answered, ["before", "read", "after"]);
    raw.close().await;
    server.stop().await;
}
