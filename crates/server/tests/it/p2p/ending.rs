//! What ends a session: both sides hear it at once, as far as they are there.

use serde_json::{Value, json};

use super::{Pair, code, heard, pair};
use crate::kit::Peer;

async fn closed(peer: &mut Peer, id: &str, reason: &str) {
    let event = peer.next_of("p2p.session.closed").await;
    assert_eq!((&event["from"], &event["to"]), (&json!("server"), &json!(peer.id)));
    assert_eq!(event["payload"], json!({"session_id": id, "reason": reason}));
}

async fn both_hear(p: &mut Pair, id: &str, reason: &str) {
    closed(&mut p.a, id, reason).await;
    closed(&mut p.b, id, reason).await;
    let answer = p.a.ask("p2p.session.close", json!({"session_id": id})).await;
    assert_eq!(code(&answer), "not_found");
}

/// A session that stands, or one that waits for its answer.
async fn session(p: &mut Pair, made: bool) -> String {
    let id = p.ask().await;
    if made {
        p.accept(&id).await;
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn with_either_peer() {
    for made in [false, true] {
        let mut p = pair().await;
        let id = session(&mut p, made).await;
        drop(std::mem::replace(&mut p.a, p.server.peer(&p.ana).await));
        closed(&mut p.b, &id, "peer_gone").await;
        let id = session(&mut p, made).await;
        drop(std::mem::replace(&mut p.b, p.server.peer(&p.ben).await));
        closed(&mut p.a, &id, "peer_gone").await;
        p.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_membership_of_either() {
    for (how, reason) in
        [("kick", "member_removed"), ("ban", "member_removed"), ("leave", "member_removed"), ("room", "room_deleted")]
    {
        let mut p = pair().await;
        let (asked, made) = (session(&mut p, false).await, session(&mut p, true).await);
        let room = format!("/api/rooms/{}", p.room);
        match how {
            "kick" => p.done("DELETE", &format!("{room}/members/{}", p.ben.id), None).await,
            "ban" => p.done("PUT", &format!("{room}/bans/{}", p.ben.id), Some(json!({}))).await,
            "room" => p.done("DELETE", &room, None).await,
            _ => {
                let path = format!("{room}/members/me");
                assert_eq!(p.server.ask("DELETE", &path, Some(&p.ben.token), None).await.0, 204);
            }
        }
        for peer in [&mut p.a, &mut p.b] {
            let events = heard(peer, &["p2p.session.closed"]).await;
            let told: Vec<&Value> = events.iter().map(|event| &event["payload"]).collect();
            assert_eq!(told.len(), 2, "{how}: {told:?}");
            for id in [&asked, &made] {
                assert!(told.contains(&&json!({"session_id": id, "reason": reason})), "{how}: {told:?}");
            }
        }
        p.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_role_that_may_ask() {
    let mut p = pair().await;
    // Ben asks, for a file and to look at a terminal; as a guest he may only look.
    std::mem::swap(&mut p.a, &mut p.b);
    std::mem::swap(&mut p.ana, &mut p.ben);
    let file = session(&mut p, true).await;
    let token = p.token(&p.ana, "terminal:view", json!({})).await;
    let request = p.request(&token, json!({"kind": "terminal"}));
    let answer = p.a.ask("p2p.session.request", request).await;
    assert_eq!(answer["type"], "system.ack", "{answer}");
    std::mem::swap(&mut p.ana, &mut p.ben);
    p.make_ben("guest").await;
    both_hear(&mut p, &file, "role_changed").await;
    assert!(heard(&mut p.a, &["p2p.session.closed"]).await.is_empty());
    let close = p.a.ask("p2p.session.close", answer["payload"].clone()).await;
    assert_eq!(close["type"], "p2p.session.closed", "it stands still: {close}");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_login_of_either_connection() {
    for who in ["ana", "ben"] {
        let mut p = pair().await;
        let id = session(&mut p, true).await;
        let account = if who == "ana" { &p.ana } else { &p.ben };
        assert_eq!(p.server.post("/api/auth/logout", account, json!({})).await.0, 204);
        let (there, gone) = if who == "ana" { (&mut p.b, &mut p.a) } else { (&mut p.a, &mut p.b) };
        closed(there, &id, "peer_gone").await;
        let (close, _, events) = gone.closed().await;
        assert_eq!(close, 4401);
        // It hears so too, before it is closed.
        assert!(events.iter().any(|event| event["type"] == "p2p.session.closed"), "{events:?}");
        p.server.stop().await;
    }
}

/// The login that asked for the capability ends; both connections stand on others and go on, the session does not.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_login_behind_the_capability() {
    let mut p = pair().await;
    let body = json!({"username": "ana", "password": "correct horse battery"});
    let (_, login) = p.server.ask("POST", "/api/auth/login", None, Some(body)).await;
    let elsewhere = crate::kit::Account { token: login["access_token"].as_str().unwrap().to_owned(), ..p.ana.clone() };
    let token = p.token(&elsewhere, "share:file", json!({})).await;
    let request = p.request(&token, json!({}));
    let answer = p.a.ask("p2p.session.request", request).await;
    let id = answer["payload"]["session_id"].as_str().unwrap().to_owned();
    p.accept(&id).await;
    assert_eq!(p.server.post("/api/auth/logout", &elsewhere, json!({})).await.0, 204);
    both_hear(&mut p, &id, "peer_gone").await;
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_account() {
    let mut p = pair().await;
    let id = session(&mut p, true).await;
    // The first account is the administrator.
    p.done("PATCH", &format!("/api/admin/users/{}", p.ben.id), Some(json!({"disabled": true}))).await;
    closed(&mut p.a, &id, "peer_gone").await;
    assert_eq!(p.b.closed().await.0, 4403);
    p.server.stop().await;
}
