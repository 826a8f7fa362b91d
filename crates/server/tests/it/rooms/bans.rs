//! `/api/rooms/{id}/bans`.

use serde_json::{Value, json};

use super::{all_pages, audited, house, no, text};
use crate::kit::Account;

#[tokio::test(flavor = "multi_thread")]
async fn who_bans_whom_and_what_is_written_down() {
    let house = house().await;
    let cat = house.server.register("cat").await;
    house.server.add(&house.ana, &house.room, &cat).await;
    house.role(&cat, "admin").await;
    let of = |who: &Account| format!("/bans/{}", who.id);
    let why = || Some(json!({"reason": "  spam\nall day "}));
    assert_eq!(house.refused("PUT", &of(&cat), &house.ben, why()).await, no(403, "forbidden"));
    assert_eq!(house.refused("GET", "/bans", &house.ben, None).await, no(403, "forbidden"));
    assert_eq!(house.refused("PUT", &of(&house.ana), &cat, why()).await, no(403, "forbidden"));
    assert_eq!(house.refused("PUT", &of(&cat), &cat, why()).await, no(403, "forbidden"));
    let nobody = "/bans/00000000-0000-7000-8000-000000000000";
    assert_eq!(house.refused("PUT", nobody, &cat, why()).await, no(404, "unknown_user"));
    assert_eq!(house.refused("DELETE", &of(&house.eve), &cat, None).await, no(404, "not_banned"));
    for (reason, code) in [("x".repeat(501), "too_long"), ("\u{7}".to_owned(), "invalid")] {
        let (status, answer) = house.ask("PUT", &of(&house.ben), &cat, Some(json!({"reason": reason}))).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (422, &json!(code)));
    }

    let ban = house.done("PUT", &of(&house.ben), &cat, why()).await;
    assert_eq!((&ban["user_id"], &ban["username"]), (&json!(house.ben.id), &json!("ben")));
    assert_eq!((&ban["reason"], &ban["banned_by"]), (&json!("spam\nall day"), &json!(cat.id)));
    // Whoever is no member is kept out too; again says anew why.
    house.server.advance(1);
    assert_eq!(house.done("PUT", &of(&house.eve), &cat, Some(json!({}))).await["reason"], Value::Null);
    house.server.advance(1);
    let again = house.done("PUT", &of(&house.ben), &house.ana, Some(json!({"reason": "more spam"}))).await;
    assert_eq!((&again["reason"], &again["banned_by"]), (&json!("more spam"), &json!(house.ana.id)));
    assert_eq!(house.done("GET", &of(&house.ben), &cat, None).await, again);
    assert_eq!(house.refused("GET", &of(&cat), &cat, None).await, no(404, "not_banned"));

    let path = format!("/api/rooms/{}/bans?limit=1", house.room);
    let bans = all_pages(&house.server, &cat, &path).await;
    assert_eq!(bans.iter().map(|ban| text(&ban["username"])).collect::<Vec<_>>(), ["ben", "eve"]);
    assert_eq!(house.refused("GET", "/bans?cursor=x", &cat, None).await.0, 422);
    house.done("DELETE", &of(&house.ben), &cat, None).await;
    assert_eq!(house.ask("GET", "/bans", &cat, None).await.1.as_array().unwrap().len(), 1);

    let banned = audited(&house.server, &house.ana, "room.banned").await;
    let entry = banned.last().unwrap();
    assert_eq!((&entry["actor_id"], &entry["target_id"]), (&json!(cat.id), &json!(house.ben.id)));
    assert_eq!(entry["details"], json!({"room_id": house.room, "reason": "spam\nall day"}));
    assert_eq!((banned.len(), audited(&house.server, &house.ana, "room.unbanned").await.len()), (3, 1));
    house.server.stop().await;
}
