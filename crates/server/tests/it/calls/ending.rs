//! What ends a call: both of the two hear why, as far as they are there.

use serde_json::{Value, json};

use super::{Pair, code, ok, pair, signals};
use crate::kit::Peer;

/// The server's own word that the call with `other` is over.
async fn bye(peer: &mut Peer, other: &str, reason: &str) {
    let bye = peer.next_of("rtc.bye").await;
    assert_eq!((&bye["from"], &bye["to"]), (&json!("server"), &json!(peer.id)));
    let payload = &bye["payload"];
    assert_eq!((&payload["reason"], &payload["peer_id"]), (&json!(reason), &json!(other)), "{bye}");
    assert_eq!(payload["call_id"], "c1");
}

async fn both_hear(p: &mut Pair, reason: &str) {
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    bye(&mut p.a, &b, reason).await;
    bye(&mut p.b, &a, reason).await;
}

async fn done(p: &Pair, method: &str, path: &str, body: Option<Value>) {
    let (status, answer) = p.server.ask(method, path, Some(&p.ana.token), body).await;
    assert!((200..300).contains(&status), "{method} {path}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_peer() {
    let mut p = pair().await;
    p.call("c1").await;
    let a = p.a.id.clone();
    let gone = std::mem::replace(&mut p.a, p.server.peer(&p.ana).await);
    drop(gone);
    bye(&mut p.b, &a, "peer_gone").await;
    let late = p.about("c1", json!({}));
    assert_eq!(code(&p.b.ask_to(&a, "rtc.bye", late).await), "peer_offline");
    p.server.stop().await;
}

/// A page that is loaded again comes back under its name, and knows nothing of the call.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_connection_that_another_one_replaces() {
    let mut p = pair().await;
    p.call("c1").await;
    let a = p.a.id.clone();
    let mut again = Peer::connect(&p.server.base, &p.ana.token).await;
    let hello = json!({"peer_type": "client", "version": "test"});
    again.send(json!({"type": "system.hello", "from": a, "payload": hello})).await;
    assert_eq!(again.next_of("system.welcome").await["payload"]["peer_id"], a.as_str());
    bye(&mut p.b, &a, "peer_gone").await;
    let ice = p.about("c1", json!({}));
    assert_eq!(code(&p.b.ask_to(&a, "rtc.ice", ice).await), "not_found");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_membership() {
    for (method, reason) in [("delete", "kicked"), ("ban", "banned"), ("leave", "left"), ("room", "room_deleted")] {
        let mut p = pair().await;
        p.call("c1").await;
        let room = format!("/api/rooms/{}", p.room);
        match method {
            "delete" => done(&p, "DELETE", &format!("{room}/members/{}", p.ben.id), None).await,
            "ban" => done(&p, "PUT", &format!("{room}/bans/{}", p.ben.id), Some(json!({}))).await,
            "room" => done(&p, "DELETE", &room, None).await,
            _ => {
                let path = format!("{room}/members/{}", p.ben.id);
                let (status, _) = p.server.ask("DELETE", &path, Some(&p.ben.token), None).await;
                assert_eq!(status, 204);
            }
        }
        both_hear(&mut p, reason).await;
        let (a, ice) = (p.a.id.clone(), p.about("c1", json!({})));
        assert_eq!(code(&p.b.ask_to(&a, "rtc.ice", ice).await), "not_found", "{method}");
        p.server.stop().await;
    }
}

/// The login that asked for the capability ends; both connections stand on others and go on, the call does not.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_login_behind_the_capability() {
    let mut p = pair().await;
    let body = json!({"username": "ana", "password": "correct horse battery"});
    let (_, login) = p.server.ask("POST", "/api/auth/login", None, Some(body)).await;
    let elsewhere = crate::kit::Account { token: login["access_token"].as_str().unwrap().to_owned(), ..p.ana.clone() };
    let token = p.token(&elsewhere, json!({})).await;
    let (b, offer) = (p.b.id.clone(), p.about("c1", json!({"capability_token": token})));
    ok(&p.a.ask_to(&b, "rtc.offer", offer.clone()).await);
    p.b.next_of("rtc.offer").await;
    assert_eq!(p.server.post("/api/auth/logout", &elsewhere, json!({})).await.0, 204);
    both_hear(&mut p, "session_ended").await;
    assert_eq!(code(&p.a.ask_to(&b, "rtc.offer", offer).await), "capability_invalid");
    assert!(signals(&mut p.b).await.is_empty());
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_login_of_a_connection() {
    let mut p = pair().await;
    p.call("c1").await;
    assert_eq!(p.server.post("/api/auth/logout", &p.ana, json!({})).await.0, 204);
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    bye(&mut p.b, &a, "session_ended").await;
    let (code, _, events) = p.a.closed().await;
    assert_eq!(code, 4401);
    let told = events.iter().find(|e| e["type"] == "rtc.bye").expect("told before it is closed");
    assert_eq!((&told["payload"]["reason"], &told["payload"]["peer_id"]), (&json!("session_ended"), &json!(b)));
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_account() {
    let mut p = pair().await;
    p.call("c1").await;
    // The first account is the administrator.
    done(&p, "PATCH", &format!("/api/admin/users/{}", p.ben.id), Some(json!({"disabled": true}))).await;
    let (a, b) = (p.a.id.clone(), p.b.id.clone());
    bye(&mut p.a, &b, "account_disabled").await;
    let (code, _, events) = p.b.closed().await;
    assert_eq!(code, 4403);
    assert!(events.iter().any(|e| e["type"] == "rtc.bye" && e["payload"]["peer_id"] == a.as_str()), "{events:?}");
    p.server.stop().await;
}
