//! What a room is called, who finds it, how long it keeps messages, and its end.

use serde_json::{Value, json};

use super::{audited, house, no, until_pong};

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_and_admins_change_a_room_and_it_is_told() {
    let house = house().await;
    let mut b = house.joined(&house.ben).await;
    let description = json!({"name": " Kitchen ", "description": "Food\nand talk", "visibility": "public"});
    house.server.advance(60);
    let room = house.done("PATCH", "", &house.ana, Some(description)).await;
    assert_eq!((&room["name"], &room["description"]), (&json!("Kitchen"), &json!("Food\nand talk")));
    assert_eq!((&room["visibility"], &room["my_role"]), (&json!("public"), &json!("owner")));
    assert!(room["updated_at"].as_str() > room["created_at"].as_str());
    let told = b.next_of("room.updated").await;
    // All get the same bytes: what differs from caller to caller is left out.
    let mut shared = room.clone();
    shared["my_role"] = Value::Null;
    assert_eq!(told["payload"], json!({"room_id": house.room, "room": shared}));
    assert_eq!((&told["from"], &told["to"]), (&json!("server"), &json!(house.room)));
    let (_, seen) = house.ask("GET", "", &house.ben, None).await;
    assert_eq!(seen["name"], "Kitchen");

    // A member changes nothing, an admin what is not the owner's.
    assert_eq!(house.refused("PATCH", "", &house.ben, Some(json!({"name": "Mine"}))).await, no(403, "forbidden"));
    assert_eq!(house.refused("PATCH", "", &house.ben, Some(json!({}))).await, no(403, "forbidden"));
    house.role(&house.ben, "admin").await;
    for empty in [Value::Null, json!("")] {
        house.done("PATCH", "", &house.ana, Some(json!({"description": "x"}))).await;
        let room = house.done("PATCH", "", &house.ben, Some(json!({"description": empty}))).await;
        assert_eq!((&room["description"], &room["name"]), (&Value::Null, &json!("Kitchen")));
    }
    let days = |days: Value| Some(json!({"retention_days": days}));
    assert_eq!(house.refused("PATCH", "", &house.ben, days(json!(7))).await, no(403, "forbidden"));
    assert_eq!(house.done("PATCH", "", &house.ana, days(json!(7))).await["retention_days"], 7);
    assert_eq!(house.done("PATCH", "", &house.ana, days(Value::Null)).await["retention_days"], Value::Null);

    // Six changes were told; what changes nothing is told to nobody.
    for _ in 0..6 {
        b.next_of("room.updated").await;
    }
    house.done("PATCH", "", &house.ana, Some(json!({"name": "Kitchen"}))).await;
    house.done("PATCH", "", &house.ana, Some(json!({}))).await;
    assert!(until_pong(&mut b).await.iter().all(|event| event["type"] != "room.updated"));
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_room_cannot_be_is_named() {
    let house = house().await;
    let long = "é".repeat(101);
    for (body, field, code) in [
        (json!({"name": ""}), "name", "too_short"),
        (json!({"name": long}), "name", "too_long"),
        (json!({"name": "a\nb"}), "name", "invalid"),
        (json!({"description": "é".repeat(1_001)}), "description", "too_long"),
        (json!({"description": "\u{1}"}), "description", "invalid"),
        (json!({"visibility": "secret"}), "visibility", "invalid"),
        (json!({"retention_days": 0}), "retention_days", "out_of_range"),
        (json!({"retention_days": 36_501}), "retention_days", "out_of_range"),
    ] {
        let (status, answer) = house.ask("PATCH", "", &house.ana, Some(body.clone())).await;
        let told = (status, &answer["errors"][0]["field"], &answer["errors"][0]["code"]);
        assert_eq!(told, (422, &json!(field), &json!(code)), "{body}: {answer}");
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_field_may_be_absent_so_may_the_body() {
    let house = house().await;
    for body in [None, Some(Value::Null), Some(json!({}))] {
        let invite = house.done("POST", "/invites", &house.ana, body.clone()).await;
        assert_eq!((&invite["max_uses"], &invite["expires_at"]), (&Value::Null, &Value::Null));
        let ban = house.done("PUT", &format!("/bans/{}", house.eve.id), &house.ana, body).await;
        assert_eq!(ban["reason"], Value::Null);
    }
    assert_eq!(house.refused("POST", "/invites", &house.ana, Some(json!(5))).await.0, 422);
    let url = house.server.url(&format!("/api/rooms/{}/invites", house.room));
    for (kind, body, status) in [("text/plain", "", 415), ("text/plain", "{}", 415), ("application/json", "", 400)] {
        let asked = house.server.http.post(&url).bearer_auth(&house.ana.token).header("content-type", kind).body(body);
        assert_eq!(asked.send().await.unwrap().status(), status, "{kind} {body:?}");
    }
    let asked = house.server.http.post(&url).bearer_auth(&house.ana.token).body("{}");
    assert_eq!(asked.send().await.unwrap().status(), 415, "a body says what it is");
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_room_is_gone_for_everybody_at_once() {
    let house = house().await;
    let (mut a, mut b) = (house.joined(&house.ana).await, house.joined(&house.ben).await);
    let mut elsewhere = house.server.peer(&house.ben).await;
    a.say(&house.room, "soon gone").await;
    assert_eq!(house.refused("DELETE", "", &house.eve, None).await, no(404, "not_found"));
    house.role(&house.ben, "admin").await;
    assert_eq!(house.refused("DELETE", "", &house.ben, None).await, no(403, "forbidden"));
    house.done("PATCH", "", &house.ana, Some(json!({"visibility": "public"}))).await;
    let (_, invite) = house.ask("POST", "/invites", &house.ana, Some(json!({}))).await;
    assert_eq!(house.done("DELETE", "", &house.ana, None).await, Value::Null);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.next_of("room.deleted").await["payload"], json!({"room_id": house.room}));
    }
    for peer in [&mut a, &mut b, &mut elsewhere] {
        let told = peer.next_of("room.removed").await;
        assert_eq!(told["payload"], json!({"room_id": house.room, "reason": "deleted"}));
    }
    for who in [&house.ana, &house.ben, &house.eve] {
        for (method, path) in
            [("GET", ""), ("GET", "/members"), ("GET", "/messages"), ("POST", "/join"), ("DELETE", "")]
        {
            assert_eq!(house.refused(method, path, who, None).await, no(404, "not_found"), "{method} {path}");
        }
        for list in ["/api/rooms", "/api/rooms?visibility=public"] {
            assert_eq!(house.server.get(list, who).await, (200, json!([])));
        }
    }
    let refused = b.ask("chat.message.send", json!({"room_id": house.room, "content": "hello?"})).await;
    assert_eq!(refused["payload"]["code"], "not_found", "{refused}");
    let refused = b.ask("room.join", json!({"room_id": house.room})).await;
    assert_eq!(refused["payload"]["code"], "not_found", "{refused}");
    let path = format!("/api/invites/{}/accept", super::text(&invite["code"]));
    assert_eq!(house.server.ask("POST", &path, Some(&house.eve.token), None).await.0, 404);
    let entries = audited(&house.server, &house.ana, "room.deleted").await;
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0]["target_id"], &entries[0]["target_name"]), (&json!(house.room), &json!("Cuisine")));
    assert_eq!(entries[0]["actor_id"], house.ana.id);
    house.server.stop().await;
}
