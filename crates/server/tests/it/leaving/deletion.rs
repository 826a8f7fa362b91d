//! Deleted accounts.

use mesh_server::service::retention::purge;
use serde_json::{Value, json};

use super::{PASSWORD, count, post, rows};
use crate::kit::{Account, Binary, Database, Server, output};

async fn delete_me(server: &Server, who: &Account, body: Value) -> (u16, Value) {
    server.ask("DELETE", "/api/auth/me", Some(&who.token), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_remains_but_what_was_said() {
    let server = Server::start().await;
    let (ana, eve) = (server.register("ana").await, server.register("eve").await);
    let ben = server.register("zebulon").await;
    let profile = json!({"display_name": "Zeb the Great", "email": "zeb@example.org"});
    assert_eq!(server.ask("PATCH", "/api/auth/me", Some(&ben.token), Some(profile)).await.0, 200);
    let (owned, alone) = (server.room(&ben, "Cuisine").await, server.room(&ben, "Grenier").await);
    let other = server.room(&ana, "Salon").await;
    for who in [&ana, &eve] {
        server.add(&ben, &owned, who).await;
        server.advance(1);
    }
    server.add(&ana, &other, &ben).await;
    let said = post(&server, &owned, &ben, "farewell speech").await;
    post(&server, &alone, &ben, "monologue").await;
    let liked = post(&server, &other, &ana, "hello, @zebulon").await;
    let reaction = format!("/api/rooms/{other}/messages/{}/reactions/%F0%9F%91%8D", liked["id"].as_str().unwrap());
    for who in [&ben, &ana] {
        assert_eq!(server.ask("PUT", &reaction, Some(&who.token), None).await.0, 204);
    }
    let (_, token) = server.post("/api/auth/tokens", &ben, json!({"name": "zeb's bot", "scopes": ["chat:read"]})).await;
    let bot = Account { token: token["token"].as_str().unwrap().to_owned(), ..ben.clone() };
    for who in [&ben, &bot] {
        assert_eq!(server.post("/api/auth/ws-ticket", who, json!({})).await.0, 201);
    }
    let mut peers = [server.peer(&ben).await, server.peer(&ben).await];
    peers[0].join(&owned).await;
    let mut witness = server.peer(&ana).await;
    for room in [&owned, &other] {
        witness.join(room).await;
    }
    let before = rows(&server.database).await;
    assert!(count(&before, "users", "zeb@example.org") == 1 && count(&before, "room_members", &ben.id) == 3);
    assert!(count(&before, "message_mentions", &ben.id) == 1 && count(&before, "audit_log", "zebulon") > 0);

    let (status, problem) = delete_me(&server, &ben, json!({"password": "wrong"})).await;
    assert_eq!((status, &problem["code"]), (403, &json!("invalid_credentials")));
    let (status, problem) = delete_me(&server, &ben, json!({})).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("password")));
    assert_eq!(delete_me(&server, &ben, json!({"password": PASSWORD})).await, (204, Value::Null));

    for peer in &mut peers {
        assert_eq!(peer.closed().await.0, 4403);
    }
    for credential in [ben.token.as_str(), token["token"].as_str().unwrap()] {
        assert_eq!(server.ask("GET", "/api/auth/me", Some(credential), None).await.0, 401);
    }
    let body = json!({"username": "zebulon", "password": PASSWORD});
    assert_eq!(server.ask("POST", "/api/auth/login", None, Some(body)).await.0, 401);

    // Whoever is there hears of it: the reaction is taken back, they have left, the room has an owner.
    let reacted = witness.next_of("chat.reaction.updated").await;
    assert_eq!(reacted["payload"]["message"]["reactions"], json!({"👍": [ana.id]}), "{reacted}");
    let left = [witness.next_of("room.member.removed").await, witness.next_of("room.member.removed").await];
    for event in &left {
        assert_eq!((&event["payload"]["user_id"], &event["payload"]["reason"]), (&json!(ben.id), &json!("left")));
    }
    let updated = witness.next_of("room.member.updated").await;
    assert_eq!(updated["payload"]["member"]["role"], "owner", "{updated}");
    let updated = witness.next_of("room.updated").await;
    let room = &updated["payload"]["room"];
    assert_eq!((&room["owner_id"], &room["my_role"], &room["unread"]), (&json!(ana.id), &Value::Null, &json!(0)));
    let (_, seen) = server.get(&format!("/api/rooms/{owned}"), &ana).await;
    assert_eq!(
        (&seen["owner_id"], &seen["my_role"], &seen["member_count"]),
        (&json!(ana.id), &json!("owner"), &json!(2)),
        "the longest-standing"
    );

    // What was said stays, by nobody.
    let log = server.log(&ana, &owned).await;
    assert_eq!((&log[0]["id"], &log[0]["content"]), (&said["id"], &json!("farewell speech")));
    let name = log[0]["username"].as_str().unwrap();
    assert!(name.starts_with("deleted-") && name.len() == 16, "{name}");
    let after = rows(&server.database).await;
    for word in ["zebulon", "Zeb the Great", "zeb@example.org", "zeb's bot"] {
        let holding: Vec<_> = after.iter().filter(|row| row.contains(word)).collect();
        // What somebody else said is theirs.
        assert!(holding.iter().all(|row| row.contains("hello, @zebulon")), "{word}: {holding:?}");
    }
    for table in
        ["room_members", "message_reactions", "message_mentions", "room_bans", "ws_tickets", "token_tickets", "totp"]
    {
        assert_eq!(count(&after, table, &ben.id), 0, "{table}");
    }
    assert_eq!(count(&after, "audit_log", "user.deleted"), 1);

    // The room where nobody is left goes, and all that was said in it.
    assert_eq!(count(&after, "rooms", "Grenier"), 1);
    assert_eq!(purge(&server.app).await.unwrap(), 1);
    let after = rows(&server.database).await;
    assert_eq!((count(&after, "rooms", &alone), count(&after, "messages", "monologue")), (0, 0));

    // For administrators there is no such account, and its name is free.
    assert_eq!(server.get(&format!("/api/admin/users/{}", ben.id), &ana).await.0, 404);
    assert_eq!(server.get("/api/admin/users", &ana).await.1.as_array().unwrap().len(), 2);
    let path = format!("/api/rooms/{owned}/members");
    assert_eq!(server.post(&path, &ana, json!({"user_id": ben.id})).await.0, 404);
    assert_ne!(server.register("zebulon").await.id, ben.id);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_delete_others_but_never_the_last_of_themselves() {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let at = |who: &Account| format!("/api/admin/users/{}", who.id);
    let delete = async |who: &Account, by: &Account| server.ask("DELETE", &at(who), Some(&by.token), None).await;
    assert_eq!(delete(&ana, &ben).await.0, 403);
    let (status, problem) = delete(&ana, &ana).await;
    assert_eq!((status, &problem["code"]), (409, &json!("last_admin")));
    let (status, problem) = delete_me(&server, &ana, json!({"password": PASSWORD})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("last_admin")));
    let mut peer = server.peer(&ben).await;
    assert_eq!(delete(&ben, &ana).await.0, 204);
    assert_eq!(peer.closed().await.0, 4403);
    assert_eq!(delete(&ben, &ana).await.0, 404);
    assert_eq!(server.ask("PATCH", &at(&ben), Some(&ana.token), Some(json!({"disabled": false}))).await.0, 404);
    let (_, audit) = server.get("/api/admin/audit?action=user.deleted", &ana).await;
    let entry = &audit[0];
    assert_eq!((&entry["actor_name"], &entry["target_id"]), (&json!("ana"), &json!(ben.id)), "{entry}");
    assert!(entry["target_name"].as_str().unwrap().starts_with("deleted-"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_factor_a_code_is_asked_for() {
    let server = Server::start().await;
    server.register("ana").await;
    let ben = server.register("ben").await;
    let (_, codes) = crate::second_factor::totp::enable(&server, &ben).await;
    let (status, problem) = delete_me(&server, &ben, json!({"password": PASSWORD})).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("code")));
    let (status, problem) = delete_me(&server, &ben, json!({"password": PASSWORD, "code": "000000x"})).await;
    assert_eq!((status, &problem["code"]), (403, &json!("invalid_code")));
    let body = json!({"password": PASSWORD, "code": codes[0]});
    assert_eq!(delete_me(&server, &ben, body).await.0, 204);
    assert_eq!(count(&rows(&server.database).await, "recovery_codes", ""), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_deletes_too() {
    let server = Server::start().await;
    server.register("ana").await;
    let ben = server.register("ben").await;
    let mut peer = server.peer(&ben).await;
    let run = |database: &Database, name: &str| {
        let mut command = Binary::command(database.dir.path());
        command.args(["user", "delete", name]).env("DATABASE_URL", &database.url);
        tokio::task::block_in_place(|| output(command))
    };
    assert_eq!(run(&server.database, "BEN"), (Some(0), "ben is deleted\n".to_owned(), String::new()));
    assert_eq!(peer.closed().await.0, 4403);
    let (status, _, complained) = run(&server.database, "ben");
    assert!(status != Some(0) && complained.contains("there is no user"), "{complained}");
    let (status, _, complained) = run(&server.database, "ana");
    assert!(status != Some(0) && complained.contains("last active administrator"), "{complained}");
    server.stop().await;
}
