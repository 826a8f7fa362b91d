//! `/api/admin/users` and `/api/admin/stats`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{PASSWORD, all_pages, ana_and_ben, login, names, patch};
use crate::kit::{Account, Peer, Server};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_administrators_alone() {
    let (server, ana, ben) = ana_and_ben().await;
    let user = format!("/api/admin/users/{}", ana.id);
    let calls = [
        ("GET", "/api/admin/users", None),
        ("POST", "/api/admin/users", Some(json!({"username": "eve", "password": PASSWORD}))),
        ("GET", user.as_str(), None),
        ("PATCH", user.as_str(), Some(json!({"role": "user"}))),
        ("DELETE", &format!("{user}/totp"), None),
        ("GET", "/api/admin/stats", None),
        ("GET", "/api/admin/audit", None),
        ("GET", "/api/admin/audit?format=ndjson", None),
        ("POST", "/api/admin/invites", Some(json!({}))),
        ("GET", "/api/admin/invites", None),
        ("DELETE", "/api/admin/invites/x", None),
    ];
    for (method, path, body) in calls {
        let (status, problem) = server.ask(method, path, Some(&ben.token), body.clone()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{method} {path}");
        let (status, problem) = server.ask(method, path, None, body.clone()).await;
        assert_eq!((status, &problem["code"]), (401, &json!("token_missing")), "{method} {path}");
    }
    let (_, users) = server.get("/api/admin/users", &ana).await;
    assert_eq!(names(users.as_array().unwrap()), ["ana", "ben"], "nothing was done");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_and_found() {
    let (server, ana, ben) = ana_and_ben().await;
    let body = json!({
        "username": "Chloé", "password": PASSWORD, "email": "chloe@example.org", "display_name": "Chloé", "role": "admin"
    });
    let (status, problem) = server.post("/api/admin/users", &ana, body.clone()).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("username")));
    let mut body = body;
    body["username"] = json!("Chloe");
    let (status, chloe) = server.post("/api/admin/users", &ana, body.clone()).await;
    assert_eq!(status, 201, "{chloe}");
    assert_eq!(
        (&chloe["role"], &chloe["disabled"], &chloe["last_seen_at"]),
        (&json!("admin"), &json!(false), &Value::Null)
    );
    body["username"] = json!("CHLOE");
    let (status, problem) = server.post("/api/admin/users", &ana, body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("username_taken")));
    let (status, answer) = login(&server, "chloe", PASSWORD).await;
    assert_eq!((status, &answer["user"]["role"]), (200, &json!("admin")));
    for n in 0..5 {
        let body = json!({"username": format!("user{n}"), "password": PASSWORD, "display_name": "100%_!"});
        assert_eq!(server.post("/api/admin/users", &ana, body).await.0, 201);
    }
    let (status, changed) = patch(&server, &ana, &ben.id, json!({"email": "b@example.com", "disabled": true})).await;
    assert_eq!((status, &changed["email"], &changed["disabled"]), (200, &json!("b@example.com"), &json!(true)));
    assert!(changed["disabled_at"].is_string() && changed["last_seen_at"].is_string(), "{changed}");

    let everybody = ["ana", "ben", "Chloe", "user0", "user1", "user2", "user3", "user4"];
    assert_eq!(names(&all_pages(&server, &ana, "/api/admin/users?limit=3").await), everybody);
    for (query, expected) in [
        ("q=ER", &everybody[3..]),
        ("q=chlo%C3%A9", &everybody[2..3]),
        ("q=EXAMPLE", &everybody[1..3]),
        ("q=b@example.com", &everybody[1..2]),
        ("q=%25_!", &everybody[3..]),
        ("q=%25n", &[]),
        ("role=admin", &["ana", "Chloe"]),
        ("disabled=true", &["ben"]),
        ("disabled=false&q=a&role=user", &["user0", "user1", "user2", "user3", "user4"][..0]),
        ("q=user&disabled=true", &[]),
    ] {
        let found = all_pages(&server, &ana, &format!("/api/admin/users?{query}&limit=2")).await;
        assert_eq!(names(&found), expected, "{query}");
    }
    for bad in ["role=owner", "disabled=1", "limit=0", "cursor=%00", "q=%00"] {
        assert_eq!(server.get(&format!("/api/admin/users?{bad}"), &ana).await.0, 422, "{bad}");
    }
    let (status, found) = server.get(&format!("/api/admin/users/{}", ben.id), &ana).await;
    assert_eq!((status, found), (200, changed));
    assert_eq!(server.get("/api/admin/users/nobody", &ana).await.0, 404);
    assert_eq!(patch(&server, &ana, "nobody", json!({"role": "admin"})).await.0, 404);
    let no = json!({"password": "short", "display_name": "", "email": "x"});
    let (status, problem) = patch(&server, &ana, &ben.id, no).await;
    assert_eq!((status, problem["errors"].as_array().unwrap().len()), (422, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_dead_until_it_is_enabled() {
    let (server, ana, ben) = ana_and_ben().await;
    let (_, second) = login(&server, "ben", PASSWORD).await;
    let second = Account { token: second["access_token"].as_str().unwrap().to_owned(), ..ben.clone() };
    let (mut one, mut two) = (server.peer(&ben).await, server.peer(&second).await);
    let mut other = server.peer(&ana).await;
    let (status, user) = patch(&server, &ana, &ben.id, json!({"disabled": true})).await;
    assert_eq!((status, &user["disabled"]), (200, &json!(true)));
    for who in [&ben, &second] {
        let (status, problem) = server.get("/api/auth/me", who).await;
        assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")));
    }
    for peer in [&mut one, &mut two] {
        let (code, reason, events) = peer.closed().await;
        assert_eq!((code, reason.as_str()), (4403, "account_disabled"));
        let goodbye = events.iter().find(|e| e["type"] == "system.goodbye").unwrap();
        assert_eq!((&goodbye["payload"]["code"], &goodbye["payload"]["action"]), (&json!(4403), &json!("stop")));
    }
    let (code, _, _) = Peer::connect(&server.base, &ben.token).await.closed().await;
    assert_eq!(code, 4401);
    // As a wrong password is answered.
    let (status, mut refused) = login(&server, "ben", PASSWORD).await;
    let (wrong_status, mut wrong) = login(&server, "ben", "something else").await;
    assert_eq!((status, wrong_status), (401, 401));
    for problem in [&mut refused, &mut wrong] {
        problem.as_object_mut().unwrap().remove("request_id");
    }
    assert_eq!(refused, wrong);

    let (status, user) = patch(&server, &ana, &ben.id, json!({"disabled": false})).await;
    assert_eq!((status, &user["disabled_at"]), (200, &Value::Null));
    assert_eq!(server.get("/api/auth/me", &ben).await.0, 401, "logins from before stay dead");
    assert_eq!(login(&server, "ben", PASSWORD).await.0, 200);
    assert_eq!(other.ask("system.ping", json!({})).await["type"], "system.pong", "others are not concerned");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_reset_ends_every_login() {
    let (server, ana, ben) = ana_and_ben().await;
    let mut peer = server.peer(&ben).await;
    let (status, _) = patch(&server, &ana, &ben.id, json!({"password": "another long one"})).await;
    assert_eq!(status, 200);
    assert_eq!(peer.closed().await.0, 4401);
    assert_eq!(server.get("/api/auth/me", &ben).await.0, 401);
    assert_eq!(login(&server, "ben", PASSWORD).await.0, 401);
    assert_eq!(login(&server, "ben", "another long one").await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_at_once() {
    let (server, ana, ben) = ana_and_ben().await;
    assert_eq!(server.get("/api/admin/stats", &ben).await.0, 403);
    assert_eq!(server.get("/api/auth/me", &ben).await.1["role"], "user");
    let change = json!({"role": "admin", "display_name": "Ben B."});
    assert_eq!(patch(&server, &ana, &ben.id, change).await.0, 200);
    assert_eq!(server.get("/api/admin/stats", &ben).await.0, 200);
    let (_, me) = server.get("/api/auth/me", &ben).await;
    assert_eq!((&me["role"], &me["display_name"]), (&json!("admin"), &json!("Ben B.")));
    assert_eq!(patch(&server, &ben, &ana.id, json!({"role": "user"})).await.0, 200);
    assert_eq!(server.get("/api/admin/stats", &ana).await.0, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    let (server, ana, ben) = ana_and_ben().await;
    for change in [json!({"role": "user"}), json!({"disabled": true}), json!({"disabled": true, "role": "user"})] {
        let (status, problem) = patch(&server, &ana, &ana.id, change).await;
        assert_eq!((status, &problem["code"]), (409, &json!("last_admin")));
    }
    // A disabled administrator is none to rely on.
    assert_eq!(patch(&server, &ana, &ben.id, json!({"role": "admin", "disabled": true})).await.0, 200);
    assert_eq!(patch(&server, &ana, &ana.id, json!({"role": "user"})).await.0, 409);
    assert_eq!(patch(&server, &ana, &ben.id, json!({"disabled": false})).await.0, 200);
    assert_eq!(patch(&server, &ana, &ana.id, json!({"role": "user"})).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_demote_one_another_one_stays() {
    let (server, ana, ben) = ana_and_ben().await;
    // A second server on the same database, where it can be had.
    for round in 0..10 {
        let (status, _) = patch(&server, &ana, &ben.id, json!({"role": "admin"})).await;
        assert_eq!(status, 200, "round {round}");
        let demote = json!({"role": "user"});
        let (one, two) =
            tokio::join!(patch(&server, &ana, &ben.id, demote.clone()), patch(&server, &ben, &ana.id, demote.clone()),);
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert!(matches!(statuses, [200, 403 | 409]), "{statuses:?}");
        if two.0 == 200 {
            assert_eq!(patch(&server, &ben, &ana.id, json!({"role": "admin"})).await.0, 200);
            assert_eq!(patch(&server, &ana, &ben.id, demote).await.0, 200);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_administrators_who_step_down_on_two_servers_one_stays() {
    let (server, ana, _) = ana_and_ben().await;
    let second = lone_server(&server).await;
    let mut admins = vec![ana];
    for n in 0..5 {
        let body = json!({"username": format!("admin{n}"), "password": PASSWORD, "role": "admin"});
        assert_eq!(server.post("/api/admin/users", &admins[0], body).await.0, 201);
        let (status, answer) = login(&server, &format!("admin{n}"), PASSWORD).await;
        assert_eq!(status, 200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, name) = (text(&answer["user"]["id"]), text(&answer["user"]["username"]));
        admins.push(Account { id, name, token: text(&answer["access_token"]) });
    }
    let step_down = admins.iter().enumerate().map(|(n, admin)| {
        let base = if n % 2 == 0 { &server.base } else { &second };
        let url = format!("{base}/api/admin/users/{}", admin.id);
        let request = server.http.patch(url).bearer_auth(&admin.token).json(&json!({"role": "user"}));
        async move { request.send().await.unwrap().status().as_u16() }
    });
    let mut statuses = join_all(step_down).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 409]);
    server.stop().await;
}

/// Another server on the same database and with the same secret, within this process; its address. It ends with the test.
pub async fn lone_server(server: &Server) -> String {
    let settings = [
        ("MESH_HOST", "127.0.0.1"),
        ("MESH_PORT", "0"),
        ("MESH_BCRYPT_COST", "4"),
        ("MESH_JWT_SECRET", "a secret of more than thirty-two characters"),
        ("DATABASE_URL", server.database.url.as_str()),
    ];
    let config = mesh_server::config::Config::from_pairs(&settings).unwrap();
    let clock = server.app.clock.clone();
    let second = mesh_server::lifecycle::start(config, clock).await.unwrap();
    let base = format!("http://{}", second.addr);
    tokio::spawn(second.run());
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_count_what_is_there() {
    let (server, ana, ben) = ana_and_ben().await;
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    let mut peer = server.peer(&ben).await;
    peer.join(&room).await;
    peer.say(&room, "hello").await;
    server.advance(90);
    let (status, stats) = server.get("/api/admin/stats", &ana).await;
    assert_eq!(status, 200, "{stats}");
    assert_eq!(stats["users"], json!({"total": 2, "active": 2, "admins": 1}));
    let counts = [&stats["sessions"], &stats["rooms"], &stats["messages"], &stats["connections"]];
    assert_eq!(counts, [&json!(2), &json!(1), &json!(1), &json!(1)]);
    assert_eq!(stats["uptime_seconds"], 90);
    let kind = if server.database.sqlite_file().is_some() { "sqlite" } else { "postgres" };
    assert_eq!(stats["database"]["kind"], kind);
    assert!(stats["database"]["size_bytes"].as_u64().unwrap() > 10_000, "{stats}");
    assert!(stats["database"]["schema_version"].as_u64().unwrap() >= 4);
    // Counting costs more the more there is: who asks again soon hears the same.
    peer.say(&room, "again").await;
    assert_eq!(server.get("/api/admin/stats", &ana).await.1["messages"], 1);
    server.advance(11);
    assert_eq!(server.get("/api/admin/stats", &ana).await.1["messages"], 2);
    server.stop().await;
}
