//! Roles, handing over, putting out and leaving.

use serde_json::json;

use super::{house, no, text};
use crate::kit::Account;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_change_whose_role() {
    let house = house().await;
    let (cat, dan, gus) =
        (house.server.register("cat").await, house.server.register("dan").await, house.server.register("gus").await);
    for who in [&cat, &dan, &gus] {
        house.server.add(&house.ana, &house.room, who).await;
    }
    house.role(&house.ben, "admin").await;
    house.role(&cat, "admin").await;
    house.role(&gus, "guest").await;
    let set = async |who: &Account, whose: &Account, role: &str| {
        house.ask("PATCH", &format!("/members/{}", whose.id), who, Some(json!({"role": role}))).await.0
    };
    // (who asks, of whom, which role, the answer)
    for (who, whose, role, expected) in [
        (&house.ben, &dan, "guest", 200),
        (&house.ben, &dan, "admin", 200),
        (&house.ben, &dan, "member", 403),
        (&house.ana, &dan, "member", 200),
        (&house.ben, &cat, "member", 403),
        (&house.ben, &house.ana, "member", 403),
        (&house.ben, &dan, "owner", 403),
        (&house.ben, &house.ben, "owner", 403),
        (&dan, &gus, "member", 403),
        (&gus, &gus, "member", 403),
        (&dan, &dan, "admin", 403),
        (&dan, &dan, "member", 200),
        (&dan, &dan, "guest", 200),
        (&cat, &cat, "member", 200),
        (&house.ana, &house.ana, "owner", 200),
        (&house.ana, &house.ana, "admin", 409),
        (&house.eve, &dan, "member", 404),
        (&house.ana, &house.eve, "member", 404),
    ] {
        assert_eq!(set(who, whose, role).await, expected, "{} makes {} {role}", who.name, whose.name);
    }
    let step_down = Some(json!({"role": "member"}));
    assert_eq!(house.refused("PATCH", "/members/me", &house.ana, step_down).await, no(409, "last_owner"));
    let unknown = format!("/members/{}", house.eve.id);
    let body = Some(json!({"role": "member"}));
    assert_eq!(house.refused("PATCH", &unknown, &house.ana, body.clone()).await, no(404, "unknown_member"));
    assert_eq!(house.refused("PATCH", "/members/you", &house.ana, body).await, no(404, "unknown_member"));
    assert_eq!(house.refused("PATCH", "/members/me", &house.ana, Some(json!({"role": "king"}))).await.0, 422);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_moves_and_everybody_is_told() {
    let house = house().await;
    let mut b = house.joined(&house.ben).await;
    let path = format!("/members/{}", house.ben.id);
    let member = house.done("PATCH", &path, &house.ana, Some(json!({"role": "owner"}))).await;
    assert_eq!((&member["role"], &member["online"]), (&json!("owner"), &json!(true)));
    let told = [b.next_of("room.member.updated").await, b.next_of("room.member.updated").await];
    let roles = told.each_ref().map(|event| {
        assert_eq!(event["payload"]["room_id"], house.room);
        let member = &event["payload"]["member"];
        (text(&member["username"]), text(&member["role"]), member["online"] == true)
    });
    assert_eq!(roles, [("ben", "owner", true), ("ana", "admin", false)]);
    assert_eq!(b.next_of("room.updated").await["payload"]["room"]["owner_id"], house.ben.id);
    let (_, room) = house.ask("GET", "", &house.ana, None).await;
    assert_eq!((&room["owner_id"], &room["my_role"]), (&json!(house.ben.id), &json!("admin")));
    // What was the owner's is the new one's alone.
    assert_eq!(house.refused("DELETE", "", &house.ana, None).await, no(403, "forbidden"));
    assert_eq!(house.refused("DELETE", "/members/me", &house.ben, None).await, no(409, "last_owner"));
    assert_eq!(house.ask("DELETE", "/members/me", &house.ana, None).await.0, 204);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_or_gone_by_oneself() {
    let house = house().await;
    let cat = house.server.register("cat").await;
    house.server.add(&house.ana, &house.room, &cat).await;
    let (mut a, mut b) = (house.joined(&house.ana).await, house.joined(&house.ben).await);
    let mut elsewhere = house.server.peer(&house.ben).await;
    let of = |who: &Account| format!("/members/{}", who.id);
    assert_eq!(house.refused("DELETE", &of(&cat), &house.ben, None).await, no(403, "forbidden"));
    assert_eq!(house.refused("DELETE", &of(&cat), &house.eve, None).await, no(404, "not_found"));
    house.role(&cat, "admin").await;
    assert_eq!(house.refused("DELETE", &of(&house.ana), &cat, None).await, no(403, "forbidden"));
    assert_eq!(house.refused("DELETE", &of(&house.eve), &cat, None).await, no(404, "unknown_member"));
    house.done("DELETE", &of(&house.ben), &cat, None).await;
    let told = a.next_of("room.member.removed").await;
    let expected = json!({"room_id": house.room, "user_id": house.ben.id, "reason": "kicked"});
    assert_eq!(told["payload"], expected);
    for peer in [&mut b, &mut elsewhere] {
        let told = peer.next_of("room.removed").await;
        assert_eq!(told["payload"], json!({"room_id": house.room, "reason": "kicked"}));
    }
    assert_eq!(house.refused("GET", "", &house.ben, None).await, no(404, "not_found"));
    assert_eq!(house.refused("DELETE", "/members/me", &house.ben, None).await, no(404, "not_found"));
    let (_, members) = house.ask("GET", "/members", &house.ana, None).await;
    assert_eq!(members.as_array().unwrap().len(), 2);
    // By id is by oneself too.
    house.done("DELETE", &of(&cat), &cat, None).await;
    let told = a.next_of("room.member.removed").await;
    assert_eq!((&told["payload"]["user_id"], &told["payload"]["reason"]), (&json!(cat.id), &json!("left")));
    assert_eq!(house.ask("GET", "", &house.ana, None).await.1["member_count"], 1);
    // Whoever was put out may be added again, and a public room may be joined again.
    house.server.add(&house.ana, &house.room, &house.ben).await;
    assert_eq!(b.next_of("room.added").await["payload"]["room"]["id"], house.room);
    house.done("PATCH", "", &house.ana, Some(json!({"visibility": "public"}))).await;
    let room = house.done("POST", "/join", &cat, None).await;
    assert_eq!((&room["my_role"], &room["member_count"]), (&json!("member"), &json!(3)));
    assert_eq!(house.done("POST", "/join", &cat, None).await["member_count"], 3);
    house.server.stop().await;
}
