//! Personal access tokens: what they are, and when they end.

use serde_json::{Value, json};

use super::{PASSWORD, login, me, now, text, token, with};
use crate::kit::{Account, Peer, Server};

async fn list(server: &Server, who: &Account) -> Vec<Value> {
    let (status, list) = server.get("/api/auth/tokens", who).await;
    assert_eq!(status, 200, "{list}");
    list.as_array().unwrap().clone()
}

async fn revoke(server: &Server, who: &Account, id: &Value) -> (u16, Value) {
    server.ask("DELETE", &format!("/api/auth/tokens/{}", text(id)), Some(&who.token), None).await
}

pub async fn disable(server: &Server, admin: &Account, who: &Account) {
    let path = format!("/api/admin/users/{}", who.id);
    let (status, user) = server.ask("PATCH", &path, Some(&admin.token), Some(json!({"disabled": true}))).await;
    assert_eq!(status, 200, "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_listed() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    assert_eq!(list(&server, &ana).await, Vec::<Value>::new());
    let made = token(&server, &ana, &["rtc", "rooms:read", "rtc"], None).await;
    let secret = text(&made["token"]);
    let random = secret.strip_prefix("mesh_pat_").unwrap();
    assert!(random.len() == 43 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{secret}");
    assert_eq!((&made["name"], &made["scopes"]), (&json!("a bot"), &json!(["rooms:read", "rtc"])));
    assert_eq!(made["expires_at"], Value::Null);
    server.advance(1);
    let late = token(&server, &ana, &["chat:read"], Some(3600)).await;
    assert_ne!(late["token"], made["token"]);
    let listed = list(&server, &ana).await;
    let ids: Vec<_> = listed.iter().map(|t| t["id"].clone()).collect();
    assert_eq!(ids, [late["id"].clone(), made["id"].clone()], "newest first");
    assert_eq!(listed[0]["expires_at"], late["expires_at"]);
    assert!(listed.iter().all(|t| t["token"].is_null() && t["last_used_at"].is_null()), "{listed:?}");
    // Tokens are no logins, and somebody else's are nobody's.
    assert_eq!(server.get("/api/auth/sessions", &ana).await.1.as_array().unwrap().len(), 1);
    let session = format!("/api/auth/sessions/{}", text(&made["id"]));
    assert_eq!(server.ask("DELETE", &session, Some(&ana.token), None).await.0, 404);
    let eve = server.register("eve").await;
    assert_eq!(revoke(&server, &eve, &made["id"]).await.0, 404);
    assert_eq!(list(&server, &eve).await.len(), 0);
    assert_eq!(me(&server, &secret).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_told_by_field() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for (body, field) in [
        (json!({"name": "", "scopes": ["rtc"]}), "name"),
        (json!({"scopes": ["rtc"]}), "name"),
        (json!({"name": "bot", "scopes": []}), "scopes"),
        (json!({"name": "bot"}), "scopes"),
        (json!({"name": "bot", "scopes": ["everything"]}), "scopes[0]"),
        (json!({"name": "bot", "scopes": ["rtc"], "expires_in": 0}), "expires_in"),
        (json!({"name": "bot", "scopes": ["rtc"], "expires_in": 315_360_001}), "expires_in"),
        (json!({"name": "bot", "scopes": ["rtc"], "expires_in": i64::MAX}), "expires_in"),
    ] {
        let (status, problem) = server.post("/api/auth/tokens", &ana, body.clone()).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{body} {problem}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_are_enough() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut last = Value::Null;
    token(&server, &ana, &["rtc"], Some(60)).await;
    for _ in 0..99 {
        last = token(&server, &ana, &["rtc"], None).await;
    }
    let body = json!({"name": "one more", "scopes": ["rtc"]});
    let (status, problem) = server.post("/api/auth/tokens", &ana, body.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("too_many_tokens")));
    // Two at once for the one place that becomes free.
    assert_eq!(revoke(&server, &ana, &last["id"]).await.0, 204);
    let (a, b) = tokio::join!(
        server.post("/api/auth/tokens", &ana, body.clone()),
        server.post("/api/auth/tokens", &ana, body.clone())
    );
    assert_eq!(u32::from(a.0 == 201) + u32::from(b.0 == 201), 1, "{a:?} {b:?}");
    // One that has ended makes place.
    server.advance(60);
    assert_eq!(server.post("/api/auth/tokens", &ana, body).await.0, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_an_access_token_opens() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "kitchen").await;
    let bot = with(&ana, &token(&server, &ana, &["chat:read", "chat:write", "rooms:read"], None).await);
    // In the URL, in the header, and as a renewal.
    let mut by_url = server.peer(&bot).await;
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(format!(
        "{}/ws",
        server.base.replacen("http", "ws", 1)
    ))
    .unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", bot.token).parse().unwrap());
    let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    drop(socket);
    by_url.join(&room).await;
    let said = by_url.say(&room, "beep").await;
    assert_eq!(said["payload"]["message"]["username"], "ana");
    let (status, message) = server.post(&format!("/api/rooms/{room}/messages"), &bot, json!({"content": "boop"})).await;
    assert_eq!(status, 201, "{message}");
    assert_eq!(by_url.next_of("chat.message.created").await["payload"]["message"]["content"], "boop");
    assert_eq!(server.log(&bot, &room).await.len(), 2);
    // It is told of new rooms.
    let other = server.room(&ana, "garden").await;
    assert_eq!(by_url.next_of("room.added").await["payload"]["room"]["id"], other.as_str());
    for bad in ["mesh_pat_", "mesh_pat_nonsense", &bot.token[..bot.token.len() - 1], &format!("{}x", bot.token)] {
        let (status, problem) = server.ask("GET", "/api/rooms", Some(bad), None).await;
        assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")), "{bad}");
        assert_eq!(Peer::connect(&server.base, bad).await.closed().await.0, 4401);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_dead_at_once_with_its_connections() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (one, two) =
        (token(&server, &ana, &["rooms:read"], None).await, token(&server, &ana, &["rooms:read"], None).await);
    let (mut a, mut b) = (server.peer(&with(&ana, &one)).await, server.peer(&with(&ana, &two)).await);
    assert_eq!(me(&server, &text(&one["token"])).await, 200);
    assert_eq!(revoke(&server, &ana, &one["id"]).await, (204, Value::Null));
    assert_eq!(me(&server, &text(&one["token"])).await, 401, "dead when the answer is there");
    assert_eq!(a.closed().await.0, 4401);
    assert_eq!(b.ask("system.ping", json!({})).await["type"], "system.pong");
    assert_eq!(me(&server, &text(&two["token"])).await, 200);
    assert_eq!(revoke(&server, &ana, &one["id"]).await.0, 404);
    assert_eq!(list(&server, &ana).await.len(), 1);
    let gone = Peer::connect(&server.base, &text(&one["token"])).await.closed().await;
    assert_eq!((gone.0, gone.1.as_str()), (4401, "token_invalid"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_leaves_tokens_alone_and_a_disabled_account_ends_them() {
    let server = Server::start().await;
    let admin = server.register("admin").await;
    let ana = server.register("ana").await;
    let made = token(&server, &ana, &["rooms:read"], None).await;
    let bot = with(&ana, &made);
    let mut peer = server.peer(&bot).await;
    let body = json!({"current_password": PASSWORD, "new_password": "another horse"});
    assert_eq!(server.post("/api/auth/password", &ana, body).await.0, 204);
    assert_eq!(me(&server, &bot.token).await, 200);
    // Nor does a logout of the login that made it.
    assert_eq!(server.post("/api/auth/logout", &ana, json!({})).await.0, 204);
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    disable(&server, &admin, &ana).await;
    assert!([4401, 4403].contains(&peer.closed().await.0));
    server.advance(1);
    assert_eq!(me(&server, &bot.token).await, 401);
    assert_eq!(login(&server, "ana", "another horse").await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_says() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let made = token(&server, &ana, &["rooms:read"], Some(120)).await;
    let bot = with(&ana, &made);
    let ends = made["expires_at"].as_str().unwrap();
    assert!(ends.ends_with(".000Z"), "{ends}");
    let mut peer = server.peer(&bot).await;
    server.advance(61);
    assert_eq!(peer.next_of("system.token_expiring").await["payload"]["expires_at"], ends);
    server.advance(58);
    assert_eq!(me(&server, &bot.token).await, 200);
    server.advance(1);
    let (status, problem) = server.get("/api/auth/me", &bot).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_expired")));
    let (code, reason, _) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "token_expired"));
    assert_eq!(Peer::connect(&server.base, &bot.token).await.closed().await.0, 4401);
    // One without an end stays.
    let bot = with(&ana, &token(&server, &ana, &["rooms:read"], None).await);
    let mut peer = server.peer(&bot).await;
    server.advance(20 * 365 * 86_400);
    assert_eq!(me(&server, &bot.token).await, 200);
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    server.stop().await;
}

/// Asks for a ticket with a credential: where it opens a connection.
async fn ticket(server: &Server, base: &str, who: &Account) -> Result<String, (u16, Value)> {
    let asked = server.http.post(format!("{base}/api/auth/ws-ticket")).bearer_auth(&who.token);
    let response = asked.send().await.unwrap();
    let (status, answer) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
    if status != 201 {
        return Err((status, answer));
    }
    assert_eq!(answer["expires_in"], 30);
    Ok(format!("{}/ws?ticket={}", base.replacen("http", "ws", 1), text(&answer["ticket"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_what_its_token_opens() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "kitchen").await;
    let send = json!({"room_id": room, "content": "beep"});
    for scopes in [&["rooms:read"][..], &["chat:read"], &["chat:write"], &["rtc"], &["chat:read", "chat:write"]] {
        let bot = with(&ana, &token(&server, &ana, scopes, None).await);
        let url = ticket(&server, &server.base, &bot).await.unwrap();
        let mut peer = Peer::connect_to(&url).await.unwrap();
        let mut direct = Peer::connect(&server.base, &bot.token).await;
        let (welcome, same) = (peer.hello().await, direct.hello().await);
        for part in ["user", "rooms", "rooms_complete", "ice_servers"] {
            assert_eq!(welcome["payload"][part], same["payload"][part], "{scopes:?} {part}");
        }
        assert_eq!(welcome["payload"]["user"]["id"], ana.id.as_str());
        let joined = peer.ask("room.join", json!({"room_id": room})).await;
        assert_eq!(joined["type"] == "room.joined", scopes.contains(&"chat:read"), "{scopes:?} {joined}");
        let said = peer.ask("chat.message.send", send.clone()).await;
        assert_eq!(said["type"] == "chat.message.created", scopes.contains(&"chat:write"), "{scopes:?} {said}");
        // It works once.
        let (code, reason, _) = Peer::connect_to(&url).await.unwrap().closed().await;
        assert_eq!((code, reason.as_str()), (4401, "token_invalid"));
        // It is renewed like one that was opened with the token.
        let wider = peer.ask("system.auth", json!({"token": ana.token})).await;
        assert_eq!(wider["type"], "system.ack");
    }
    let bot = with(&ana, &token(&server, &ana, &["rtc"], None).await);
    let late = ticket(&server, &server.base, &bot).await.unwrap();
    let kept = ticket(&server, &server.base, &bot).await.unwrap();
    server.advance(29);
    Peer::connect_to(&kept).await.unwrap().hello().await;
    server.advance(1);
    assert_eq!(Peer::connect_to(&late).await.unwrap().closed().await.0, 4401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_and_its_connection_end_with_the_token() {
    let server = Server::start().await;
    let admin = server.register("admin").await;
    let ana = server.register("ana").await;
    let second = crate::admin::accounts::lone_server(&server).await;
    let here = server.base.clone();
    let opened = async |url: Result<String, (u16, Value)>| {
        let mut peer = Peer::connect_to(&url.unwrap()).await.unwrap();
        peer.hello().await;
        peer
    };
    let dead = async |url: Result<String, (u16, Value)>| {
        let (code, reason, _) = Peer::connect_to(&url.unwrap()).await.unwrap().closed().await;
        assert_eq!(code, 4401);
        reason
    };
    // Revoked, here and at another server.
    let made = token(&server, &ana, &["rooms:read"], None).await;
    let bot = with(&ana, &made);
    let mut peers = [
        opened(ticket(&server, &here, &bot).await).await,
        opened(ticket(&server, &second, &bot).await).await,
        opened(ticket(&server, &here, &bot).await.map(|url| url.replace(&here[4..], &second[4..]))).await,
    ];
    let unused = [ticket(&server, &here, &bot).await, ticket(&server, &second, &bot).await];
    assert_eq!(revoke(&server, &ana, &made["id"]).await.0, 204);
    for peer in &mut peers {
        assert_eq!(peer.closed().await.0, 4401);
    }
    for url in unused {
        assert_eq!(dead(url).await, "token_invalid");
    }
    for base in [&here, &second] {
        assert_eq!(ticket(&server, base, &bot).await.map_err(|(status, _)| status), Err(401), "nor is there another");
    }
    // A ticket is no login, and its owner's logout is none of its business.
    let bot = with(&ana, &token(&server, &ana, &["rooms:read"], None).await);
    let (first, second) = (ticket(&server, &here, &bot).await, ticket(&server, &here, &bot).await);
    let mut stays = opened(first).await;
    assert_eq!(server.post("/api/auth/logout", &ana, json!({})).await.0, 204);
    assert_eq!(stays.ask("system.ping", json!({})).await["type"], "system.pong");
    disable(&server, &admin, &ana).await;
    assert!([4401, 4403].contains(&stays.closed().await.0));
    dead(second).await;
    // By its own time, be the ticket's longer.
    let made = token(&server, &admin, &["rooms:read"], Some(20)).await;
    let bot = with(&admin, &made);
    let (first, second) = (ticket(&server, &here, &bot).await, ticket(&server, &here, &bot).await);
    let mut peer = opened(first).await;
    server.advance(20);
    assert_eq!(dead(second).await, "token_expired");
    let (code, reason, _) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "token_expired"));
    // Nothing of a token that was forgotten meanwhile stays.
    token(&server, &admin, &["rooms:read"], None).await;
    assert_eq!(ticket(&server, &here, &bot).await.map_err(|(status, _)| status), Err(401));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_now_and_then() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "60")]).await;
    let ana = server.register("ana").await;
    let bot = with(&ana, &token(&server, &ana, &["rooms:read"], None).await);
    let mut noted = Vec::new();
    for (pause, _) in [(0, "the first"), (299, "too soon"), (2, "again")] {
        server.advance(pause);
        let at = now(&server);
        assert_eq!(me(&server, &bot.token).await, 200);
        server.app.db.settled().await;
        let last = text(&list(&server, &ana).await[0]["last_used_at"]);
        noted.push((last, at));
    }
    assert_eq!(noted[0].0, noted[1].0, "not every use is written down");
    assert_ne!(noted[0].0, noted[2].0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_keeps_its_scopes() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let full = ["chat:read", "chat:write", "rooms:read"];
    let (wide, narrow) = (token(&server, &ana, &full, None).await, token(&server, &ana, &["chat:read"], None).await);
    let mut peer = server.peer(&with(&ana, &wide)).await;
    let refused = peer.ask("system.auth", json!({"token": narrow["token"]})).await;
    assert_eq!(refused["payload"]["code"], "forbidden", "what it has joined would go on");
    assert_eq!(peer.ask("system.auth", json!({"token": ana.token})).await["type"], "system.ack");
    let refused = peer.ask("system.auth", json!({"token": wide["token"]})).await;
    assert_eq!(refused["payload"]["code"], "forbidden", "a login is wider than any token");
    // From narrow to wide.
    let room = server.room(&ana, "kitchen").await;
    let mut peer = server.peer(&with(&ana, &narrow)).await;
    peer.join(&room).await;
    let send = json!({"room_id": room, "content": "beep"});
    assert_eq!(peer.ask("chat.message.send", send.clone()).await["payload"]["code"], "forbidden");
    assert_eq!(peer.ask("system.auth", json!({"token": wide["token"]})).await["type"], "system.ack");
    assert_eq!(peer.ask("chat.message.send", send).await["type"], "chat.message.created");
    server.stop().await;
}
