//! `/api/admin/audit`.

use serde_json::{Value, json};

use super::{PASSWORD, all_pages, ana_and_ben, login, patch};
use crate::kit::{Account, Server};

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

async fn log(server: &Server, who: &Account, query: &str) -> Vec<Value> {
    // Failures are written without waiting.
    server.app.db.settled().await;
    all_pages(server, who, &format!("/api/admin/audit?limit=3{query}")).await
}

async fn export(server: &Server, who: &Account, path: &str, accept: &str) -> Vec<Value> {
    let request = server.http.get(server.url(path)).bearer_auth(&who.token).header("accept", accept);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_who_did_what_to_whom_and_no_secret() {
    let (server, ana, ben) = ana_and_ben().await;
    let secret_name = "hunter2-typed-in-the-wrong-field";
    let mut secrets = vec![PASSWORD.to_owned(), "another long one".to_owned(), secret_name.to_owned()];
    assert_eq!(login(&server, "ben", "wrong-wrong-wrong").await.0, 401);
    assert_eq!(login(&server, secret_name, PASSWORD).await.0, 401);
    server.advance(1);
    let (_, tokens) = login(&server, "Ben", PASSWORD).await;
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let body = json!({"refresh_token": refresh});
        assert_eq!(server.ask("POST", "/api/auth/refresh", None, Some(body)).await.0, 200);
    }
    server.advance(16);
    let body = json!({"refresh_token": refresh});
    assert_eq!(server.ask("POST", "/api/auth/refresh", None, Some(body)).await.0, 401);
    secrets.extend([refresh, ben.token.clone(), ana.token.clone()]);
    server.advance(1);
    let body = json!({"current_password": PASSWORD, "new_password": "another long one"});
    assert_eq!(server.post("/api/auth/password", &ben, body).await.0, 204);
    server.advance(1);
    assert_eq!(server.ask("POST", "/api/auth/logout", Some(&ben.token), None).await.0, 204);
    for change in [
        json!({"role": "admin"}),
        json!({"disabled": true}),
        json!({"disabled": false}),
        json!({"password": "yet another long one"}),
        json!({"display_name": "Benoît"}),
    ] {
        server.advance(1);
        assert_eq!(patch(&server, &ana, &ben.id, change).await.0, 200);
    }
    server.advance(1);
    let (_, invite) = server.post("/api/admin/invites", &ana, json!({"max_uses": 3})).await;
    let code = invite["code"].as_str().unwrap();
    server.advance(1);
    assert_eq!(server.ask("DELETE", &format!("/api/admin/invites/{code}"), Some(&ana.token), None).await.0, 204);
    secrets.push(code.to_owned());

    let mut entries = log(&server, &ana, "").await;
    entries.reverse();
    let mut first = actions(&entries[..4]);
    first.sort_unstable();
    assert_eq!(first, ["login.failed", "login.failed", "user.registered", "user.registered"]);
    assert_eq!(
        actions(&entries[4..]),
        [
            "login.succeeded",
            "session.token_reused",
            "user.password_changed",
            "session.logout",
            "user.role_changed",
            "user.disabled",
            "user.enabled",
            "user.password_reset",
            "user.profile_changed",
            "invite.created",
            "invite.revoked",
        ]
    );
    let of = |action: &str| entries.iter().find(|e| e["action"] == action).unwrap();
    let change = of("user.role_changed");
    assert_eq!((&change["actor_id"], &change["actor_name"]), (&json!(ana.id), &json!("ana")));
    let target = (&change["target_kind"], &change["target_id"], &change["target_name"]);
    assert_eq!(target, (&json!("user"), &json!(ben.id), &json!("ben")));
    assert_eq!(change["details"], json!({"from": "user", "to": "admin"}));
    assert_eq!(change["ip"], "127.0.0.1");
    assert_eq!(of("login.succeeded")["actor_name"], "ben");
    let failed: Vec<_> = entries.iter().filter(|e| e["action"] == "login.failed").collect();
    assert!(failed.iter().all(|e| e["actor_id"].is_null() && e["ip"] == "127.0.0.1"));
    let mut reasons: Vec<_> = failed.iter().map(|e| (&e["details"]["reason"], &e["target_name"])).collect();
    reasons.sort_by_key(|(reason, _)| reason.to_string());
    assert_eq!(reasons, [(&json!("unknown_user"), &Value::Null), (&json!("wrong_password"), &json!("ben"))]);
    let text = serde_json::to_string(&entries).unwrap();
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_filtered_paged_and_exported() {
    let (server, ana, ben) = ana_and_ben().await;
    for n in 0..12 {
        server.advance(1);
        let role = if n % 2 == 0 { "admin" } else { "user" };
        assert_eq!(patch(&server, &ana, &ben.id, json!({"role": role})).await.0, 200);
    }
    server.advance(1);
    assert_eq!(login(&server, "ben", PASSWORD).await.0, 200);
    let all = log(&server, &ana, "").await;
    assert_eq!(all.len(), 15);
    let times: Vec<_> = all.iter().map(|e| e["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let changes = log(&server, &ana, "&action=user.role_changed").await;
    assert_eq!(changes, all[1..13]);
    assert_eq!(log(&server, &ana, &format!("&actor={}", ben.id)).await.len(), 2);
    assert_eq!(log(&server, &ana, "&actor=BEN&action=login.succeeded").await, all[..1]);
    let (since, until) = (times[8], times[3]);
    assert_eq!(log(&server, &ana, &format!("&since={since}&until={until}")).await, all[4..9]);
    assert_eq!(log(&server, &ana, "&action=nothing").await, [Value::Null; 0]);

    assert_eq!(export(&server, &ana, "/api/admin/audit?format=ndjson", "*/*").await, all);
    let accept = "text/html;q=0.1, application/x-ndjson;q=0.9";
    assert_eq!(export(&server, &ana, "/api/admin/audit?action=user.role_changed", accept).await, changes);
    for bad in ["format=xml", "since=yesterday", "until=5", "cursor=x", "cursor=1.x", "action=%00"] {
        assert_eq!(server.get(&format!("/api/admin/audit?{bad}"), &ana).await.0, 422, "{bad}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_and_the_old_is_forgotten() {
    let (server, ana, _) = ana_and_ben().await;
    let trail = mesh_server::store::audit::Trail {
        ids: server.app.ids.clone(),
        now: server.app.clock.now_ms(),
        actor: None,
        name: None,
        ip: None,
    };
    let many = move |tx: &mut mesh_server::store::Tx<'_>| {
        (0..2_500).try_for_each(|_| mesh_server::store::audit::record(tx, &trail, "test", None, None))
    };
    server.app.db.write(0, many).await.unwrap();
    let exported = export(&server, &ana, "/api/admin/audit?format=ndjson", "*/*").await;
    let ids: std::collections::HashSet<_> = exported.iter().map(|e| e["id"].to_string()).collect();
    assert_eq!((exported.len(), ids.len()), (2_502, 2_502));
    assert_eq!(mesh_server::service::audit::sweep(&server.app).await.unwrap(), 0);
    server.advance(401 * 86_400);
    assert_eq!(mesh_server::service::audit::sweep(&server.app).await.unwrap(), 2_502);
    assert_eq!(mesh_server::service::ended::sweep(&server.app).await.unwrap(), 2, "and the logins");
    server.stop().await;
}
