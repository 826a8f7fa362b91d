//! Presence: who is told of whom, and that nobody stays behind.

use std::time::Instant;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{all_until_pong, code, two_in_a_room};
use crate::kit::{Account, Peer, Server};

async fn peer_named(server: &Server, who: &Account, name: &str) -> Peer {
    let mut peer = Peer::connect(&server.base, &who.token).await;
    let hello = json!({"peer_type": "agent", "version": "test", "device_name": "NAS"});
    peer.send(json!({"type": "system.hello", "from": name, "payload": hello})).await;
    let welcome = peer.next_of("system.welcome").await;
    assert_eq!(welcome["payload"]["peer_id"], name);
    peer.id = name.to_owned();
    peer
}

/// Waits until a peer is told to have this status.
async fn told(peer: &mut Peer, whom: &str, status: &str) -> Value {
    loop {
        let update = peer.next_of("presence.update").await;
        if update["payload"]["peer_id"] == whom && update["payload"]["status"] == status {
            return update;
        }
    }
}

async fn set(peer: &mut Peer, status: &str) {
    let ack = peer.ask("presence.set", json!({"status": status})).await;
    assert_eq!(ack["type"], "system.ack", "{ack}");
}

#[tokio::test]
async fn comings_statuses_and_goings_are_told_to_the_room() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let stranger = server.register("eve").await;
    let mut elsewhere = server.peer(&stranger).await;
    let hers = server.room(&stranger, "Hers").await;
    elsewhere.join(&hers).await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut b = peer_named(&server, &ben, "nas").await;
    let update = told(&mut a, "nas", "online").await;
    let payload =
        json!({"room_id": room, "user_id": ben.id, "peer_id": "nas", "peer_type": "agent", "status": "online"});
    assert_eq!((&update["payload"], &update["from"], &update["to"]), (&payload, &json!("nas"), &json!(room)));
    set(&mut b, "busy").await;
    told(&mut a, "nas", "busy").await;
    let seen = json!([{"peer_id": "nas", "peer_type": "agent", "device_name": "NAS", "status": "busy"}]);
    let path = format!("/api/rooms/{room}/members?online=true");
    let (_, members) = server.get(&path, &ana).await;
    let member =
        |members: &Value| members.as_array().unwrap().iter().find(|m| m["user_id"] == *ben.id).cloned().unwrap();
    assert_eq!(member(&members)["peers"], seen);
    let joined = a.join(&room).await;
    assert_eq!(member(&joined["payload"]["members"])["peers"], seen);
    // A second device, and the first is cut off without a word.
    let phone = peer_named(&server, &ben, "phone").await;
    told(&mut a, "phone", "online").await;
    drop(b);
    told(&mut a, "nas", "offline").await;
    assert_eq!(server.get(&path, &ana).await.1.as_array().unwrap().len(), 2, "the other device is there");
    drop(phone);
    told(&mut a, "phone", "offline").await;
    assert_eq!(server.get(&path, &ana).await.1.as_array().unwrap().len(), 1);
    for event in all_until_pong(&mut elsewhere).await {
        assert!(event["type"] != "presence.update" || event["payload"]["room_id"] == *hers, "{event}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_may_say_of_itself() {
    let (server, ana, _, _) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    for (payload, field) in
        [(json!({"status": "offline"}), "status"), (json!({"status": "gone"}), "status"), (json!({}), "status")]
    {
        let refused = a.ask("presence.set", payload).await;
        assert_eq!(code(&refused), "invalid_payload");
        assert_eq!(refused["payload"]["details"]["field"], field, "{refused}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_replaced_peer_is_not_told_to_be_gone() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut first = peer_named(&server, &ben, "phone").await;
    told(&mut a, "phone", "online").await;
    let mut second = peer_named(&server, &ben, "phone").await;
    assert_eq!(first.closed().await.0, 4409);
    set(&mut second, "away").await;
    let mut seen = Vec::new();
    loop {
        let update = a.next_of("presence.update").await;
        seen.push(update["payload"]["status"].as_str().unwrap().to_owned());
        if seen.last().is_some_and(|last| last == "away") {
            break;
        }
    }
    assert!(!seen.contains(&"offline".to_owned()), "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn whoever_becomes_a_member_while_connected_shows_at_once() {
    let (server, ana, _, room) = two_in_a_room().await;
    let eve = server.register("eve").await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut e = peer_named(&server, &eve, "tablet").await;
    server.add(&ana, &room, &eve).await;
    let added = a.next_of("room.member.added").await;
    assert_eq!(added["payload"]["member"]["peers"][0]["peer_id"], "tablet", "{added}");
    set(&mut e, "away").await;
    told(&mut a, "tablet", "away").await;
    server.stop().await;
}

#[tokio::test]
async fn many_changes_are_told_seldom_and_the_last_one_always() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut b = peer_named(&server, &ben, "nas").await;
    told(&mut a, "nas", "online").await;
    let begun = Instant::now();
    for turn in 0..500 {
        set(&mut b, if turn % 2 == 0 { "away" } else { "online" }).await;
    }
    set(&mut b, "busy").await;
    let mut heard = 1;
    while a.next_of("presence.update").await["payload"]["status"] != "busy" {
        heard += 1;
    }
    // One at once, then one in 200 ms, however long all of it took here.
    let most = begun.elapsed().as_millis() / 200 + 2;
    assert!(heard <= most, "{heard} of 501 changes were told where {most} may be");
    server.stop().await;
}

/// A thousand listeners that hear of a thousand comings and goings would be a million events each way. What all of them
/// get together is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_come_back_do_not_cost_a_million_events() {
    const PEERS: usize = 1_000;
    const AT_ONCE: usize = 50;
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let come = async || {
        let one = async || {
            let mut peer = server.peer(&ben).await;
            peer.join(&room).await;
            peer
        };
        futures_util::stream::iter(0..PEERS).map(|_| one()).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
    };
    let all_there = async |a: &mut Peer| {
        while a.next_of("presence.summary").await["payload"]["online_peers"] != PEERS + 1 {}
    };
    drop(come().await);
    let mut many = come().await;
    all_there(&mut a).await;
    let mut heard = 0;
    for peer in many.iter_mut().chain([&mut a]) {
        let all = all_until_pong(peer).await;
        heard += all.iter().filter(|event| event["type"].as_str().unwrap().starts_with("presence.")).count();
    }
    println!("{PEERS} peers came back: {heard} events of presence, told to all of them together");
    assert!(heard < PEERS * PEERS / 10, "{heard} events");
    drop(many);
    server.stop().await;
}

/// Real sockets of one account: a room with more than 200 peers hears numbers, whoever is in it can be asked for, and
/// when all fall at once nobody is told of each.
#[tokio::test]
async fn a_large_room_hears_numbers() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut a = server.peer(&ana).await;
    a.join(&room).await;
    let mut many = Vec::new();
    for _ in 0..220 {
        many.push(server.peer(&ben).await);
    }
    loop {
        let summary = a.next_of("presence.summary").await;
        assert_eq!((&summary["from"], &summary["to"]), (&json!("server"), &json!(room)));
        if summary["payload"] == json!({"room_id": room, "online_users": 2, "online_peers": 221}) {
            break;
        }
    }
    a.waiting.clear();
    for peer in &mut many[..5] {
        set(peer, "away").await;
    }
    let told = all_until_pong(&mut a).await;
    assert!(!told.iter().any(|e| e["type"] == "presence.update"), "{told:?}");
    drop(many);
    // The last summary says that it is small again, and what is left is told one by one.
    loop {
        let summary = a.next_of("presence.summary").await;
        if summary["payload"]["online_peers"].as_u64().unwrap() <= 200 {
            break;
        }
    }
    let (status, members) = server.get(&format!("/api/rooms/{room}/members?online=true"), &ana).await;
    assert_eq!(status, 200, "{members}");
    server.stop().await;
}
