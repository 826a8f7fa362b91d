//! Who types in a terminal: at most one peer besides its owner, and everybody knows who.

use serde_json::{Value, json};

use super::{Pair, code, heard, pair};
use crate::kit::{Account, Peer};

/// Ben shares a terminal in the room; ana listens.
async fn terminal() -> Pair {
    let mut p = pair().await;
    p.a.join(&p.room).await;
    let ask = json!({"room_id": p.room, "terminal_id": "t1", "title": "Build", "cols": 120, "rows": 40});
    assert_eq!(p.b.ask("terminal.share", ask).await["type"], "terminal.shared");
    p
}

async fn request(p: &Pair, who: &Account, peer: &mut Peer, more: Value) -> Value {
    let token = p.token(who, "terminal:control", more).await;
    peer.ask("terminal.control.request", json!({"terminal_id": "t1", "capability_token": token})).await
}

/// Ana's peer asks, and ben grants.
async fn controlled(p: &mut Pair) {
    let mut a = std::mem::replace(&mut p.a, p.server.peer(&p.ana).await);
    let answer = request(p, &p.ana, &mut a, json!({})).await;
    p.a = a;
    assert_eq!(answer["type"], "system.ack", "{answer}");
    p.b.next_of("terminal.control.requested").await;
    let granted = p.b.ask("terminal.control.grant", json!({"terminal_id": "t1", "peer_id": p.a.id})).await;
    assert_eq!(granted["type"], "terminal.control.changed", "{granted}");
}

