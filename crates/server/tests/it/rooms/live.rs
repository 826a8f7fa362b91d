//! Whoever is out receives nothing, from the answer on.

use serde_json::json;

use super::{house, no, until_pong};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_is_said_after_the_kick_arrives() {
    let house = house().await;
    let (mut b, path) = (house.joined(&house.ben).await, format!("/members/{}", house.ben.id));
    let mut a = house.joined(&house.ana).await;
    for round in 0..20 {
        a.say(&house.room, &format!("before {round}")).await;
        house.done("DELETE", &path, &house.ana, None).await;
        a.say(&house.room, &format!("after {round}")).await;
        house.done("PATCH", "", &house.ana, Some(json!({"name": format!("Room {round}")}))).await;
        let heard = until_pong(&mut b).await;
        let kinds: Vec<_> = heard.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert!(kinds.iter().all(|kind| *kind != "room.updated" && *kind != "room.member.removed"), "{kinds:?}");
        assert!(heard.iter().all(|event| !event.to_string().contains("after")), "{heard:?}");
        assert!(heard.iter().any(|event| event.to_string().contains(&format!("before {round}"))), "{heard:?}");
        let refused = b.ask("chat.message.send", json!({"room_id": house.room, "content": "still here"})).await;
        assert_eq!(refused["payload"]["code"], "not_found");
        house.server.add(&house.ana, &house.room, &house.ben).await;
        b.join(&house.room).await;
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_under_way_leads_nowhere_after_the_kick() {
    let house = house().await;
    // More than a page of a replay, so that a kick may fall between two.
    for n in 0..220 {
        house.done("POST", "/messages", &house.ana, Some(json!({"content": format!("old {n}")}))).await;
    }
    let path = format!("/members/{}", house.ben.id);
    let mut b = house.server.peer(&house.ben).await;
    let mut out_in_between = 0;
    for round in 0..40_usize {
        let after = format!("secret {round}.");
        let ask =
            json!({"type": "room.join", "id": format!("j{round}"), "payload": {"room_id": house.room, "since_seq": 0}});
        let kick = async {
            // Each round meets the join somewhere else.
            for _ in 0..round * 4 {
                tokio::task::yield_now().await;
            }
            house.done("DELETE", &path, &house.ana, None).await;
            for _ in 0..3 {
                house.done("POST", "/messages", &house.ana, Some(json!({"content": after}))).await;
            }
        };
        tokio::join!(b.send(ask), kick);
        // A connection is not read from while it joins: this is answered after the join is over.
        let heard = until_pong(&mut b).await;
        assert!(heard.iter().all(|event| !event.to_string().contains(&after)), "round {round}");
        let joined = heard.iter().any(|event| event["type"] == "room.joined");
        let replayed = heard.iter().filter(|event| event["type"] == "chat.message.created").count();
        out_in_between += usize::from(joined && replayed < 220);
        house.server.add(&house.ana, &house.room, &house.ben).await;
        // What was said while nobody of ben's was there is found, now that he is in again.
        let log = house.server.log(&house.ben, &house.room).await;
        assert!(log.last().unwrap()["content"].as_str().unwrap().starts_with("secret"));
        until_pong(&mut b).await;
    }
    println!("{out_in_between} of 40 kicks met a replay");
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_one_comes_back_by_no_way() {
    let house = house().await;
    house.done("PATCH", "", &house.ana, Some(json!({"visibility": "public"}))).await;
    let (_, invite) = house.ask("POST", "/invites", &house.ana, Some(json!({}))).await;
    let accept = format!("/api/invites/{}/accept", invite["code"].as_str().unwrap());
    let mut a = house.joined(&house.ana).await;
    let mut b = house.joined(&house.ben).await;
    let ban = format!("/bans/{}", house.ben.id);
    house.done("PUT", &ban, &house.ana, Some(json!({"reason": "spam"}))).await;
    a.say(&house.room, "without ben").await;
    let told = a.next_of("room.member.removed").await;
    assert_eq!(told["payload"], json!({"room_id": house.room, "user_id": house.ben.id, "reason": "banned"}));
    let heard = until_pong(&mut b).await;
    assert!(heard.iter().all(|event| !event.to_string().contains("without ben")));
    let removed = heard.iter().find(|event| event["type"] == "room.removed").unwrap();
    assert_eq!(removed["payload"], json!({"room_id": house.room, "reason": "banned"}));

    assert_eq!(house.refused("POST", "/join", &house.ben, None).await, no(403, "banned"));
    let (status, answer) = house.server.ask("POST", &accept, Some(&house.ben.token), None).await;
    assert_eq!((status, &answer["code"]), (403, &json!("banned")));
    let refused = b.ask("room.join", json!({"room_id": house.room})).await;
    assert_eq!(refused["payload"]["code"], "forbidden", "{refused}");
    let body = Some(json!({"username": "ben"}));
    assert_eq!(house.refused("POST", "/members", &house.ana, body).await, no(409, "banned"));
    assert_eq!(house.refused("GET", "/messages", &house.ben, None).await, no(403, "forbidden"));
    let refused = b.ask("chat.message.send", json!({"room_id": house.room, "content": "hello?"})).await;
    assert_eq!(refused["payload"]["code"], "forbidden");
    assert_eq!(house.ask("GET", "", &house.ana, None).await.1["member_count"], 1);

    // A private room says no more to a banned one than to any stranger.
    house.done("PATCH", "", &house.ana, Some(json!({"visibility": "private"}))).await;
    assert_eq!(house.refused("POST", "/join", &house.ben, None).await, no(404, "not_found"));
    assert_eq!(b.ask("room.join", json!({"room_id": house.room})).await["payload"]["code"], "not_found");

    house.done("DELETE", &ban, &house.ana, None).await;
    assert_eq!(house.server.ask("POST", &accept, Some(&house.ben.token), None).await.0, 200);
    b.join(&house.room).await;
    house.server.stop().await;
}
