//! Opening: credentials, origins, handshakes.

use serde_json::json;

use super::raw::{CLOSE, Raw, TEXT, handshake, masked};
use crate::{
    kit::{Peer, Server},
    operations::{scrape, sum},
};

async fn refused(url: &str) -> (u16, String) {
    let mut peer = Peer::connect_to(url).await.unwrap_or_else(|e| panic!("{url} was not upgraded: {e}"));
    let (code, reason, events) = peer.closed().await;
    assert!(events.is_empty(), "nothing is said to a stranger: {events:?}");
    (code, reason)
}

fn ws(server: &Server, path: &str) -> String {
    format!("{}{path}", server.base.replacen("http", "ws", 1))
}

fn with(more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut headers = handshake();
    for (name, value) in more {
        headers.retain(|(given, _)| given != name);
        headers.push((*name, (*value).to_owned()));
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_socket_opens_and_closes_with_4401_token_missing() {
    let server = Server::start().await;
    for path in ["/ws", "/ws?token=", "/ws?other=1"] {
        assert_eq!(refused(&ws(&server, path)).await, (4401, "token_missing".to_owned()), "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_none_of_this_server_closes_with_4401_token_invalid() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let elsewhere = Server::start_with(&[("MESH_JWT_SECRET", "quite another secret of more than 32 characters")]).await;
    let foreign = elsewhere.register("ana").await.token;
    // The same secret, but a login that this server's database does not know.
    let twin = Server::start().await;
    let unknown = twin.register("ana").await.token;
    let (head, signature) = ana.token.rsplit_once('.').unwrap();
    let other_letter = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{head}.{other_letter}{}", &signature[1..]);
    let unsigned = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.{}.", head.split('.').nth(1).unwrap());
    for token in ["garbage", "a.b.c", "%00", &foreign, &unknown, &tampered, &unsigned] {
        let (code, reason) = refused(&ws(&server, &format!("/ws?token={token}"))).await;
        assert_eq!((code, reason.as_str()), (4401, "token_invalid"), "{token}");
    }
    for server in [server, elsewhere, twin] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_closes_with_4401_token_expired() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "10")]).await;
    let ana = server.register("ana").await;
    server.advance(9 * 60);
    server.peer(&ana).await;
    server.advance(61);
    let url = ws(&server, &format!("/ws?token={}", ana.token));
    assert_eq!(refused(&url).await, (4401, "token_expired".to_owned()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_hangs_up_on_a_refused_client_that_has_parted() {
    let server = Server::start().await;
    let (answer, mut raw) = Raw::request(&server.base, "/ws", &handshake()).await;
    assert_eq!(answer.status, 101);
    assert_eq!(raw.closed().await.0, 4401);
    raw.frame(CLOSE, &4401_u16.to_be_bytes()).await;
    assert_eq!(raw.next().await, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_header_is_a_credential() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for scheme in ["Bearer", "bearer"] {
        let authorization = format!("{scheme} {}", ana.token);
        let (answer, mut raw) = Raw::request(&server.base, "/ws", &with(&[("Authorization", &authorization)])).await;
        assert_eq!(answer.status, 101);
        let welcome = raw.hello().await;
        assert_eq!(welcome["payload"]["user"]["username"], "ana");
        raw.close().await;
    }
    let basic = with(&[("Authorization", "Basic YW5hOnB3")]);
    let (_, mut raw) = Raw::request(&server.base, "/ws", &basic).await;
    assert_eq!(raw.closed().await, (4401, "token_missing".to_owned(), vec![]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_not_allowed_gets_403() {
    let server = Server::start_with(&[("MESH_CORS_ORIGINS", "https://app.example, http://localhost:3000")]).await;
    let ana = server.register("ana").await;
    let path = format!("/ws?token={}", ana.token);
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null", ""] {
        let (answer, _) = Raw::request(&server.base, &path, &with(&[("Origin", origin)])).await;
        assert_eq!(answer.status, 403, "{origin}: {}", answer.head);
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["code"], "origin_not_allowed");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
    }
    for origin in ["https://app.example", "http://localhost:3000"] {
        let (answer, mut raw) = Raw::request(&server.base, &path, &with(&[("Origin", origin)])).await;
        assert_eq!(answer.status, 101, "{origin}: {}", answer.head);
        raw.hello().await;
        raw.close().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_the_public_url_is_the_one_allowed_origin() {
    let server = Server::start_with(&[("MESH_PUBLIC_URL", "https://mesh.example/base")]).await;
    let ana = server.register("ana").await;
    let path = format!("/ws?token={}", ana.token);
    let (own, _) = Raw::request(&server.base, &path, &with(&[("Origin", "https://mesh.example")])).await;
    let (other, _) = Raw::request(&server.base, &path, &with(&[("Origin", "https://other.example")])).await;
    assert_eq!((own.status, other.status), (101, 403));
    let any = Server::start_with(&[("MESH_CORS_ORIGINS", "*")]).await;
    let (answer, _) = Raw::request(&any.base, "/ws", &with(&[("Origin", "https://other.example")])).await;
    assert_eq!(answer.status, 101);
    server.stop().await;
    any.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_is_that_of_rfc_6455() {
    let server = Server::start().await;
    let (answer, _) = Raw::request(&server.base, "/ws", &handshake()).await;
    assert_eq!(answer.status, 101);
    let head = answer.head.to_ascii_lowercase();
    assert!(answer.head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the accept key of section 1.3: {}", answer.head);
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    // What the server does not speak it must not promise.
    let offered = with(&[("Sec-WebSocket-Extensions", "permessage-deflate"), ("Sec-WebSocket-Protocol", "chat")]);
    let (answer, _) = Raw::request(&server.base, "/ws", &offered).await;
    assert_eq!(answer.status, 101);
    let head = answer.head.to_ascii_lowercase();
    assert!(!head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"), "{head}");
    server.stop().await;
}

/// A client's first request is looked at before HTTP's machinery is there; a later one, or one that has more to it, is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_answered_alike_whatever_way_it_takes() {
    let server = Server::start_with(&[("MESH_CORS_ORIGINS", "https://app.example")]).await;
    let ana = server.register("ana").await;
    let path = format!("/ws?token={}", ana.token);
    let named = with(&[("X-Request-Id", "mine-1"), ("Origin", "https://app.example")]);
    let longer: Vec<_> = named.iter().cloned().chain([("Content-Length", "0".to_owned())]).collect();
    let hello = json!({"type": "system.hello", "id": "hi", "payload": {"peer_type": "client", "version": "raw"}});
    let hello = masked(TEXT, hello.to_string().as_bytes());
    let mut heads = Vec::new();
    for (headers, later) in [(&named, false), (&named, true), (&longer, false)] {
        // What a client says before it is answered is heard.
        let (answer, mut raw) = raw_after(&server, later).await.ask_and_say(&path, headers, &hello).await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        assert_eq!(raw.event().await["payload"]["user"]["username"], "ana");
        raw.close().await;
        let mut lines: Vec<_> = answer.head.trim().lines().map(str::to_owned).collect();
        lines.retain(|line| {
            !line.starts_with("date: ") && !line.starts_with("access-control-") && !line.starts_with("vary")
        });
        lines.sort_unstable();
        heads.push(lines);

        let (answer, mut raw) = raw_after(&server, later).await.ask("/ws?token=x", headers).await;
        assert_eq!((answer.status, raw.closed().await.0), (101, 4401));
        let (answer, _) = raw_after(&server, later).await.ask("/ws", &[("Upgrade", "h2c".to_owned())]).await;
        assert_eq!(answer.status, 400, "{}", answer.head);
    }
    assert_eq!(heads[0][0], "HTTP/1.1 101 Switching Protocols");
    assert!(heads[0].contains(&"x-request-id: mine-1".to_owned()), "{heads:?}");
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
    let figures = scrape(&server).await;
    for (status, count) in [("1xx", 6.0), ("4xx", 3.0)] {
        let labels = [("method", "GET"), ("route", "/ws"), ("status", status)];
        assert_eq!(sum(&figures, "mesh_http_requests_total", &labels), count, "{status}");
    }
    server.stop().await;
}

/// A connection, on which something was asked already where `asked` says so.
async fn raw_after(server: &Server, asked: bool) -> Raw {
    let raw = Raw::silent(&server.base).await;
    if asked { raw.ask("/health", &[]).await.1 } else { raw }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_handshake_gets_a_problem() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (status, problem) = server.get("/ws", &ana).await;
    assert_eq!((status, &problem["code"]), (400, &json!("websocket_required")));
    let (status, problem) = server.post("/ws", &ana, json!({})).await;
    assert_eq!((status, &problem["status"]), (405, &json!(405)));
    for (name, value) in [
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive"),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "not base64 at all!!!!!!!"),
    ] {
        let (answer, _) = Raw::request(&server.base, "/ws", &with(&[(name, value)])).await;
        assert_eq!(answer.status, 400, "{name}: {value}: {}", answer.head);
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], 400);
    }
    let mut keyless = handshake();
    keyless.retain(|(name, _)| *name != "Sec-WebSocket-Key");
    assert_eq!(Raw::request(&server.base, "/ws", &keyless).await.0.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_websocket_version_gets_426_and_the_right_one() {
    let server = Server::start().await;
    for version in ["8", "14", "thirteen"] {
        let (answer, _) = Raw::request(&server.base, "/ws", &with(&[("Sec-WebSocket-Version", version)])).await;
        assert_eq!(answer.status, 426);
        assert!(answer.head.to_ascii_lowercase().contains("sec-websocket-version: 13\r\n"), "{}", answer.head);
    }
    server.stop().await;
}
