//! Messages that are too old.

use mesh_server::{service::retention::purge, store};
use serde_json::json;

use super::{again, count, post, rows};
use crate::kit::Server;

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_gone_everywhere() {
    let server = Server::start_with(&[("MESH_RETENTION_DAYS", "7")]).await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    let at = |message: &serde_json::Value| format!("/api/rooms/{room}/messages/{}", message["id"].as_str().unwrap());
    // More than one transaction takes.
    let first = post(&server, &room, &ana, "ancient number one, @ben").await;
    for n in 2..=620 {
        post(&server, &room, &ana, &format!("ancient {n}")).await;
    }
    let (status, _) =
        server.ask("PUT", &format!("{}/reactions/%F0%9F%91%8D", at(&first)), Some(&ben.token), None).await;
    assert_eq!(status, 204);
    assert_eq!(purge(&server.app).await.unwrap(), 0, "nothing is old yet");

    server.advance(8 * DAY);
    let (ana, ben) = (again(&server, &ana).await, again(&server, &ben).await);
    for n in 1..=10 {
        post(&server, &room, &ana, &format!("fresh {n}")).await;
    }
    // An old message is changed late: the log's hole reaches up to that change.
    let edit =
        server.ask("PATCH", &at(&first), Some(&ana.token), Some(json!({"content": "ancient, edited, @ben"}))).await;
    assert_eq!(edit.0, 200);
    let seen = server.get(&format!("/api/rooms/{room}"), &ben).await.1;
    assert_eq!((&seen["unread"], &seen["mentions"], &seen["last_seq"]), (&json!(630), &json!(1), &json!(632)));

    assert_eq!(purge(&server.app).await.unwrap(), 620);
    assert_eq!(purge(&server.app).await.unwrap(), 0);
    let log = server.log(&ana, &room).await;
    assert_eq!(log.iter().map(|m| m["seq"].as_u64().unwrap()).collect::<Vec<_>>(), (622..=631).collect::<Vec<_>>());
    let seen = server.get(&format!("/api/rooms/{room}"), &ben).await.1;
    assert_eq!((&seen["unread"], &seen["mentions"], &seen["last_seq"]), (&json!(10), &json!(0), &json!(632)));
    let search = |q: &str| format!("/api/rooms/{room}/messages/search?q={q}");
    assert_eq!(server.get(&search("ancient"), &ana).await.1, json!([]));
    assert_eq!(server.get(&search("fresh"), &ana).await.1.as_array().unwrap().len(), 10);
    let left = rows(&server.database).await;
    assert_eq!(count(&left, "messages", "ancient"), 0);
    for table in ["message_reactions", "message_mentions", "room_changes"] {
        assert_eq!(count(&left, table, ""), 0, "{table}");
    }

    // Whoever was away since before is told of the gap, and goes on from the end.
    let mut peer = server.peer(&ben).await;
    for (since, gap) in [(0, true), (5, true), (625, true), (632, false)] {
        let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": since})).await;
        assert_eq!((&joined["payload"]["gap"], &joined["payload"]["last_seq"]), (&json!(gap), &json!(632)), "{since}");
    }
    let said = post(&server, &room, &ana, "and on it goes").await;
    assert_eq!(said["seq"], 633);
    assert_eq!(peer.next_of("chat.message.created").await["payload"]["message"], said);
    // Numbers of the index are given again: what bears them now is found.
    assert_eq!(server.get(&search("goes"), &ana).await.1, json!([said]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_cut_off_leaves_a_whole_log() {
    let server = Server::start_with(&[("MESH_RETENTION_DAYS", "1")]).await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    for n in 1..=30 {
        post(&server, &room, &ana, &format!("ancient {n}")).await;
    }
    let (key, id) = (room.clone(), mesh_protocol::RoomId::parse(&room));
    let step = move |tx: &mut store::Tx<'_>| {
        let held = store::purge::hold(tx, &key)?.unwrap();
        store::purge::step(tx, &key, &held, i64::MAX, 12)
    };
    // One transaction, and then the lights go out.
    assert_eq!(server.app.db.write(id.uuid().as_u128(), step.clone()).await.unwrap(), (12, true));
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_RETENTION_DAYS", "1")]).await;
    assert_eq!(server.log(&ana, &room).await.len(), 18);
    let mut peer = server.peer(&ana).await;
    for (since, gap) in [(11, true), (12, false), (20, false)] {
        let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": since})).await;
        assert_eq!(joined["payload"]["gap"], gap, "{since}");
        for seq in (since + 1..=30).filter(|_| !gap) {
            assert_eq!(peer.next_of("chat.message.created").await["payload"]["seq"], seq);
        }
    }
    let search = format!("/api/rooms/{room}/messages/search?q=ancient");
    assert_eq!(server.get(&search, &ana).await.1.as_array().unwrap().len(), 18);
    // A transaction that fails after it has done its work has done nothing.
    let failing = move |tx: &mut store::Tx<'_>| {
        step(tx)?;
        Err::<(), _>(mesh_server::error::Error::internal("cut off"))
    };
    assert!(server.app.db.write(id.uuid().as_u128(), failing).await.is_err());
    assert_eq!(server.get(&search, &ana).await.1.as_array().unwrap().len(), 18);
    assert_eq!(server.log(&ana, &room).await.len(), 18);
    server.advance(2 * DAY);
    assert_eq!(purge(&server.app).await.unwrap(), 18);
    let ana = again(&server, &ana).await;
    assert_eq!(server.log(&ana, &room).await.len(), 0);
    assert_eq!(server.get(&search, &ana).await.1, json!([]));
    assert_eq!(post(&server, &room, &ana, "ancient no more").await["seq"], 31);
    assert_eq!(server.get(&search, &ana).await.1.as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_nothing_goes() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    post(&server, &room, &ana, "for ever").await;
    server.advance(10_000 * DAY);
    assert_eq!(purge(&server.app).await.unwrap(), 0);
    assert_eq!(server.log(&again(&server, &ana).await, &room).await.len(), 1);
    server.stop().await;
}
