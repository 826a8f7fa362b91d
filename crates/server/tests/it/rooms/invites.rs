//! `/api/rooms/{id}/invites` and `/api/invites/{code}/accept`.

use serde_json::{Value, json};

use super::{House, all_pages, house, no, text};
use crate::kit::Account;

impl House {
    async fn invite(&self, body: Value) -> Value {
        self.done("POST", "/invites", &self.ana, Some(body)).await
    }

    async fn accept(&self, who: &Account, code: &Value) -> (u16, Value) {
        self.server.ask("POST", &format!("/api/invites/{}/accept", text(code)), Some(&who.token), None).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_opens_a_private_room_as_often_as_it_says() {
    let house = house().await;
    let cat = house.server.register("cat").await;
    let mut a = house.joined(&house.ana).await;
    let mut e = house.server.peer(&house.eve).await;
    let invite = house.invite(json!({"max_uses": 1})).await;
    let code = &invite["code"];
    assert_eq!(text(code).len(), 22);
    assert!(text(&invite["url"]).ends_with(&format!("/invite/{}", text(code))));
    assert_eq!((&invite["max_uses"], &invite["uses"]), (&json!(1), &json!(0)));
    assert_eq!((&invite["expires_at"], &invite["created_by"]), (&Value::Null, &json!(house.ana.id)));

    // A member uses nothing up.
    assert_eq!(house.accept(&house.ben, code).await.0, 200);
    let (status, room) = house.accept(&house.eve, code).await;
    assert_eq!((status, &room["my_role"], &room["id"]), (200, &json!("member"), &json!(house.room)));
    let told = a.next_of("room.member.added").await;
    assert_eq!(told["payload"]["member"]["username"], "eve");
    assert_eq!(told["payload"]["member"]["online"], true);
    assert_eq!(e.next_of("room.added").await["payload"]["room"]["id"], house.room);
    assert_eq!(house.accept(&house.eve, code).await.0, 200);
    let (status, answer) = house.accept(&cat, code).await;
    assert_eq!((status, &answer["code"]), (410, &json!("invite_ended")));
    assert_eq!(house.ask("GET", "", &house.ana, None).await.1["member_count"], 3);

    let limited = house.invite(json!({"expires_in": 60})).await;
    house.server.advance(60);
    assert_eq!(house.accept(&cat, &limited["code"]).await.0, 410);
    let ended = house.invite(json!({})).await;
    let path = format!("/invites/{}", text(&ended["code"]));
    assert_eq!(house.refused("DELETE", &path, &house.ben, None).await, no(403, "forbidden"));
    house.done("DELETE", &path, &house.ana, None).await;
    assert_eq!(house.refused("DELETE", &path, &house.ana, None).await, no(404, "unknown_invite"));
    for code in [text(&ended["code"]), "x", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let (status, answer) = house.accept(&cat, &json!(code)).await;
        assert_eq!((status, &answer["code"]), (404, &json!("unknown_invite")), "{code}");
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_for_managers_and_bounded() {
    let house = house().await;
    assert_eq!(house.refused("POST", "/invites", &house.ben, Some(json!({}))).await, no(403, "forbidden"));
    assert_eq!(house.refused("GET", "/invites", &house.ben, None).await, no(403, "forbidden"));
    for (body, field) in [
        (json!({"max_uses": 0}), "max_uses"),
        (json!({"max_uses": 100_001}), "max_uses"),
        (json!({"expires_in": 59}), "expires_in"),
        (json!({"expires_in": 31_536_001}), "expires_in"),
    ] {
        let (status, answer) = house.ask("POST", "/invites", &house.ana, Some(body.clone())).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    let first = house.invite(json!({"expires_in": 60})).await;
    for _ in 1..100 {
        house.invite(json!({})).await;
    }
    assert_eq!(house.refused("POST", "/invites", &house.ana, Some(json!({}))).await, no(409, "too_many_invites"));
    // The one that has ended makes room for another.
    house.server.advance(60);
    let newest = house.invite(json!({})).await;
    assert_eq!(house.refused("POST", "/invites", &house.ana, Some(json!({}))).await, no(409, "too_many_invites"));
    let all = all_pages(&house.server, &house.ana, &format!("/api/rooms/{}/invites?limit=7", house.room)).await;
    assert_eq!((all.len(), &all[0]), (100, &newest));
    assert!(all.iter().all(|invite| invite["code"] != first["code"]));
    let codes: std::collections::HashSet<_> = all.iter().map(|invite| text(&invite["code"])).collect();
    assert_eq!(codes.len(), 100);
    assert_eq!(house.refused("GET", "/invites?cursor=1.x", &house.ana, None).await.0, 422);
    house.server.stop().await;
}
