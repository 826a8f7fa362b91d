//! Ringing: who hears it, and when it stops.

use serde_json::{Value, json};

use super::{Pair, code, conflict, ok, pair};
use crate::kit::{Account, Peer, soon};

/// Whatever of `call` came before the answer to a ping.
async fn heard(peer: &mut Peer) -> Vec<Value> {
    let pong = peer.ask("system.ping", json!({})).await;
    assert_eq!(pong["type"], "system.pong", "{pong}");
    let all: Vec<Value> = std::mem::take(&mut peer.waiting).into();
    all.into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("call.")).collect()
}

async fn ring(p: &mut Pair, call: &str) {
    let ask = p.about(call, json!({"media": ["audio", "video"]}));
    ok(&p.a.ask("call.ring", ask).await);
}

async fn is_over(peer: &mut Peer, call: &str, reason: &str, who: &str) -> Value {
    let over = peer.next_of("call.cancel").await;
    let payload = &over["payload"];
    assert_eq!((&payload["call_id"], &payload["reason"]), (&json!(call), &json!(reason)), "{over}");
    assert_eq!(payload["from_user"], who, "{over}");
    over
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rings_everywhere_until_it_is_answered_somewhere() {
    let mut p = pair().await;
    let cat = p.server.register("cat").await;
    p.server.add(&p.ana, &p.room, &cat).await;
    let (mut a2, mut b2) = (p.server.peer(&p.ana).await, p.server.peer(&p.ben).await);
    let mut c = p.server.peer(&cat).await;
    let mut stranger = p.server.peer(&p.server.register("eve").await).await;
    ring(&mut p, "c1").await;
    for peer in [&mut p.b, &mut b2, &mut c] {
        let ringing = peer.next_of("call.ringing").await;
        assert_eq!((&ringing["from"], &ringing["to"]), (&json!(p.a.id), &json!(p.room)), "{ringing}");
        let told = json!({"room_id": p.room, "call_id": "c1", "from_user": p.ana.id, "media": ["audio", "video"]});
        assert_eq!(ringing["payload"], told);
    }
    // Whoever comes while it rings hears it, right after the welcome.
    let mut b3 = Peer::connect(&p.server.base, &p.ben.token).await;
    b3.hello().await;
    assert_eq!(b3.next().await["type"], "call.ringing");
    // Ana's own devices do not ring, nor does anybody else's.
    for peer in [&mut p.a, &mut a2, &mut stranger] {
        assert_eq!(heard(peer).await, Vec::<Value>::new());
    }
    // Ana signals to one of Ben's devices, which answers: his others stop, Cat's goes on.
    p.call("c1").await;
    for peer in [&mut b2, &mut b3] {
        is_over(peer, "c1", "answered", &p.ben.id).await;
    }
    assert_eq!(heard(&mut p.b).await, Vec::<Value>::new());
    assert_eq!(heard(&mut c).await, Vec::<Value>::new());
    let again = p.about("c1", json!({}));
    assert_eq!(conflict(&p.b.ask("call.decline", again).await), "done_already");
    // She takes it back for those who have not answered; the call goes on.
    ok(&p.a.ask("call.cancel", p.about("c1", json!({}))).await);
    is_over(&mut c, "c1", "cancelled", &p.ana.id).await;
    is_over(&mut a2, "c1", "cancelled", &p.ana.id).await;
    for peer in [&mut p.a, &mut p.b, &mut b2, &mut b3] {
        assert_eq!(heard(peer).await, Vec::<Value>::new());
    }
    let (b, ice) = (p.b.id.clone(), p.about("c1", json!({"candidate": null})));
    ok(&p.a.ask_to(&b, "rtc.ice", ice).await);
    drop((a2, b2, b3, c, stranger));
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_declines_stops_it_on_all_their_devices() {
    let mut p = pair().await;
    let mut b2 = p.server.peer(&p.ben).await;
    ring(&mut p, "c1").await;
    b2.next_of("call.ringing").await;
    let about = p.about("c1", json!({}));
    ok(&p.b.ask("call.decline", about.clone()).await);
    for peer in [&mut p.a, &mut b2] {
        let declined = peer.next_of("call.decline").await;
        let told = json!({"room_id": p.room, "call_id": "c1", "from_user": p.ben.id});
        assert_eq!((&declined["payload"], &declined["from"]), (&told, &json!(p.b.id)), "{declined}");
    }
    // Nobody is left for whom it could ring.
    assert_eq!(code(&b2.ask("call.decline", about.clone()).await), "not_found");
    assert_eq!(code(&p.a.ask("call.cancel", about).await), "not_found");
    let mut b3 = p.server.peer(&p.ben).await;
    assert_eq!(heard(&mut b3).await, Vec::<Value>::new());
    drop((b2, b3));
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_taken_back_too_long_or_its_caller_is_gone() {
    let mut p = pair().await;
    let mut a2 = p.server.peer(&p.ana).await;
    // On another device than the one that rang.
    ring(&mut p, "c1").await;
    let about = p.about("c1", json!({}));
    assert_eq!(code(&p.b.ask("call.cancel", about.clone()).await), "forbidden");
    ok(&a2.ask("call.cancel", about).await);
    for peer in [&mut p.a, &mut p.b] {
        let over = is_over(peer, "c1", "cancelled", &p.ana.id).await;
        assert_eq!(over["from"], a2.id.as_str());
    }
    // A minute is enough.
    ring(&mut p, "c2").await;
    p.server.advance(59);
    assert_eq!(heard(&mut p.b).await.last().unwrap()["type"], "call.ringing");
    p.server.advance(1);
    for peer in [&mut p.a, &mut p.b, &mut a2] {
        let over = is_over(peer, "c2", "timeout", &p.ana.id).await;
        assert_eq!(over["from"], "server");
    }
    // The connection that rang is gone, though Ana has another.
    ring(&mut p, "c3").await;
    let gone = std::mem::replace(&mut p.a, p.server.peer(&p.ana).await);
    drop(gone);
    is_over(&mut p.b, "c3", "peer_gone", &p.ana.id).await;
    is_over(&mut a2, "c3", "peer_gone", &p.ana.id).await;
    drop(a2);
    p.server.stop().await;
}

/// Each of these ends it before its own answer leaves, and nobody hears more of the room than they may.
#[tokio::test(flavor = "multi_thread")]
async fn it_falls_with_what_it_stands_on() {
    for what in ["kick", "logout", "room"] {
        let mut p = pair().await;
        let (ana, ben) = (p.ana.id.clone(), p.ben.id.clone());
        let cat = p.server.register("cat").await;
        p.server.add(&p.ana, &p.room, &cat).await;
        let mut c = p.server.peer(&cat).await;
        // Ben rings, and Ana ends what his ring stands on.
        ok(&p.b.ask("call.ring", p.about("c1", json!({"media": ["audio"]}))).await);
        c.next_of("call.ringing").await;
        let room = format!("/api/rooms/{}", p.room);
        let (method, path, who) = match what {
            "kick" => ("DELETE", format!("{room}/members/{ben}"), &p.ana),
            "logout" => ("POST", "/api/auth/logout".to_owned(), &p.ben),
            _ => ("DELETE", room, &p.ana),
        };
        assert_eq!(p.server.ask(method, &path, Some(&who.token), None).await.0, 204, "{what}");
        match what {
            "room" => {
                c.next_of("room.removed").await;
                assert_eq!(heard(&mut c).await, Vec::<Value>::new());
            }
            _ => {
                is_over(&mut c, "c1", "peer_gone", &ben).await;
            }
        }
        // The name is free again.
        if what != "room" {
            ring(&mut p, "c1").await;
            assert_eq!(c.next_of("call.ringing").await["payload"]["from_user"], ana.as_str());
        }
        drop(c);
        p.server.stop().await;
    }
}

/// Whoever is put out while it rings for them hears no more of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_put_out_is_rung_no_more() {
    let mut p = pair().await;
    ring(&mut p, "c1").await;
    p.b.next_of("call.ringing").await;
    let path = format!("/api/rooms/{}/members/{}", p.room, p.ben.id);
    assert_eq!(p.server.ask("DELETE", &path, Some(&p.ana.token), None).await.0, 204);
    p.b.next_of("room.removed").await;
    let about = p.about("c1", json!({}));
    assert_eq!(code(&p.b.ask("call.decline", about.clone()).await), "not_found");
    assert_eq!(heard(&mut p.server.peer(&p.ben).await).await, Vec::<Value>::new());
    ok(&p.a.ask("call.cancel", about).await);
    assert_eq!(heard(&mut p.b).await, Vec::<Value>::new());
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_ring_is_named() {
    let mut p = pair().await;
    for media in [json!([]), json!(["smell"]), json!("audio"), json!(["audio", "video", "audio"]), json!(null)] {
        let refused = p.a.ask("call.ring", p.about("c1", json!({"media": media}))).await;
        assert_eq!(code(&refused), "invalid_payload", "{refused}");
        assert!(refused["payload"]["message"].as_str().unwrap().contains("media"), "{refused}");
    }
    for call in ["", "a\nb", &"x".repeat(65)] {
        let refused = p.a.ask("call.ring", p.about(call, json!({"media": ["audio"]}))).await;
        assert_eq!(code(&refused), "invalid_payload", "{refused}");
    }
    ring(&mut p, "c1").await;
    let twice = p.about("c1", json!({"media": ["audio"]}));
    assert_eq!(conflict(&p.a.ask("call.ring", twice.clone()).await), "rings_already");
    assert_eq!(conflict(&p.b.ask("call.ring", twice).await), "rings_already");
    // Ten a minute disturb enough.
    for n in 2..=10 {
        ring(&mut p, &format!("c{n}")).await;
    }
    let refused = p.a.ask("call.ring", p.about("c11", json!({"media": ["audio"]}))).await;
    assert_eq!(code(&refused), "rate_limited");
    assert!((1..=60_000).contains(&refused["payload"]["retry_after_ms"].as_u64().unwrap()), "{refused}");
    p.server.advance(60);
    ring(&mut p, "c11").await;
    p.server.stop().await;
}

/// Push or not, whoever comes back sees who called.
#[tokio::test(flavor = "multi_thread")]
async fn a_missed_call_stands_in_the_room_until_it_is_read() {
    let mut p = pair().await;
    let (cat, dan) = (p.server.register("cat").await, p.server.register("dan").await);
    for who in [&cat, &dan] {
        p.server.add(&p.ana, &p.room, who).await;
    }
    let path = format!("/api/rooms/{}", p.room);
    let missed = async |p: &Pair, who: &Account| p.server.get(&path, who).await.1["missed_calls"].clone();
    let read = async |p: &Pair, who: &Account, seq: u64| {
        p.server.ask("PUT", &format!("{path}/read"), Some(&who.token), Some(json!({"seq": seq}))).await.0
    };
    // Ben hears it and lets it ring, Cat does not want it, Dan is away.
    let mut c = p.server.peer(&cat).await;
    for (call, count) in [("c1", 1), ("c2", 2)] {
        ring(&mut p, call).await;
        c.next_of("call.ringing").await;
        ok(&c.ask("call.decline", p.about(call, json!({}))).await);
        p.server.advance(60);
        is_over(&mut p.b, call, "timeout", &p.ana.id).await;
        soon("the record", async {
            while missed(&p, &dan).await["count"] != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let told = missed(&p, &dan).await;
    assert_eq!((&told["from_user"], told["at"].is_string()), (&json!(p.ana.id), true), "{told}");
    assert_eq!(missed(&p, &p.ben).await, told);
    for who in [&p.ana, &cat] {
        assert_eq!(missed(&p, who).await, json!(null));
    }
    let mut d = Peer::connect(&p.server.base, &dan.token).await;
    let welcome = d.hello().await;
    assert_eq!(welcome["payload"]["rooms"][0]["missed_calls"], told, "{welcome}");
    // What the room is told of itself is the same for all.
    let renamed = p.server.ask("PATCH", &path, Some(&p.ana.token), Some(json!({"name": "Kitchen"}))).await;
    assert_eq!(renamed.0, 200, "{}", renamed.1);
    d.join(&p.room).await;
    // Nothing was said: that he has looked is enough.
    assert_eq!(read(&p, &dan, 0).await, 204);
    assert_eq!(missed(&p, &dan).await, json!(null));
    assert_eq!(missed(&p, &p.ben).await, told, "each sees their own");
    p.a.join(&p.room).await;
    p.a.say(&p.room, "never mind").await;
    assert_eq!(read(&p, &p.ben, 1).await, 204);
    assert_eq!(missed(&p, &p.ben).await, json!(null));
    drop((c, d));
    p.server.stop().await;
}
