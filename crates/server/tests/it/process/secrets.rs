//! No line of the log, at whatever level, tells a secret.

use serde_json::{Value, json};

use super::{PASSWORD, Rest};
use crate::kit::{Binary, Database, Peer};

const JWT_SECRET: &str = "jwt-secret-jwt-secret-jwt-secret-jwt-secret";
const WRONG: &str = "wrong-password-staple";
const CONTENT: &str = "what-ana-said-in-confidence";

/// A whole session; what must not be in the log.
async fn session(server: &Binary) -> Vec<String> {
    let rest = Rest::of(server);
    let mut secrets: Vec<String> =
        [JWT_SECRET, PASSWORD, WRONG, CONTENT, "database-password"].map(str::to_owned).into();
    // The body that nobody can parse, and the one that is refused, hold a password too.
    for (kind, body, status) in [
        ("application/json", format!("{{\"username\": \"ana\", \"password\": \"{PASSWORD}"), 400),
        ("application/json", format!("{{\"username\": \"a\", \"password\": \"{PASSWORD}\"}}"), 422),
        ("application/json", format!("{{\"username\": 5, \"password\": \"{PASSWORD}\"}}"), 422),
        ("text/plain", PASSWORD.to_owned(), 415),
    ] {
        let request = rest.http.post(format!("{}/api/auth/register", server.base));
        let answer = request.header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
    let credentials = json!({"username": "ana", "password": PASSWORD});
    let (status, registered) = rest.ask("POST", "/api/auth/register", None, Some(credentials.clone())).await;
    assert_eq!(status, 201, "{registered}");
    let wrong = json!({"username": "ana", "password": WRONG});
    assert_eq!(rest.ask("POST", "/api/auth/login", None, Some(wrong)).await.0, 401);
    let (status, logged_in) = rest.ask("POST", "/api/auth/login", None, Some(credentials)).await;
    assert_eq!(status, 200, "{logged_in}");
    let form = format!("grant_type=password&username=ana&password={}", PASSWORD.replace(' ', "+"));
    let request = rest.http.post(format!("{}/api/auth/login", server.base));
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let by_form: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    secrets.push(PASSWORD.replace(' ', "+"));
    for answer in [&registered, &logged_in, &by_form] {
        for token in [&answer["access_token"], &answer["refresh_token"]] {
            let token = token.as_str().unwrap();
            assert!(token.len() > 20);
            secrets.push(token.to_owned());
        }
    }
    let token = by_form["access_token"].as_str().unwrap();
    // A signature is as good as the token: header and claims can be guessed.
    secrets.push(token.rsplit('.').next().unwrap().to_owned());
    let bad = format!("{}AAAA", &token[..token.len() - 4]);
    for credential in [bad.as_str(), "no-token-at-all"] {
        assert_eq!(rest.me(credential).await, Err(401));
        let mut refused = Peer::connect(&server.base, credential).await;
        assert_eq!(refused.closed().await.0, 4401);
        secrets.push(credential.to_owned());
    }
    assert_eq!(rest.me(token).await.as_deref(), Ok("ana"));
    let (status, _) = rest.ask("GET", &format!("/api/rooms?token={token}"), Some(token), None).await;
    assert_eq!(status, 200);

    let ana = crate::kit::Account { id: String::new(), name: "ana".to_owned(), token: token.to_owned() };
    let room = rest.room(&ana, "Cuisine").await;
    let mut peer = Peer::connect(&server.base, token).await;
    peer.hello().await;
    peer.join(&room).await;
    peer.say(&room, CONTENT).await;
    peer.send_text(format!("{{\"type\": \"{CONTENT}")).await;
    assert_eq!(peer.next_of("system.error").await["payload"]["code"], "malformed");
    let refused = peer.ask("chat.message.send", json!({"room_id": room, "content": [token, CONTENT]})).await;
    assert_eq!(refused["payload"]["code"], "invalid_payload", "{refused}");
    assert_eq!(rest.messages(&ana, &room).await[0]["content"], CONTENT);
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_tells_a_secret() {
    for format in ["text", "json"] {
        let database = Database::new();
        // The database trusts everybody here, and takes no notice of the password.
        let url = database.url.replace("postgresql://mesh@", "postgresql://mesh:database-password@");
        let settings = [
            ("LOG_LEVEL", "TRACE"),
            ("MESH_LOG_FORMAT", format),
            ("MESH_JWT_SECRET", JWT_SECRET),
            ("DATABASE_URL", url.as_str()),
            ("TURN_HOST", "turn.example.org"),
            ("TURN_SECRET", "jwt-secret-jwt-secret"),
        ];
        let server = Binary::start(&database, &settings);
        let secrets = session(&server).await;
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0));
        // The log is the one that was meant: it tells of every request.
        for words in ["DEBUG", "/api/auth/register", "/api/auth/login", "/api/rooms", "/ws"] {
            assert!(log.contains(words), "{words} is not in the {format} log");
        }
        for line in log.lines() {
            for secret in &secrets {
                assert!(!line.contains(secret.as_str()), "{secret} is in the {format} log: {line}");
            }
            // Hashes of passwords and refresh tokens: what a thief of the log could work on.
            assert!(!line.contains("$2b$"), "a password's hash is in the {format} log: {line}");
            let hexadecimal = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(!line.split(|c: char| !c.is_ascii_alphanumeric()).any(hexadecimal), "a hash is in the log: {line}");
        }
    }
}
