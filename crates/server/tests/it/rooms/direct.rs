//! `POST /api/rooms/direct`.

use serde_json::{Value, json};

use super::{House, house, no, text};

const DIRECT: &str = "/api/rooms/direct";

#[tokio::test(flavor = "multi_thread")]
async fn two_people_have_one_room() {
    let House { server, ana, ben, eve, .. } = house().await;
    let me = json!({"display_name": "Benoît"});
    assert_eq!(server.ask("PATCH", "/api/auth/me", Some(&ben.token), Some(me)).await.0, 200);
    let mut peers = [server.peer(&ana).await, server.peer(&ben).await];
    let (status, room) = server.post(DIRECT, &ana, json!({"username": "BEN"})).await;
    assert_eq!((status, &room["kind"], &room["visibility"]), (201, &json!("direct"), &json!("private")));
    assert_eq!((&room["name"], &room["member_count"]), (&json!("Benoît"), &json!(2)));
    for (peer, name) in peers.iter_mut().zip(["Benoît", "ana"]) {
        let told = peer.next_of("room.added").await;
        assert_eq!((&told["payload"]["room"]["id"], &told["payload"]["room"]["name"]), (&room["id"], &json!(name)));
    }
    let (status, same) = server.post(DIRECT, &ben, json!({"user_id": ana.id})).await;
    assert_eq!((status, &same["id"], &same["name"]), (200, &room["id"], &json!("ana")));
    assert_eq!(server.post(DIRECT, &ana, json!({"user_id": ben.id})).await.0, 200);
    let path = format!("/api/rooms/{}", text(&room["id"]));
    assert_eq!(server.get(&path, &eve).await.0, 404);
    let [a, b] = &mut peers;
    a.join(text(&room["id"])).await;
    b.join(text(&room["id"])).await;
    a.say(text(&room["id"]), "just us").await;
    assert_eq!(b.next_of("chat.message.created").await["payload"]["message"]["content"], "just us");
    let (_, other) = server.post(DIRECT, &ana, json!({"username": "eve"})).await;
    assert_ne!(other["id"], room["id"]);

    for (body, expected) in [
        (json!({"username": "ana"}), (422, "invalid")),
        (json!({"user_id": ana.id}), (422, "invalid")),
        (json!({}), (422, "invalid")),
        (json!({"username": "ben", "user_id": ben.id}), (422, "invalid")),
        (json!({"username": "nobody"}), (404, "unknown_user")),
    ] {
        let (status, answer) = server.post(DIRECT, &ana, body.clone()).await;
        assert_eq!((status, text(&answer["code"])), expected, "{body}");
    }
    // The path is a call of its own, not a room's.
    assert_eq!(server.get(DIRECT, &ana).await.0, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_a_direct_room() {
    let mut house = house().await;
    let (_, room) = house.server.post(DIRECT, &house.ana, json!({"username": "ben"})).await;
    text(&room["id"]).clone_into(&mut house.room);
    let (member, ban) = (format!("/members/{}", house.ben.id), format!("/bans/{}", house.ben.id));
    let calls: [(&str, &str, Option<Value>); 9] = [
        ("PATCH", "", Some(json!({"name": "Ours"}))),
        ("PATCH", "", Some(json!({"retention_days": 1}))),
        ("DELETE", "", None),
        ("POST", "/members", Some(json!({"username": "eve"}))),
        ("PATCH", &member, Some(json!({"role": "owner"}))),
        ("PATCH", "/members/me", Some(json!({"role": "guest"}))),
        ("DELETE", &member, None),
        ("PUT", &ban, Some(json!({}))),
        ("POST", "/invites", Some(json!({}))),
    ];
    for (method, path, body) in &calls {
        let refused = house.refused(method, path, &house.ana, body.clone()).await;
        assert_eq!(refused, no(403, "forbidden"), "{method} {path}");
    }
    for who in [&house.ana, &house.ben] {
        assert_eq!(house.refused("DELETE", "/members/me", who, None).await, no(409, "direct_room"));
    }
    // Neither takes back what the other said.
    let said = house.done("POST", "/messages", &house.ben, Some(json!({"content": "mine"}))).await;
    let path = format!("/messages/{}", text(&said["id"]));
    assert_eq!(house.refused("DELETE", &path, &house.ana, None).await, no(403, "forbidden"));
    house.server.stop().await;
}
