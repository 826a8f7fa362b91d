//! Logins: refresh, end, tickets, and what dies with them.

use serde_json::{Value, json};

use crate::kit::{Account, Peer, Server};

async fn login(server: &Server, name: &str) -> (Account, String) {
    let body = json!({"username": name, "password": "correct horse battery"});
    let (status, answer) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let account =
        Account { id: text(&answer["user"]["id"]), name: name.to_owned(), token: text(&answer["access_token"]) };
    (account, text(&answer["refresh_token"]))
}

async fn refresh(server: &Server, token: &str) -> (u16, Value) {
    server.ask("POST", "/api/auth/refresh", None, Some(json!({"refresh_token": token}))).await
}

async fn me(server: &Server, who: &Account) -> u16 {
    server.get("/api/auth/me", who).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_a_lost_reply_logs_nobody_out() {
    let server = Server::start().await;
    server.register("ana").await;
    let (_, first) = login(&server, "ana").await;
    let (status, second) = refresh(&server, &first).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["refresh_token"], first.as_str());
    // The reply was lost: within 15 s the same again, as often as needed.
    for _ in 0..2 {
        server.advance(5);
        let (status, again) = refresh(&server, &first).await;
        assert_eq!((status, &again["refresh_token"]), (200, &second["refresh_token"]));
    }
    let (status, third) = refresh(&server, second["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    // The second was used, so the first is dead, though 15 s are not over; using it ends the login.
    let (status, problem) = refresh(&server, &first).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")));
    assert_eq!(refresh(&server, third["refresh_token"].as_str().unwrap()).await.0, 401, "the login is over");
    let token = third["access_token"].as_str().unwrap();
    assert_eq!(server.ask("GET", "/api/auth/me", Some(token), None).await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_an_old_refresh_token_ends_the_login_and_its_connections() {
    let server = Server::start().await;
    server.register("ana").await;
    let (ana, first) = login(&server, "ana").await;
    let mut peer = server.peer(&ana).await;
    assert_eq!(refresh(&server, &first).await.0, 200);
    server.advance(16);
    assert_eq!(refresh(&server, &first).await.0, 401);
    let (code, reason, events) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "token_reused"));
    let goodbye = events.iter().find(|e| e["type"] == "system.goodbye").expect("a goodbye before the close");
    assert_eq!(goodbye["payload"]["action"], "reconnect");
    assert_eq!(me(&server, &ana).await, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_end_a_login_with_a_forged_token() {
    let server = Server::start().await;
    server.register("ana").await;
    let (ana, first) = login(&server, "ana").await;
    let mut forged = first.clone().into_bytes();
    // Another nonce for the same login, without the server's mark on it.
    forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
    for bad in [String::from_utf8(forged).unwrap(), String::new(), "x".repeat(86), first[..40].to_owned()] {
        assert_eq!(refresh(&server, &bad).await.0, 401);
    }
    assert_eq!(me(&server, &ana).await, 200);
    assert_eq!(refresh(&server, &first).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_unused_for_its_days_is_over() {
    let server = Server::start_with(&[("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "2")]).await;
    server.register("ana").await;
    let (_, token) = login(&server, "ana").await;
    server.advance(86_400 + 3_600);
    let (status, next) = refresh(&server, &token).await;
    assert_eq!(status, 200, "used in time");
    server.advance(2 * 86_400 + 1);
    let (status, problem) = refresh(&server, next["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_expired")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_tokens_and_connections_of_that_login_only() {
    let server = Server::start().await;
    server.register("ana").await;
    let ((one, token), (two, _)) = (login(&server, "ana").await, login(&server, "ana").await);
    let (mut a, mut b) = (server.peer(&one).await, server.peer(&two).await);
    assert_eq!(server.post("/api/auth/logout", &one, json!({})).await.0, 204);
    assert_eq!(me(&server, &one).await, 401, "the token is dead when the answer is there");
    assert_eq!(refresh(&server, &token).await.0, 401);
    let (code, reason, _) = a.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "session_ended"));
    assert_eq!(b.ask("system.ping", json!({})).await["type"], "system.pong");
    assert_eq!(me(&server, &two).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_from_elsewhere() {
    let server = Server::start().await;
    server.register("ana").await;
    let (one, _) = login(&server, "ana").await;
    let (two, _) = login(&server, "ana").await;
    let (status, list) = server.get("/api/auth/sessions", &two).await;
    let list = list.as_array().unwrap().clone();
    assert_eq!((status, list.len()), (200, 3), "the registration is a login too");
    assert_eq!(list.iter().filter(|s| s["current"] == true).count(), 1);
    assert!(list.iter().all(|s| s["ip"] == "127.0.0.1"), "{list:?}");
    let mut peer = server.peer(&one).await;
    for session in list.iter().filter(|s| s["current"] == false) {
        let path = format!("/api/auth/sessions/{}", session["id"].as_str().unwrap());
        assert_eq!(server.ask("DELETE", &path, Some(&two.token), None).await.0, 204);
        assert_eq!(server.ask("DELETE", &path, Some(&two.token), None).await.0, 404);
    }
    assert_eq!(peer.closed().await.0, 4401);
    assert_eq!((me(&server, &one).await, me(&server, &two).await), (401, 200));
    // Somebody else's login is as absent as none.
    let eve = server.register("eve").await;
    let current = list.iter().find(|s| s["current"] == true).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ask("DELETE", &format!("/api/auth/sessions/{current}"), Some(&eve.token), None).await.0, 404);
    assert_eq!(server.ask("DELETE", "/api/auth/sessions/nonsense", Some(&eve.token), None).await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_every_other_login() {
    let server = Server::start().await;
    let first = server.register("ana").await;
    let (one, _) = login(&server, "ana").await;
    let mut peer = server.peer(&first).await;
    let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
    let path = "/api/auth/password";
    let (status, problem) = server.post(path, &one, change("wrong horse", "a new password")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("invalid_credentials")));
    let (status, problem) = server.post(path, &one, change("correct horse battery", "short")).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("new_password")));
    assert_eq!(server.post(path, &one, change("correct horse battery", "a new password")).await.0, 204);
    assert_eq!((me(&server, &first).await, me(&server, &one).await), (401, 200));
    assert_eq!(peer.closed().await.0, 4401);
    let old = json!({"username": "ana", "password": "correct horse battery"});
    assert_eq!(server.ask("POST", "/api/auth/login", None, Some(old)).await.0, 401);
    let new = json!({"username": "ana", "password": "a new password"});
    assert_eq!(server.ask("POST", "/api/auth/login", None, Some(new)).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_connection() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (status, ticket) = server.post("/api/auth/ws-ticket", &ana, json!({})).await;
    assert_eq!((status, &ticket["expires_in"]), (201, &json!(30)));
    let url = |ticket: &Value| {
        let ticket = ticket["ticket"].as_str().unwrap();
        format!("{}/ws?ticket={ticket}", server.base.replacen("http", "ws", 1))
    };
    let mut first = Peer::connect_to(&url(&ticket)).await.unwrap();
    assert_eq!(first.hello().await["payload"]["user"]["username"], "ana");
    let mut second = Peer::connect_to(&url(&ticket)).await.unwrap();
    let (code, reason, _) = second.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "token_invalid"));
    let (_, late) = server.post("/api/auth/ws-ticket", &ana, json!({})).await;
    server.advance(31);
    assert_eq!(Peer::connect_to(&url(&late)).await.unwrap().closed().await.0, 4401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_warned_and_outlives_its_token_only_when_renewed() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await;
    server.register("ana").await;
    let (ana, token) = login(&server, "ana").await;
    let (mut kept, mut left) = (server.peer(&ana).await, server.peer(&ana).await);
    server.advance(241);
    let warning = kept.next_of("system.token_expiring").await;
    left.next_of("system.token_expiring").await;
    let (_, fresh) = refresh(&server, &token).await;
    let refused = kept.ask("system.auth", json!({"token": "nonsense"})).await;
    assert_eq!((&refused["type"], &refused["payload"]["code"]), (&json!("system.error"), &json!("forbidden")));
    assert!(warning["payload"]["expires_at"].as_str().unwrap().ends_with('Z'));
    let ack = kept.ask("system.auth", json!({"token": fresh["access_token"]})).await;
    assert_eq!(ack["type"], "system.ack");
    server.advance(60);
    let (code, reason, _) = left.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "token_expired"));
    assert_eq!(kept.ask("system.ping", json!({})).await["type"], "system.pong");
    // Somebody else's token is no renewal.
    let eve = server.register("eve").await;
    let refused = kept.ask("system.auth", json!({"token": eve.token})).await;
    assert_eq!(refused["payload"]["code"], "forbidden");
    server.advance(300);
    assert_eq!(kept.closed().await.0, 4401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_change_what_they_are_called() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let patch = async |body: Value| server.ask("PATCH", "/api/auth/me", Some(&ana.token), Some(body)).await;
    // Asked before, so that it is remembered: what is changed is seen all the same.
    let (_, before) = server.get("/api/auth/me", &ana).await;
    assert_eq!((&before["display_name"], &before["email"]), (&json!("ana"), &Value::Null));
    let (status, user) = patch(json!({"display_name": " Ana M. ", "email": "ana@example.org"})).await;
    assert_eq!((status, &user["display_name"], &user["email"]), (200, &json!("Ana M."), &json!("ana@example.org")));
    assert_eq!(server.get("/api/auth/me", &ana).await, (200, user));
    let (_, user) = patch(json!({})).await;
    assert_eq!(user["email"], "ana@example.org", "what is absent stays");
    let (_, user) = patch(json!({"email": null})).await;
    assert_eq!((&user["email"], &user["display_name"]), (&Value::Null, &json!("Ana M.")));
    let (status, problem) = patch(json!({"display_name": "", "email": "nonsense"})).await;
    assert_eq!((status, problem["errors"].as_array().unwrap().len()), (422, 2), "{problem}");
    server.stop().await;
}
