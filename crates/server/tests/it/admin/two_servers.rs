//! Two servers on one database: what one of them ends is dead on the other.

use futures_util::future::join_all;
use mesh_protocol::UserId;
use mesh_server::{
    service::users::{self, Change},
    store::{Tx, audit::Trail},
};
use serde_json::{Value, json};

use super::{PASSWORD, accounts::lone_server, login, patch};
use crate::{
    kit::{Account, Binary, Database, PATIENCE, Peer, Server, postgres_url, skipped},
    process::{Rest, sql},
};

async fn status(server: &Server, url: &str, token: &str) -> u16 {
    server.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

/// A connection to the second server, by a new login.
async fn there(server: &Server, second: &str, password: &str) -> (Account, Peer) {
    let (status, answer) = login(server, "ben", password).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (id, token) = (text(&answer["user"]["id"]), text(&answer["access_token"]));
    let mut peer = Peer::connect(second, &token).await;
    peer.hello().await;
    (Account { id, name: "ben".to_owned(), token }, peer)
}

async fn ends_reach_the_other_server(database: Database) {
    let server = Server::start_on(database, &[]).await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let second = lone_server(&server).await;
    let me = format!("{second}/api/auth/me");

    // A logout, which ends that login and no other.
    let (out, mut peer) = there(&server, &second, PASSWORD).await;
    let (stays, mut other) = there(&server, &second, PASSWORD).await;
    assert_eq!(status(&server, &me, &out.token).await, 200, "it is believed there");
    assert_eq!(server.ask("POST", "/api/auth/logout", Some(&out.token), None).await.0, 204);
    assert_eq!(peer.closed().await.0, 4401);
    assert_eq!(status(&server, &me, &out.token).await, 401);
    assert_eq!(status(&server, &me, &stays.token).await, 200);
    assert_eq!(other.ask("system.ping", json!({})).await["type"], "system.pong");

    // A changed password, which ends the others.
    let body = json!({"current_password": PASSWORD, "new_password": "another horse"});
    assert_eq!(server.post("/api/auth/password", &ben, body).await.0, 204);
    assert_eq!(other.closed().await.0, 4401);
    assert_eq!(status(&server, &me, &stays.token).await, 401);
    assert_eq!(status(&server, &me, &ben.token).await, 200);

    // A token that no connection there stands on is asked for again within a second of the clock.
    let (lone, mut peer) = there(&server, &second, "another horse").await;
    let (status_of_login, answer) = login(&server, "ben", "another horse").await;
    assert_eq!(status_of_login, 200);
    let quiet = answer["access_token"].as_str().unwrap();
    assert_eq!(status(&server, &me, quiet).await, 200);
    // A disabled account.
    assert_eq!(patch(&server, &ana, &ben.id, json!({"disabled": true})).await.0, 200);
    let (code, reason, _) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (4403, "account_disabled"));
    server.advance(1);
    for token in [&lone.token, &ben.token, quiet] {
        assert_eq!(status(&server, &me, token).await, 401);
    }
    server.stop().await;
}

/// What one server believes of a login may be as old as the second within which an end is prompt; a connection that opens
/// in that time, after the end was told, stands on nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_opens_on_what_is_only_believed() {
    let server = Server::start().await;
    let ben = server.register("ben").await;
    let second = lone_server(&server).await;
    let url = format!("{second}/api/auth/me");
    let renewing = login(&server, "ben", PASSWORD).await.1["access_token"].as_str().unwrap().to_owned();
    let keeping = login(&server, "ben", PASSWORD).await.1["access_token"].as_str().unwrap().to_owned();
    let mut standing = Peer::connect(&second, &keeping).await;
    standing.hello().await;
    for token in [&ben.token, &renewing] {
        // The clock stands still: this is believed from now on.
        assert_eq!(status(&server, &url, token).await, 200);
        assert_eq!(server.ask("POST", "/api/auth/logout", Some(token), None).await.0, 204);
    }
    let mut opening = Peer::connect(&second, &ben.token).await;
    opening.send(json!({"type": "system.hello", "payload": {"peer_type": "client", "version": "test"}})).await;
    let (code, _, events) = opening.closed().await;
    assert_eq!(code, 4401, "{events:?}");
    assert!(events.iter().all(|event| event["type"] != "system.welcome"), "{events:?}");
    // Taken, and over as soon as the end is known there; or known already, and refused.
    match standing.ask_or_end("system.auth", json!({"token": renewing})).await {
        Ok(answer) if answer["type"] == "system.error" => {
            assert_eq!(answer["payload"]["code"], "forbidden", "{answer}")
        }
        Ok(_) => assert_eq!(standing.closed().await.0, 4401),
        Err(code) => assert_eq!(code, 4401),
    }
    server.stop().await;
}

