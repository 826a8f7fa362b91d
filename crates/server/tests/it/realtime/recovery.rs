//! `since_seq`: what was missed comes once, in order, before anything newer.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{messages, post_many, send, stream, two_in_a_room, two_in_a_room_with, until_pong};
use crate::kit::Peer;

async fn join_since(peer: &mut Peer, room: &str, since: u64) -> Value {
    let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": since})).await;
    assert_eq!(joined["type"], "room.joined", "{joined}");
    joined["payload"].clone()
}

/// Says `m1` to `m{count}` on one connection, many at once.
async fn fill(peer: &mut Peer, room: &str, from: u64, to: u64) {
    for n in from..=to {
        peer.send(send(room, &format!("m{n}"))).await;
    }
    for _ in from..=to {
        peer.next_of("chat.message.created").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_came_after_since_seq_is_replayed() {
    let (server, ana, ben, room) = two_in_a_room().await;
    post_many(&server, &ana, &room, 1..=20).await;
    let log = server.log(&ana, &room).await;
    for since in [0, 1, 13, 19] {
        let mut peer = server.peer(&ben).await;
        let joined = join_since(&mut peer, &room, since).await;
        assert_eq!((&joined["last_seq"], &joined["gap"]), (&json!(20), &json!(false)));
        let events: Vec<_> = until_pong(&mut peer).await;
        let seqs: Vec<_> = events.iter().map(|e| e["payload"]["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (since + 1..=20).collect::<Vec<_>>(), "right behind the answer, before the next one");
        for (event, message) in events.iter().zip(&log[since as usize..]) {
            assert_eq!(&event["payload"]["message"], message);
            assert_eq!((&event["type"], &event["to"]), (&json!("chat.message.created"), &json!(room)));
            assert!(event.get("reply_to").is_none());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_all_gets_nothing_again() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut empty = server.peer(&ben).await;
    join_since(&mut empty, &room, 0).await;
    post_many(&server, &ana, &room, 1..=3).await;
    let mut has_all = server.peer(&ben).await;
    assert_eq!(join_since(&mut has_all, &room, 3).await["gap"], false);
    let mut asks_nothing = server.peer(&ben).await;
    assert_eq!(asks_nothing.join(&room).await["payload"]["last_seq"], 3);
    for peer in [&mut has_all, &mut asks_nothing] {
        assert_eq!(until_pong(peer).await, Vec::<Value>::new());
    }
    post_many(&server, &ana, &room, 4..=4).await;
    for peer in [&mut has_all, &mut asks_nothing] {
        stream(peer, &room, 3, 4).await;
    }
    stream(&mut empty, &room, 0, 4).await;
    drop((empty, has_all, asks_nothing));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_are_replayed_and_one_more_is_a_gap() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    fill(&mut a, &room, 1, 1_000).await;
    let mut whole = server.peer(&ben).await;
    let joined = join_since(&mut whole, &room, 0).await;
    assert_eq!((&joined["last_seq"], &joined["gap"]), (&json!(1_000), &json!(false)));
    assert_eq!(stream(&mut whole, &room, 0, 1_000).await, server.log(&ana, &room).await);
    fill(&mut a, &room, 1_001, 1_001).await;
    let mut late = server.peer(&ben).await;
    let joined = join_since(&mut late, &room, 0).await;
    assert_eq!((&joined["last_seq"], &joined["gap"]), (&json!(1_001), &json!(true)));
    assert_eq!(until_pong(&mut late).await, Vec::<Value>::new(), "nothing is replayed");
    // Having one, it misses a thousand: no gap.
    let mut nearly = server.peer(&ben).await;
    assert_eq!(join_since(&mut nearly, &room, 1).await["gap"], false);
    stream(&mut nearly, &room, 1, 1_001).await;
    // And for all of them it goes on.
    fill(&mut a, &room, 1_002, 1_002).await;
    for peer in [&mut late, &mut nearly] {
        assert_eq!(stream(peer, &room, 1_001, 1_002).await[0]["content"], "m1002");
    }
    stream(&mut whole, &room, 1_000, 1_002).await;
    drop((a, whole, late, nearly));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_from_the_future_is_a_gap() {
    let (server, ana, ben, room) = two_in_a_room().await;
    post_many(&server, &ana, &room, 1..=2).await;
    for since in [3, 1_000_000, u64::MAX] {
        let mut peer = server.peer(&ben).await;
        let joined = join_since(&mut peer, &room, since).await;
        assert_eq!((&joined["last_seq"], &joined["gap"]), (&json!(2), &json!(true)), "{since}");
        assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    }
    let mut peer = server.peer(&ben).await;
    join_since(&mut peer, &room, 99).await;
    post_many(&server, &ana, &room, 3..=3).await;
    stream(&mut peer, &room, 2, 3).await;
    drop(peer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_a_hot_room_gives_each_number_once_in_order() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let calm = AtomicBool::new(false);
    let speakers = join_all([&ana, &ben].map(|who| {
        let (server, room, calm) = (&server, &room, &calm);
        async move {
            let mut peer = server.peer(who).await;
            peer.join(room).await;
            let mut said = 0_u64;
            while !calm.load(Ordering::Relaxed) && said < 400 {
                for _ in 0..5 {
                    peer.send(send(room, "hot")).await;
                    said += 1;
                }
                for _ in 0..5 {
                    while !peer.next_of("chat.message.created").await["reply_to"].is_string() {}
                }
            }
            said
        }
    }));
    let joiners = async {
        let people = [&ana, &ben, &ana, &ben].map(|who| {
            let (server, room) = (&server, &room);
            async move {
                let mut peer = server.peer(who).await;
                let mut seen = 0;
                for round in 0..15_u64 {
                    join_since(&mut peer, room, seen).await;
                    // A few from the past or the ring, a few live, then away again.
                    let last = seen + 1 + round % 7;
                    stream(&mut peer, room, seen, last).await;
                    seen = last;
                    peer.ask("room.leave", json!({"room_id": room})).await;
                    for event in std::mem::take(&mut peer.waiting) {
                        if super::is_of_room(&event, room) {
                            seen += 1;
                            assert_eq!(event["payload"]["seq"], seen, "a hole or a repeat before leaving");
                        }
                    }
                }
                (peer, seen)
            }
        });
        let peers = join_all(people).await;
        calm.store(true, Ordering::Relaxed);
        peers
    };
    let (said, peers) = tokio::join!(speakers, joiners);
    let total: u64 = said.iter().sum();
    assert_eq!(server.log(&ana, &room).await.len() as u64, total);
    for (mut peer, seen) in peers {
        join_since(&mut peer, &room, seen).await;
        stream(&mut peer, &room, seen, total).await;
        assert_eq!(until_pong(&mut peer).await, Vec::<Value>::new());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_are_replayed_without_taking_the_reader_for_a_slow_one() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "16000")]).await;
    // 60 kB each: twenty times what may wait for one reader.
    let long = "𓀀".repeat(15_000);
    for n in 1..=330 {
        let (status, _) = server.post(&messages(&room), &ana, json!({"content": format!("{n} {long}")})).await;
        assert_eq!(status, 201);
    }
    let mut peer = server.peer(&ben).await;
    join_since(&mut peer, &room, 0).await;
    for message in stream(&mut peer, &room, 0, 330).await {
        assert_eq!(message["content"], format!("{} {long}", message["seq"]));
    }
    drop(peer);
    server.stop().await;
}
