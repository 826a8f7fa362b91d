//! Against guessing: limits by account and by address, and no difference between a wrong name and a wrong password.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::kit::{PATIENCE, Server};

async fn try_login(server: &Server, name: &str, password: &str, from: Option<&str>) -> (u16, Value, Option<u64>) {
    let mut request = server.http.post(server.url("/api/auth/login"));
    if let Some(from) = from {
        request = request.header("X-Forwarded-For", from);
    }
    let response = request.json(&json!({"username": name, "password": password})).send().await.unwrap();
    let wait = response.headers().get("retry-after").map(|v| v.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), response.json().await.unwrap(), wait)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_be_tried_so_often_a_minute() {
    let server = Server::start_with(&[("MESH_LOGIN_ATTEMPTS", "3")]).await;
    server.register("ana").await;
    let right = "correct horse battery";
    for _ in 0..5 {
        assert_eq!(try_login(&server, "ana", right, None).await.0, 200, "a success does not count");
    }
    for name in ["ana", "ANA", "Ana"] {
        let (status, problem, _) = try_login(&server, name, "wrong horse", None).await;
        assert_eq!((status, &problem["code"]), (401, &json!("invalid_credentials")));
    }
    let (status, problem, wait) = try_login(&server, "ana", right, None).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")), "the right password is not heard either");
    let wait = wait.expect("Retry-After");
    assert!((1..=60).contains(&wait), "{wait}");
    // Somebody else from the same place is not concerned.
    server.register("ben").await;
    assert_eq!(try_login(&server, "ben", right, None).await.0, 200);
    server.advance(wait as i64);
    assert_eq!(try_login(&server, "ana", right, None).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_can_try_ten_times_as_often_whatever_the_names() {
    let server = Server::start_with(&[("MESH_LOGIN_ATTEMPTS", "2"), ("MESH_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    for n in 0..20 {
        let from = format!("2001:db8:1:2::{n:x}");
        assert_eq!(try_login(&server, &format!("nobody{n}"), "wrong horse", Some(&from)).await.0, 401);
    }
    assert_eq!(try_login(&server, "another", "wrong horse", Some("2001:db8:1:2:ffff::9")).await.0, 429, "the same /64");
    assert_eq!(try_login(&server, "another", "wrong horse", Some("2001:db8:1:3::1")).await.0, 401, "another /64");
    // What a client writes before the proxy's own entry is believed by nobody.
    let forged = "203.0.113.9, 2001:db8:1:2::77";
    assert_eq!(try_login(&server, "one-more", "wrong horse", Some(forged)).await.0, 429);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_no_trusted_proxy_changes_nothing() {
    let server = Server::start_with(&[("MESH_LOGIN_ATTEMPTS", "1")]).await;
    for n in 0..10 {
        let from = format!("198.51.100.{n}");
        assert_eq!(try_login(&server, &format!("nobody{n}"), "wrong horse", Some(&from)).await.0, 401);
    }
    assert_eq!(try_login(&server, "another", "wrong horse", Some("198.51.100.99")).await.0, 429);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_limited_by_address() {
    let server = Server::start_with(&[("MESH_LOGIN_ATTEMPTS", "1")]).await;
    for n in 0..10 {
        server.register(&format!("user{n}")).await;
    }
    let body = json!({"username": "another", "password": "correct horse battery"});
    let (status, problem) = server.ask("POST", "/api/auth/register", None, Some(body)).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_answered_like_a_wrong_password() {
    let server = Server::start().await;
    server.register("ana").await;
    let (wrong, unknown) =
        (try_login(&server, "ana", "wrong horse", None).await, try_login(&server, "nobody", "wrong horse", None).await);
    assert_eq!(wrong, unknown);
    // Not even a name that none can have, or a password beyond bcrypt's limit, is told apart.
    assert_eq!(try_login(&server, "no body!", "wrong horse", None).await, wrong);
    assert_eq!(try_login(&server, "ana", &"x".repeat(100), None).await, wrong);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_is_made_anew_when_the_cost_has_changed() {
    let server = Server::start_with(&[("MESH_BCRYPT_COST", "5")]).await;
    let ana = server.register("ana").await;
    let account = |server: &Server| {
        let (db, id) = (server.app.db.clone(), mesh_protocol::UserId::parse(&ana.id));
        async move { db.read(move |tx| mesh_server::store::users::by_id(tx, id)).await.unwrap().unwrap() }
    };
    assert!(account(&server).await.password_hash.starts_with("$2b$05$"));
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_BCRYPT_COST", "4")]).await;
    assert_eq!(try_login(&server, "ana", "correct horse battery", None).await.0, 200);
    let hash = account(&server).await.password_hash;
    assert!(hash.starts_with("$2b$04$"), "{hash}");
    assert_eq!(try_login(&server, "ana", "correct horse battery", None).await.0, 200);
    // A hash from elsewhere verifies too.
    let id = mesh_protocol::UserId::parse(&ana.id);
    for prefix in ["$2a$", "$2y$"] {
        let checked = account(&server).await.password_hash;
        let foreign = format!("{prefix}{}", &checked[4..]);
        let write = move |tx: &mut mesh_server::store::Tx<'_>| {
            mesh_server::store::users::set_password(tx, id, &foreign, &checked)
        };
        assert!(server.app.db.write(0, write).await.unwrap());
        assert_eq!(try_login(&server, "ana", "correct horse battery", None).await.0, 200, "{prefix}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_many_passwords_wait_the_next_is_told_to_come_back() {
    let server = Server::start().await;
    server.register("ana").await;
    // Every thread for passwords is held up, and their queue is filled.
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let threads = server.app.hasher.threads();
    let (begin, begun) = std::sync::mpsc::sync_channel::<()>(threads);
    let mut waiting = Vec::new();
    let refused = loop {
        let (begin, gate) = (begin.clone(), gate.clone());
        let mut job = Box::pin(server.app.hasher.run(move || {
            let _ = begin.try_send(());
            let (open, opened) = &*gate;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        }));
        match futures_util::poll!(&mut job) {
            std::task::Poll::Pending => waiting.push(job),
            std::task::Poll::Ready(outcome) => break outcome.unwrap_err(),
        }
        // Once each thread has its own, nobody takes from the queue any more.
        if waiting.len() <= threads {
            begun.recv_timeout(PATIENCE).unwrap();
        }
        assert!(waiting.len() < 100_000, "the queue has no end");
    };
    assert_eq!(refused.code, "busy");
    let (status, problem, wait) = try_login(&server, "ana", "correct horse battery", None).await;
    assert_eq!((status, &problem["code"]), (503, &json!("busy")));
    assert!(wait.is_some_and(|seconds| seconds >= 1), "Retry-After");
    // Nobody else is held up meanwhile.
    assert_eq!(server.ask("GET", "/health", None, None).await.0, 200);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    for job in waiting {
        job.await.unwrap();
    }
    assert_eq!(try_login(&server, "ana", "correct horse battery", None).await.0, 200);
    server.stop().await;
}
