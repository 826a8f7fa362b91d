//! What is relayed, to whom, and what is refused.

use serde_json::json;

use super::{code, conflict, ok, pair, pair_with, signals};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_says_the_other_hears_and_nobody_else() {
    let mut p = pair().await;
    let mut elsewhere = p.server.peer(&p.ben).await;
    elsewhere.join(&p.room).await;
    let token = p.token(&p.ana, json!({"target_peer_id": p.b.id, "capabilities": ["screen"]})).await;
    let more = json!({
        "sdp": {"type": "offer", "sdp": "v=0\r\n"}, "x-more": {"deep": [1, null, "é", -7, 1.5]}, "no": null,
        "big": 18_446_744_073_709_551_615_u64,
    });
    let sent = p.about("c 1", more);
    let mut offer = sent.clone();
    offer["capability_token"] = json!(token);
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    let answer = p.a.ask_to(&b, "rtc.offer", offer).await;
    ok(&answer);
    assert_eq!(answer["payload"], json!({"polite": false}));
    let heard = p.b.next_of("rtc.offer").await;
    assert_eq!((&heard["from"], &heard["to"]), (&json!(a), &json!(b)));
    assert_eq!(heard["payload"], sent, "all but the token");
    assert!(heard["id"].is_string() && heard["timestamp"].is_string());
    // The end of candidates is a null, which is not the same as nothing.
    for (kind, more) in [
        ("rtc.answer", json!({"sdp": "v=0"})),
        ("rtc.ice", json!({"candidate": {"candidate": "candidate:1 1 udp 1 192.0.2.7 9 typ host", "sdpMid": "0"}})),
        ("rtc.ice", json!({"candidate": null, "sdpMLineIndex": 0})),
    ] {
        let sent = p.about("c 1", more);
        let mut bearing = sent.clone();
        bearing["capability_token"] = json!(token);
        ok(&p.b.ask_to(&a, kind, bearing).await);
        let heard = p.a.next_of(kind).await;
        assert_eq!((&heard["from"], &heard["payload"]), (&json!(b), &sent));
    }
    let bye = p.about("c 1", json!({"reason": "dinner"}));
    ok(&p.a.ask_to(&b, "rtc.bye", bye.clone()).await);
    assert_eq!(p.b.next_of("rtc.bye").await["payload"], bye);
    let late = p.about("c 1", json!({"candidate": null}));
    assert_eq!(code(&p.b.ask_to(&a, "rtc.ice", late).await), "not_found");
    assert!(signals(&mut elsewhere).await.is_empty() && signals(&mut p.a).await.is_empty());
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_needs_a_capability_for_this_room_and_this_peer() {
    let mut p = pair().await;
    let other = p.server.room(&p.ana, "Salon").await;
    let b = p.b.id.clone();
    let bens = p.token(&p.ben, json!({})).await;
    let elsewhere = p.token(&p.ana, json!({"room_id": other})).await;
    let for_another = p.token(&p.ana, json!({"target_peer_id": "somebody"})).await;
    let for_files = p.token(&p.ana, json!({"capabilities": ["share:file"]})).await;
    let access = p.ana.token.clone();
    for token in [&*bens, &elsewhere, &for_another, &for_files, &access, "nonsense"] {
        let offer = p.about("c1", json!({"capability_token": token}));
        assert_eq!(code(&p.a.ask_to(&b, "rtc.offer", offer).await), "capability_invalid", "{token}");
    }
    for more in [json!({}), json!({"capability_token": null}), json!({"capability_token": ""})] {
        let offer = p.about("c1", more);
        assert_eq!(code(&p.a.ask_to(&b, "rtc.offer", offer).await), "capability_required");
    }
    for kind in ["rtc.answer", "rtc.ice", "rtc.bye"] {
        let token = p.token(&p.ana, json!({})).await;
        let payload = p.about("c1", json!({"capability_token": token}));
        assert_eq!(code(&p.a.ask_to(&b, kind, payload).await), "not_found", "no offer has opened it");
    }
    let late = p.token(&p.ana, json!({"ttl": 60})).await;
    p.server.advance(61);
    let offer = p.about("c1", json!({"capability_token": late}));
    assert_eq!(code(&p.a.ask_to(&b, "rtc.offer", offer).await), "capability_invalid");
    assert!(signals(&mut p.b).await.is_empty(), "nothing of it was relayed");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_another_peer_of_the_room_is_reached() {
    let mut p = pair().await;
    let eve = p.server.register("eve").await;
    let stranger = p.server.peer(&eve).await;
    let token = p.token(&p.ana, json!({})).await;
    let own = p.a.id.clone();
    let offer = p.about("c1", json!({"capability_token": token}));
    for absent in ["nobody", stranger.id.as_str()] {
        let refused = p.a.ask_to(absent, "rtc.offer", offer.clone()).await;
        assert_eq!((code(&refused), &refused["payload"]["retryable"]), ("peer_offline", &json!(true)));
    }
    for nobody in ["server", "", "no peer", own.as_str()] {
        let refused = p.a.ask_to(nobody, "rtc.offer", offer.clone()).await;
        assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!("to")));
    }
    let refused = p.a.ask("rtc.offer", offer).await;
    assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!("to")));
    for (payload, field) in [
        (json!({"room_id": p.room}), "call_id"),
        (json!({"room_id": p.room, "call_id": ""}), "call_id"),
        (json!({"room_id": p.room, "call_id": "x".repeat(65)}), "call_id"),
        (json!({"call_id": "c1"}), "room_id"),
        (json!({"room_id": p.room, "call_id": "c1", "capability_token": 5}), "capability_token"),
    ] {
        let refused = p.a.ask_to("nobody", "rtc.offer", payload).await;
        assert_eq!(code(&refused), "invalid_payload", "{field}");
        assert!(refused["payload"]["message"].as_str().unwrap().contains(field), "{refused}");
    }
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_offer_the_server_decides() {
    let mut p = pair().await;
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    let (anas, bens) = (p.token(&p.ana, json!({})).await, p.token(&p.ben, json!({})).await);
    let (from_a, from_b) =
        (p.about("c1", json!({"capability_token": anas})), p.about("c1", json!({"capability_token": bens})));
    // At once, from two sockets: one offer stands, whichever it is.
    let (one, other) =
        tokio::join!(p.a.ask_to(&b, "rtc.offer", from_a.clone()), p.b.ask_to(&a, "rtc.offer", from_b.clone()));
    let (winner, loser, to_winner, lost) =
        if one["type"] == "system.ack" { (&mut p.a, &mut p.b, a, other) } else { (&mut p.b, &mut p.a, b, one) };
    assert_eq!(conflict(&lost), "glare");
    assert_eq!(lost["payload"]["details"]["polite"], true);
    loser.next_of("rtc.offer").await;
    assert!(signals(winner).await.is_empty(), "the other offer did not come");
    let answer = json!({"room_id": p.room, "call_id": "c1", "sdp": "v=0"});
    ok(&loser.ask_to(&to_winner, "rtc.answer", answer.clone()).await);
    winner.next_of("rtc.answer").await;
    assert_eq!(conflict(&loser.ask_to(&to_winner, "rtc.answer", answer).await), "nothing_to_answer");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_changed_by_a_further_offer_of_either() {
    let mut p = pair().await;
    p.call("c1").await;
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    let without = p.about("c1", json!({"sdp": "v=0"}));
    assert_eq!(code(&p.b.ask_to(&a, "rtc.offer", without.clone()).await), "capability_required");
    let bens = p.token(&p.ben, json!({"capabilities": ["screen"]})).await;
    let offer = p.about("c1", json!({"capability_token": bens}));
    ok(&p.b.ask_to(&a, "rtc.offer", offer.clone()).await);
    // Made anew before it is answered, as WebRTC lets one; the other one's has to wait all the same.
    ok(&p.b.ask_to(&a, "rtc.offer", offer).await);
    for _ in 0..2 {
        p.a.next_of("rtc.offer").await;
    }
    let anas = p.token(&p.ana, json!({})).await;
    let late = p.about("c1", json!({"capability_token": anas}));
    assert_eq!(conflict(&p.a.ask_to(&b, "rtc.offer", late).await), "glare");
    ok(&p.a.ask_to(&b, "rtc.answer", without).await);
    p.b.next_of("rtc.answer").await;
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_not_stopped_by_the_limit_of_chat_and_have_one_of_their_own() {
    // Of anything else, twenty events at once.
    let mut p = pair_with(&[("MESH_EVENTS_PER_SECOND", "5")]).await;
    p.call("c1").await;
    let b = p.b.id.clone();
    let burst = mesh_protocol::limits::SIGNALS_BURST;
    let candidate = "candidate:1 1 udp 2122260223 192.0.2.7 46154 typ host";
    for n in 0..burst / 2 {
        let ice = p.about("c1", json!({"candidate": candidate, "n": n}));
        p.a.send(json!({"type": "rtc.ice", "to": b, "payload": ice})).await;
    }
    for n in 0..burst / 2 {
        assert_eq!(p.b.next_of("rtc.ice").await["payload"]["n"], n, "in order, none missing");
    }
    // Faster than what is regained.
    let mut refused = None;
    for n in 0..4 * burst {
        let ice = p.about("c1", json!({"n": n}));
        let answer = p.a.ask_to(&b, "rtc.ice", ice).await;
        if answer["type"] == "system.error" {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(code(&refused), "rate_limited");
    assert!(refused["payload"]["retry_after_ms"].as_u64().unwrap() > 0);
    p.a.join(&p.room).await;
    p.a.say(&p.room, "chat goes on").await;
    p.server.stop().await;
}

/// Somebody who talks to a peer that does not read hears so; the other's connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_not_ended_by_who_talks_to_it() {
    let mut p = pair().await;
    p.call("c1").await;
    let b = p.b.id.clone();
    // Bigger than what two sockets hold on to, and than a queue takes.
    let large = "x".repeat(60_000);
    let mut refused = None;
    for n in 0..900 {
        let ice = p.about("c1", json!({"candidate": large, "n": n}));
        let answer = p.a.ask_to(&b, "rtc.ice", ice).await;
        if answer["type"] == "system.error" {
            refused = Some((n, answer));
            break;
        }
    }
    let (n, answer) = refused.unwrap();
    assert_eq!(code(&answer), "peer_offline");
    // What was acknowledged stands in the queue, and nothing else.
    for expected in 0..n {
        assert_eq!(p.b.next_of("rtc.ice").await["payload"]["n"], expected);
    }
    assert!(signals(&mut p.b).await.is_empty());
    p.server.stop().await;
}
