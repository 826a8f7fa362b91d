//! Two people talk.

use serde_json::json;

use crate::kit::Server;

#[tokio::test(flavor = "multi_thread")]
async fn two_people_meet_in_a_room_and_talk() {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("Ben").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    let (mut a, mut b) = (server.peer(&ana).await, server.peer(&ben).await);
    let joined = a.join(&room).await;
    assert_eq!(joined["payload"]["role"], "owner");
    assert_eq!(joined["payload"]["last_seq"], 0);
    assert_eq!(joined["payload"]["gap"], false);
    assert_eq!(joined["payload"]["online_count"], 2);
    assert_eq!(b.join(&room).await["payload"]["role"], "member");

    let own = a.say(&room, "Bonjour Ben").await;
    let other = b.next_of("chat.message.created").await;
    assert_eq!(own["payload"], other["payload"]);
    assert_eq!((&own["id"], &own["timestamp"], &own["from"]), (&other["id"], &other["timestamp"], &other["from"]));
    assert_eq!(own["from"], a.id.as_str());
    assert_eq!(own["to"], room.as_str(), "the room's own event, with the asker's reply_to beside");
    assert!(other.get("reply_to").is_none());
    let message = &own["payload"]["message"];
    assert_eq!(own["payload"]["seq"], 1);
    assert_eq!(message["seq"], 1);
    assert_eq!(message["content"], "Bonjour Ben");
    assert_eq!(message["username"], "ana");
    assert_eq!(message["user_id"], ana.id.as_str());
    assert_eq!(message["client_id"], "q3", "the event's id stands in for a client_id");

    // REST and WebSocket are one conversation.
    let (status, posted) = server.post(&format!("/api/rooms/{room}/messages"), &ben, json!({"content": "Salut"})).await;
    assert_eq!(status, 201);
    for peer in [&mut a, &mut b] {
        let event = peer.next_of("chat.message.created").await;
        assert_eq!(event["payload"]["message"], posted);
        assert_eq!(event["from"], "server");
    }
    assert_eq!(server.log(&ana, &room).await.len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_gets_what_they_missed() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    for n in 1..=250 {
        let body = json!({"content": format!("m{n}")});
        assert_eq!(server.post(&format!("/api/rooms/{room}/messages"), &ana, body).await.0, 201);
    }
    let mut peer = server.peer(&ana).await;
    let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": 20})).await;
    assert_eq!((&joined["payload"]["last_seq"], &joined["payload"]["gap"]), (&json!(250), &json!(false)));
    for seq in 21..=250 {
        let event = peer.next_of("chat.message.created").await;
        assert_eq!(event["payload"]["seq"], seq);
        assert_eq!(event["payload"]["message"]["content"], format!("m{seq}"));
    }
    peer.say(&room, "live").await;
    server.stop().await;
}
