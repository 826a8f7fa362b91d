//! What the clock ends, and the end of the server.
//!
//! Connections count their times on the runtime's clock, which these tests move: they run on one thread.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use super::{
    raw::{Frame, PING, PONG, Raw, TEXT},
    two_in_a_room,
};
use crate::kit::Server;

/// Lets time pass for all timers at once.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// An event with an answer: all that was sent before it has been read by then.
async fn sign_of_life(raw: &mut Raw) {
    raw.text(r#"{"type":"system.ping"}"#).await;
    loop {
        let event = raw.event().await;
        if event["type"] == "system.pong" {
            return;
        }
        assert_eq!(event["type"], "system.token_expiring", "{event}");
    }
}

#[tokio::test]
async fn without_hello_the_connection_ends_after_ten_seconds() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut silent = Raw::open(&server.base, &ana.token).await;
    // Signs of life are no hello.
    let mut chatty = Raw::open(&server.base, &ana.token).await;
    chatty.frame(PING, b"").await;
    assert_eq!(chatty.next().await, Some(Frame { first: PONG, payload: vec![] }));
    let mut greeted = Raw::open(&server.base, &ana.token).await;
    greeted.hello().await;
    pass(9).await;
    for raw in [&mut silent, &mut chatty] {
        raw.frame(PING, b"").await;
        assert_eq!(raw.next().await.unwrap().first, PONG, "nine seconds are allowed");
    }
    pass(2).await;
    for raw in [&mut silent, &mut chatty] {
        assert_eq!(raw.closed().await, (4408, "no_hello".to_owned(), vec![]));
    }
    sign_of_life(&mut greeted).await;
    greeted.close().await;
    drop((silent, chatty));
    server.stop().await;
}

#[tokio::test]
async fn the_server_pings_and_closes_with_4408_where_nothing_comes_back() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (mut alive, mut dead) = (Raw::open(&server.base, &ana.token).await, Raw::open(&server.base, &ana.token).await);
    alive.hello().await;
    dead.hello().await;
    pass(26).await;
    for raw in [&mut alive, &mut dead] {
        assert_eq!(raw.next().await.unwrap().first, PING, "a ping every 25 seconds");
    }
    alive.frame(PONG, b"").await;
    sign_of_life(&mut alive).await;
    for _ in 0..3 {
        pass(26).await;
        let mut frame = alive.next().await.unwrap();
        while frame.first == TEXT {
            frame = alive.next().await.unwrap();
        }
        assert_eq!(frame.first, PING);
        sign_of_life(&mut alive).await;
    }
    let (code, reason, events) = dead.closed().await;
    assert_eq!((code, reason.as_str()), (4408, "no_pong"));
    let expected = json!({"code": 4408, "reason": "no_pong", "action": "resume", "retry_after_ms": 0});
    assert_eq!(events.last().unwrap()["payload"], expected);
    alive.close().await;
    drop(dead);
    server.stop().await;
}

#[tokio::test]
async fn the_socket_closes_with_4401_when_its_token_ends() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1")]).await;
    let ana = server.register("ana").await;
    let mut greeted = Raw::open(&server.base, &ana.token).await;
    greeted.hello().await;
    // Half a minute later a second connection comes with the same token: it has half a minute.
    server.advance(30);
    let mut late = Raw::open(&server.base, &ana.token).await;
    late.hello().await;
    server.advance(25);
    for raw in [&mut greeted, &mut late] {
        sign_of_life(raw).await;
    }
    // Not even introduced, and less time left than a hello may take.
    let mut silent = Raw::open(&server.base, &ana.token).await;
    server.advance(6);
    pass(6).await;
    for raw in [&mut greeted, &mut late] {
        let (code, reason, events) = raw.closed().await;
        assert_eq!((code, reason.as_str()), (4401, "token_expired"));
        let expected = json!({"code": 4401, "reason": "token_expired", "action": "reconnect", "retry_after_ms": 0});
        assert_eq!(events.last().unwrap()["payload"], expected);
    }
    assert_eq!(silent.closed().await, (4401, "token_expired".to_owned(), vec![]));
    drop((greeted, late, silent));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye_to_all_and_spreads_their_return() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut peers = Vec::new();
    for n in 0..12 {
        let mut peer = server.peer(if n % 2 == 0 { &ana } else { &ben }).await;
        peer.join(&room).await;
        peers.push(peer);
    }
    let mut stranger = Raw::open(&server.base, &ana.token).await;
    let said = peers[0].say(&room, "before the stop").await;
    server.app.tasks.stop_softly();
    let mut waits = HashSet::new();
    for peer in &mut peers {
        let (code, reason, events) = peer.closed().await;
        assert_eq!((code, reason.as_str()), (1012, "restarting"));
        let goodbye = &events.last().unwrap()["payload"];
        assert_eq!((&goodbye["code"], &goodbye["reason"]), (&json!(1012), &json!("restarting")));
        assert_eq!(goodbye["action"], "resume");
        let wait = goodbye["retry_after_ms"].as_u64().unwrap();
        assert!((1..=60_000).contains(&wait), "{wait}");
        waits.insert(wait);
    }
    assert!(waits.len() > 6, "spread, not all at once: {waits:?}");
    assert_eq!(stranger.closed().await, (1012, "restarting".to_owned(), Vec::<Value>::new()));
    // They come back to the same database and miss nothing.
    let database = server.stop().await;
    let server = Server::start_on(database, &[]).await;
    let mut peer = server.peer(&ben).await;
    let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": 0})).await;
    assert_eq!(joined["payload"]["last_seq"], 1);
    assert_eq!(super::stream(&mut peer, &room, 0, 1).await[0], said["payload"]["message"]);
    drop((stranger, peer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut peer = server.peer(&ana).await;
    peer.join(&room).await;
    for n in 0..200 {
        peer.send(super::send(&room, &format!("m{n}"))).await;
    }
    // In the middle of it.
    let mut acknowledged = vec![peer.next_of("chat.message.created").await];
    server.app.tasks.stop_softly();
    acknowledged.extend(peer.closed().await.2.into_iter().filter(|e| e["type"] == "chat.message.created"));
    let database = server.stop().await;
    let server = Server::start_on(database, &[]).await;
    let log = server.log(&ana, &room).await;
    assert!(log.len() >= acknowledged.len());
    for (message, event) in log.iter().zip(&acknowledged) {
        assert_eq!(message, &event["payload"]["message"]);
    }
    let seqs: Vec<_> = log.iter().map(|m| m["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
    drop(peer);
    server.stop().await;
}
