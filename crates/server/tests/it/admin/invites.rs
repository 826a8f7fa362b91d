//! Registration by invite.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{PASSWORD, all_pages};
use crate::kit::{Account, Server};

async fn by_invite() -> (Server, Account) {
    let server =
        Server::start_with(&[("MESH_REGISTRATION", "invite"), ("MESH_PUBLIC_URL", "https://chat.example.org")]).await;
    let ana = server.register("ana").await;
    (server, ana)
}

async fn invite(server: &Server, admin: &Account, body: Value) -> Value {
    let (status, invite) = server.post("/api/admin/invites", admin, body).await;
    assert_eq!(status, 201, "{invite}");
    invite
}

async fn register(server: &Server, name: &str, invite: Option<&Value>) -> (u16, Value) {
    let mut body = json!({"username": name, "password": PASSWORD});
    if let Some(invite) = invite {
        body["invite"] = invite["code"].clone();
    }
    let (status, answer) = server.ask("POST", "/api/auth/register", None, Some(body)).await;
    (status, answer["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_with_an_invite_alone() {
    let (server, ana) = by_invite().await;
    let (_, info) = server.ask("GET", "/api/info", None, None).await;
    assert_eq!(info["registration"], "invite");
    assert_eq!(register(&server, "ben", None).await, (403, json!("registration_closed")));
    let given = invite(&server, &ana, json!({"max_uses": 2, "expires_in": 3600})).await;
    assert_eq!((&given["max_uses"], &given["uses"], &given["created_by"]), (&json!(2), &json!(0), &json!(ana.id)));
    let code = given["code"].as_str().unwrap();
    assert_eq!(given["url"], format!("https://chat.example.org/register?invite={code}"));
    // Forged: one letter is another, or nothing fits at all.
    let other = if code.starts_with('A') { "B" } else { "A" };
    for forged in ["", "x", &format!("{other}{}", &code[1..]), &code[1..], &"A".repeat(64), &"A".repeat(10_000)] {
        let body = json!({"code": forged});
        assert_eq!(register(&server, "ben", Some(&body)).await, (403, json!("invite_invalid")), "{forged}");
    }
    assert_eq!(register(&server, "ben", Some(&given)).await.0, 201);
    // What fails does not use it.
    assert_eq!(register(&server, "BEN", Some(&given)).await, (409, json!("username_taken")));
    assert_eq!(register(&server, "chloe", Some(&given)).await.0, 201);
    assert_eq!(register(&server, "dan", Some(&given)).await, (403, json!("invite_invalid")));

    let brief = invite(&server, &ana, json!({"expires_in": 60})).await;
    assert_eq!(brief["max_uses"], Value::Null);
    server.advance(59);
    assert_eq!(register(&server, "dan", Some(&brief)).await.0, 201);
    server.advance(1);
    assert_eq!(register(&server, "eve", Some(&brief)).await, (403, json!("invite_invalid")));

    let lasting = invite(&server, &ana, json!({})).await;
    assert_eq!((&lasting["expires_at"], &lasting["max_uses"]), (&Value::Null, &Value::Null));
    server.advance(300 * 86_400);
    assert_eq!(register(&server, "eve", Some(&lasting)).await.0, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_listed_and_revoked() {
    let (server, ana) = by_invite().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(invite(&server, &ana, json!({"max_uses": 1})).await);
        server.advance(1);
    }
    let mut listed = all_pages(&server, &ana, "/api/admin/invites?limit=2").await;
    listed.reverse();
    assert_eq!(listed, made);
    let path = format!("/api/admin/invites/{}", made[0]["code"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path, Some(&ana.token), None).await.0, 204);
    assert_eq!(server.ask("DELETE", &path, Some(&ana.token), None).await.0, 404);
    assert_eq!(server.ask("DELETE", "/api/admin/invites/forged", Some(&ana.token), None).await.0, 404);
    assert_eq!(register(&server, "ben", Some(&made[0])).await, (403, json!("invite_invalid")));
    assert_eq!(register(&server, "ben", Some(&made[1])).await.0, 201);
    let listed = all_pages(&server, &ana, "/api/admin/invites").await;
    assert_eq!((listed.len(), &listed[3]["uses"]), (4, &json!(1)));
    for bad in [json!({"max_uses": 0}), json!({"expires_in": 59}), json!({"expires_in": -1}), json!({"max_uses": "2"})]
    {
        assert_eq!(server.post("/api/admin/invites", &ana, bad).await.0, 422);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_uses_are_five_however_many_come_at_once() {
    let (server, ana) = by_invite().await;
    let given = invite(&server, &ana, json!({"max_uses": 5})).await;
    let names: Vec<String> = (0..50).map(|n| format!("guest{n}")).collect();
    let outcomes = join_all(names.iter().map(|name| register(&server, name, Some(&given)))).await;
    assert_eq!(outcomes.iter().filter(|(status, _)| *status == 201).count(), 5);
    assert_eq!(outcomes.iter().filter(|(_, code)| code == "invite_invalid").count(), 45, "{outcomes:?}");
    let (_, stats) = server.get("/api/admin/stats", &ana).await;
    assert_eq!(stats["users"]["total"], 6);
    let listed = all_pages(&server, &ana, "/api/admin/invites").await;
    assert_eq!(listed[0]["uses"], 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_account_needs_none_and_a_closed_server_takes_none() {
    for mode in ["invite", "closed"] {
        let server = Server::start_with(&[("MESH_REGISTRATION", mode)]).await;
        // Even with a bad invite: there is nobody yet who could make a good one.
        let body = json!({"username": "ana", "password": PASSWORD, "invite": "x"});
        let (status, answer) = server.ask("POST", "/api/auth/register", None, Some(body)).await;
        assert_eq!((status, &answer["user"]["role"]), (201, &json!("admin")));
        let ana = Account {
            id: answer["user"]["id"].as_str().unwrap().to_owned(),
            name: "ana".to_owned(),
            token: answer["access_token"].as_str().unwrap().to_owned(),
        };
        let given = invite(&server, &ana, json!({})).await;
        let expected = if mode == "closed" { (403, json!("registration_closed")) } else { (201, Value::Null) };
        assert_eq!(register(&server, "ben", Some(&given)).await, expected);
        server.stop().await;
    }
}
