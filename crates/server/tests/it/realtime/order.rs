//! One order for all: no hole, no repeat, on every connection.

use std::collections::HashMap;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{messages, send, stream, two_in_a_room};
use crate::kit::Peer;

/// Sends without waiting for answers.
async fn send_all(peer: &mut Peer, room: &str, name: &str, count: u64) {
    for n in 1..=count {
        peer.send(send(room, &format!("{name} {n}"))).await;
    }
}

/// What each one said must stand in the order in which it was said.
fn assert_each_in_own_order(log: &[Value], counts: &HashMap<&str, u64>) {
    let mut said: HashMap<&str, u64> = HashMap::new();
    for message in log {
        let (name, n) = message["content"].as_str().unwrap().split_once(' ').unwrap();
        let last = said.entry(name).or_default();
        *last += 1;
        assert_eq!(n.parse::<u64>().unwrap(), *last, "{name} said it in another order: {message}");
    }
    assert_eq!(&said, counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_sees_all_in_one_order_while_many_speak() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let zoe = server.register("zoe").await;
    server.add(&ana, &room, &zoe).await;
    let mut peers = Vec::new();
    for who in [&ana, &ana, &ben, &ben, &zoe] {
        let mut peer = server.peer(who).await;
        peer.join(&room).await;
        peers.push(peer);
    }
    // Three of the five speak, and two people by REST beside them.
    let counts = HashMap::from([("s0", 60), ("s1", 60), ("s2", 60), ("ana", 40), ("zoe", 40)]);
    let total = counts.values().sum();
    let sockets = join_all(peers.iter_mut().enumerate().map(|(n, peer)| {
        let room = &room;
        async move {
            if n < 3 {
                send_all(peer, room, &format!("s{n}"), 60).await;
            }
            stream(peer, room, 0, total).await
        }
    }));
    let path = messages(&room);
    let by_rest = join_all([&ana, &zoe].map(|who| {
        let (server, path) = (&server, &path);
        async move {
            for n in 1..=40 {
                let content = format!("{} {n}", who.name);
                assert_eq!(server.post(path, who, json!({"content": content})).await.0, 201);
            }
        }
    }));
    let (streams, _) = join(sockets, by_rest).await;
    let log = server.log(&ana, &room).await;
    assert_each_in_own_order(&log, &counts);
    for (n, seen) in streams.iter().enumerate() {
        assert_eq!(seen, &log, "connection {n} saw what REST tells");
    }
    for peer in &mut peers {
        assert!(super::until_pong(peer).await.iter().all(|e| e["type"] != "chat.message.created"), "one too many");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_have_each_their_own_order() {
    let (server, ana, ben, first) = two_in_a_room().await;
    let mut rooms = vec![first];
    for name in ["Salon", "Jardin", "Cave", "Grenier"] {
        let room = server.room(&ana, name).await;
        server.add(&ana, &room, &ben).await;
        rooms.push(room);
    }
    let (mut a, mut b) = (server.peer(&ana).await, server.peer(&ben).await);
    for room in &rooms {
        a.join(room).await;
        b.join(room).await;
    }
    for n in 1..=40 {
        for room in &rooms {
            a.send(send(room, &format!("a {n}"))).await;
            b.send(send(room, &format!("b {n}"))).await;
        }
    }
    let counts = HashMap::from([("a", 40), ("b", 40)]);
    for room in &rooms {
        let log = server.log(&ana, room).await;
        for peer in [&mut a, &mut b] {
            // Events of other rooms stand in between: each room's are picked out.
            let mut seen = Vec::new();
            let (mine, others) =
                std::mem::take(&mut peer.waiting).into_iter().partition(|e: &Value| super::is_of_room(e, room));
            peer.waiting = others;
            seen.extend(mine);
            while seen.len() < 80 {
                let at = peer.waiting.len();
                let event = match peer.waiting.iter().position(|e| super::is_of_room(e, room)) {
                    Some(at) => peer.waiting.remove(at).unwrap(),
                    None => {
                        let event = read_on(peer).await;
                        assert_eq!(peer.waiting.len(), at);
                        event
                    }
                };
                if super::is_of_room(&event, room) { seen.push(event) } else { peer.waiting.push_back(event) }
            }
            let seqs: Vec<_> = seen.iter().map(|e| e["payload"]["seq"].as_u64().unwrap()).collect();
            assert_eq!(seqs, (1..=80).collect::<Vec<_>>());
            let messages: Vec<_> = seen.iter().map(|e| e["payload"]["message"].clone()).collect();
            assert_eq!(messages[..log.len()], log);
            if log.len() == 80 {
                assert_each_in_own_order(&messages, &counts);
            }
        }
    }
    server.stop().await;
}

/// The next event from the wire, past those that wait.
async fn read_on(peer: &mut Peer) -> Value {
    let waiting = std::mem::take(&mut peer.waiting);
    let event = peer.next().await;
    peer.waiting = waiting;
    event
}