/// Two windows of one browser share a login, and both refresh it, each at another server.
#[tokio::test(flavor = "multi_thread")]
async fn one_token_refreshed_on_both_at_once_logs_nobody_out() {
    let server = Server::start().await;
    server.register("ben").await;
    let second = lone_server(&server).await;
    let mut token = login(&server, "ben", PASSWORD).await.1["refresh_token"].clone();
    for round in 0..20 {
        let asked = [&server.base, &second, &server.base, &second].map(|base| {
            let request = server.http.post(format!("{base}/api/auth/refresh")).json(&json!({"refresh_token": token}));
            async move {
                let response = request.send().await.unwrap();
                (response.status().as_u16(), response.json::<Value>().await.unwrap())
            }
        });
        let answers = join_all(asked).await;
        let next = answers[0].1["refresh_token"].clone();
        for (status, answer) in &answers {
            assert_eq!((*status, &answer["refresh_token"]), (200, &next), "round {round}: {answer}");
        }
        token = next;
    }
    server.stop().await;
}

/// Two processes that hear of the first account at the same time: one of them makes it, be it as large a house as it will.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_first_account() {
    let database = Database::new();
    for mode in ["open", "closed"] {
        let settings = [
            ("MESH_REGISTRATION", mode),
            ("MESH_LOGIN_ATTEMPTS", "100000"),
            ("MESH_JWT_SECRET", "a secret of more than thirty-two characters"),
        ];
        let servers = [(); 2].map(|()| Binary::start(&database, &settings));
        let houses = [Rest::of(&servers[0]), Rest::of(&servers[1])];
        for round in 0..40 {
            let asked = (0..6).map(|n| {
                let body = json!({"username": format!("user{n}"), "password": PASSWORD});
                houses[n % 2].ask("POST", "/api/auth/register", None, Some(body))
            });
            let mut roles = Vec::new();
            for (status, answer) in join_all(asked).await {
                match status {
                    201 => roles.push(answer["user"]["role"].as_str().unwrap().to_owned()),
                    _ => assert_eq!((status, &answer["code"]), (403, &json!("registration_closed")), "{answer}"),
                }
            }
            roles.sort_unstable();
            let wanted =
                if mode == "open" { vec!["admin", "user", "user", "user", "user", "user"] } else { vec!["admin"] };
            assert_eq!(roles, wanted, "round {round}, {mode}");
            sql(&database, "DELETE FROM users");
        }
        for server in servers {
            let (status, log) = server.stop();
            assert!(status.success() && !log.contains("ERROR"), "{log}");
        }
    }
}

/// Changes ben's account on the first server, and asks the second one for something while that is not committed yet.
async fn meanwhile(server: &Server, ben: &Account, change: Change, asked: reqwest::RequestBuilder) -> (u16, Value) {
    let (app, id) = (server.app.clone(), UserId::parse(&ben.id));
    let trail = Trail { ids: app.ids.clone(), now: app.clock.now_ms(), actor: None, name: None, ip: None };
    let ((tell, told), (open, gate)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let gate = std::sync::Mutex::new(gate);
    let changing = tokio::spawn(async move {
        let work = move |tx: &mut Tx<'_>| {
            users::change(tx, &trail, id, &change)?;
            let _ = tell.send(());
            let _ = gate.lock().unwrap().recv();
            Ok(())
        };
        app.db.write(id.uuid().as_u128(), work).await
    });
    tokio::task::block_in_place(|| told.recv_timeout(PATIENCE)).unwrap();
    let asking = tokio::spawn(asked.send());
    // Until it has gone through, or waits for the change. SQLite does not tell who waits.
    let waits = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
        AND datname = current_database()";
    while server.database.sqlite_file().is_none() && !asking.is_finished() {
        let waiting = server.app.db.read(move |tx| tx.row(waits, &[])?.map_or(Ok(0), |row| row.int(0))).await.unwrap();
        if waiting > 0 {
            break;
        }
    }
    open.send(()).unwrap();
    changing.await.unwrap().unwrap();
    let answer = asking.await.unwrap().unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_of_an_account_falls_with_what_changes_it_meanwhile() {
    let server = Server::start().await;
    server.register("ana").await;
    let ben = server.register("ben").await;
    let second = lone_server(&server).await;
    let post = |path: &str, body: Value| server.http.post(format!("{second}{path}")).json(&body);

    let hash = bcrypt::hash("another horse", 4).unwrap();
    let reset = Change { password_hash: Some(hash), ..Change::default() };
    let body = json!({"username": "ben", "password": PASSWORD});
    let (status, problem) = meanwhile(&server, &ben, reset, post("/api/auth/login", body)).await;
    assert_eq!((status, &problem["code"]), (401, &json!("invalid_credentials")), "with the password from before");

    let (status, answer) = login(&server, "ben", "another horse").await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(self::status(&server, &format!("{second}/api/auth/me"), token).await, 200);
    let asked = post("/api/auth/tokens", json!({"name": "bot", "scopes": ["rooms:read"]})).bearer_auth(token);
    let shut = Change { disabled: Some(true), ..Change::default() };
    let (status, problem) = meanwhile(&server, &ben, shut, asked).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")), "a token that would come back to life");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_on_one_ends_on_the_other() {
    match postgres_url() {
        Some(url) => ends_reach_the_other_server(Database::postgres(&url)).await,
        None => skipped("two servers on one PostgreSQL", "MESH_TEST_POSTGRES_URL"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_in_one_file() {
    ends_reach_the_other_server(Database::sqlite()).await;
}