async fn controller(p: &Pair) -> Value {
    p.server.peer(&p.ana).await.join(&p.room).await["payload"]["terminals"][0]["controller"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_granted_and_given_back() {
    let mut p = terminal().await;
    let mut a = std::mem::replace(&mut p.a, p.server.peer(&p.ana).await);
    // Ben has not been asked.
    let early = p.b.ask("terminal.control.grant", json!({"terminal_id": "t1", "peer_id": a.id})).await;
    assert_eq!(code(&early), "conflict");
    let answer = request(&p, &p.ana, &mut a, json!({"target_peer_id": p.b.id})).await;
    assert_eq!(answer["type"], "system.ack", "{answer}");
    let asked = p.b.next_of("terminal.control.requested").await;
    assert_eq!((&asked["from"], &asked["to"]), (&json!(a.id), &json!(p.b.id)));
    assert_eq!((&asked["payload"]["terminal_id"], &asked["payload"]["room_id"]), (&json!("t1"), &json!(p.room)));
    assert_eq!((&asked["payload"]["from_peer"], &asked["payload"]["from_user"]), (&json!(a.id), &json!(p.ana.id)));
    // Nobody else grants it, or gives back what they don't have.
    let grant = json!({"terminal_id": "t1", "peer_id": a.id});
    assert_eq!(code(&a.ask("terminal.control.grant", grant.clone()).await), "not_found");
    assert_eq!(code(&a.ask("terminal.control.release", json!({"terminal_id": "t1"})).await), "not_found");
    let granted = p.b.ask("terminal.control.grant", grant.clone()).await;
    let expected = json!({"room_id": p.room, "terminal_id": "t1", "controller": a.id});
    assert_eq!((&granted["type"], &granted["payload"]), (&json!("terminal.control.changed"), &expected));
    let told = a.next_of("terminal.control.changed").await;
    assert_eq!((&told["from"], &told["to"], &told["payload"]), (&json!(p.b.id), &json!(p.room), &expected));
    assert_eq!(controller(&p).await, json!(a.id));
    // Again: nothing to tell.
    assert_eq!(p.b.ask("terminal.control.grant", grant).await["type"], "system.ack");
    assert!(heard(&mut a, &["terminal.control"]).await.is_empty());
    let released = a.ask("terminal.control.release", json!({"terminal_id": "t1"})).await;
    let free = json!({"room_id": p.room, "terminal_id": "t1", "controller": null});
    assert_eq!((&released["type"], &released["payload"]), (&json!("terminal.control.changed"), &free));
    assert_eq!(controller(&p).await, Value::Null);
    assert_eq!(p.b.ask("terminal.control.revoke", json!({"terminal_id": "t1"})).await["type"], "system.ack");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_it_from_another() {
    let mut p = terminal().await;
    controlled(&mut p).await;
    let cat = p.server.register("cat").await;
    p.server.add(&p.ana, &p.room, &cat).await;
    let mut c = p.server.peer(&cat).await;
    c.join(&p.room).await;
    assert_eq!(request(&p, &cat, &mut c, json!({})).await["type"], "system.ack");
    let grant = json!({"terminal_id": "t1", "peer_id": c.id});
    assert_eq!(code(&p.b.ask("terminal.control.grant", grant.clone()).await), "conflict");
    assert_eq!(controller(&p).await, json!(p.a.id));
    assert_eq!(
        p.b.ask("terminal.control.revoke", json!({"terminal_id": "t1"})).await["payload"]["controller"],
        Value::Null
    );
    assert_eq!(p.b.ask("terminal.control.grant", grant).await["payload"]["controller"], c.id.as_str());
    // The one before has nothing to give back.
    assert_eq!(code(&p.a.ask("terminal.control.release", json!({"terminal_id": "t1"})).await), "not_found");
    for expected in [Value::Null, json!(c.id)] {
        let told = c.next_of("terminal.control.changed").await;
        assert_eq!(told["payload"]["controller"], expected);
    }
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_falls_free_when_the_controller_goes() {
    for how in ["gone", "logout", "kick", "guest"] {
        let mut p = terminal().await;
        let cat = p.server.register("cat").await;
        p.server.add(&p.ana, &p.room, &cat).await;
        let mut c = p.server.peer(&cat).await;
        assert_eq!(request(&p, &cat, &mut c, json!({})).await["type"], "system.ack");
        p.b.ask("terminal.control.grant", json!({"terminal_id": "t1", "peer_id": c.id})).await;
        let told = p.a.next_of("terminal.control.changed").await;
        assert_eq!(told["payload"]["controller"], c.id.as_str());
        let member = format!("/api/rooms/{}/members/{}", p.room, cat.id);
        match how {
            "gone" => drop(c),
            "logout" => assert_eq!(p.server.post("/api/auth/logout", &cat, json!({})).await.0, 204),
            "kick" => p.done("DELETE", &member, None).await,
            _ => p.done("PATCH", &member, Some(json!({"role": "guest"}))).await,
        }
        let told = p.a.next_of("terminal.control.changed").await;
        assert_eq!((&told["from"], &told["payload"]["controller"]), (&json!("server"), &Value::Null), "{how}");
        p.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_needs_a_capability_and_a_terminal() {
    let mut p = terminal().await;
    let ask = |token: Value, terminal: &str| json!({"terminal_id": terminal, "capability_token": token});
    let kind = "terminal.control.request";
    assert_eq!(code(&p.a.ask(kind, ask(Value::Null, "t1")).await), "capability_required");
    let view = p.token(&p.ana, "terminal:view", json!({})).await;
    let bens = p.token(&p.ben, "terminal:control", json!({})).await;
    let named = p.token(&p.ana, "terminal:control", json!({"target_peer_id": "somebody"})).await;
    for token in [json!(view), json!(bens), json!(named), json!(p.ana.token), json!("x")] {
        assert_eq!(code(&p.a.ask(kind, ask(token, "t1")).await), "capability_invalid");
    }
    let good = p.token(&p.ana, "terminal:control", json!({})).await;
    assert_eq!(code(&p.a.ask(kind, ask(json!(good), "t2")).await), "not_found");
    assert_eq!(code(&p.b.ask(kind, ask(json!(bens), "t1")).await), "conflict");
    assert!(heard(&mut p.b, &["terminal.control"]).await.is_empty());
    // It can be granted as long as the capability lives.
    assert_eq!(p.a.ask(kind, ask(json!(good), "t1")).await["type"], "system.ack");
    p.server.advance(121);
    let late = p.b.ask("terminal.control.grant", json!({"terminal_id": "t1", "peer_id": p.a.id})).await;
    assert_eq!(code(&late), "conflict");
    p.server.stop().await;
}

/// To a stranger a terminal of a private room is none, whatever they ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_learns_nothing_of_it() {
    let mut p = terminal().await;
    controlled(&mut p).await;
    let id = p.ask().await;
    let eve = p.server.register("eve").await;
    let mut stranger = p.server.peer(&eve).await;
    let absent = "00000000-0000-7000-8000-00000000abcd";
    let offer = json!({"endpoints": ["192.0.2.1:1"], "fingerprint": super::print(1)});
    let anas = p.token(&p.ana, "terminal:control", json!({})).await;
    for (kind, field, real, none, more) in [
        ("p2p.session.accept", "session_id", &*id, absent, offer),
        ("p2p.session.reject", "session_id", &id, absent, json!({})),
        ("p2p.session.close", "session_id", &id, absent, json!({})),
        ("terminal.control.grant", "terminal_id", "t1", "none", json!({"peer_id": p.a.id})),
        ("terminal.control.release", "terminal_id", "t1", "none", json!({})),
        ("terminal.control.revoke", "terminal_id", "t1", "none", json!({"room_id": p.room})),
        ("terminal.control.request", "terminal_id", "t1", "none", json!({"capability_token": anas})),
    ] {
        let mut answers = Vec::new();
        for named in [real, none] {
            let mut payload = more.clone();
            payload[field] = json!(named);
            answers.push(stranger.ask(kind, payload).await["payload"].clone());
        }
        assert_eq!(answers[0], answers[1], "{kind}");
        let expected = if kind == "terminal.control.request" { "capability_invalid" } else { "not_found" };
        assert_eq!(answers[0]["code"], expected, "{kind}");
    }
    p.server.stop().await;
}
