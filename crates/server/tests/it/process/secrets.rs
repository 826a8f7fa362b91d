//! No line of the log, at whatever level, tells a secret.

use serde_json::{Value, json};

use super::{PASSWORD, Rest};
use crate::{
    kit::{Binary, Database, Peer},
    second_factor::totp,
};

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

/// What else opens something: each is given, used, and used in vain.
async fn credentials(server: &Binary) -> Vec<String> {
    let rest = Rest::of(server);
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let login = json!({"username": "ana", "password": PASSWORD});
    let (_, logged_in) = rest.ask("POST", "/api/auth/login", None, Some(login.clone())).await;
    let token = text(&logged_in["access_token"]);
    let ask = async |method: &str, path: &str, body: Value| {
        let (status, answer) = rest.ask(method, path, Some(&token), Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    };
    let mut secrets = vec![token.clone()];

    let refresh = json!({"refresh_token": logged_in["refresh_token"]});
    let (status, refreshed) = rest.ask("POST", "/api/auth/refresh", None, Some(refresh)).await;
    assert_eq!(status, 200, "{refreshed}");
    secrets.extend([&logged_in["refresh_token"], &refreshed["refresh_token"], &refreshed["access_token"]].map(text));

    let personal = ask("POST", "/api/auth/tokens", json!({"name": "bot", "scopes": ["rooms:read"]})).await;
    let ticket = ask("POST", "/api/auth/ws-ticket", json!({})).await;
    let (personal, ticket) = (text(&personal["token"]), text(&ticket["ticket"]));
    assert_eq!(rest.me(&personal).await.as_deref(), Ok("ana"));
    Peer::connect(&server.base, &personal).await.hello().await;
    let with_ticket = format!("{}/ws?ticket={ticket}", server.base.replacen("http", "ws", 1));
    Peer::connect_to(&with_ticket).await.unwrap().hello().await;
    assert_eq!(Peer::connect_to(&with_ticket).await.unwrap().closed().await.0, 4401);
    secrets.extend([personal, ticket]);

    let ana = crate::kit::Account { id: String::new(), name: "ana".to_owned(), token: token.clone() };
    let room = rest.room(&ana, "Salle").await;
    let wanted = json!({"room_id": room, "capabilities": ["call"]});
    let capability = text(&ask("POST", "/api/auth/capability", wanted).await["capability_token"]);
    assert_eq!(rest.me(&capability).await, Err(401));
    secrets.push(capability);

    let invite = text(&ask("POST", "/api/admin/invites", json!({})).await["code"]);
    let into = text(&ask("POST", &format!("/api/rooms/{room}/invites"), json!({})).await["code"]);
    for page in [format!("/register?invite={invite}"), format!("/invite/{into}"), format!("/invite/{into}/")] {
        rest.ask("GET", &page, None, None).await;
    }
    ask("POST", &format!("/api/invites/{into}/accept"), json!({})).await;
    ask("DELETE", &format!("/api/rooms/{room}/invites/{into}"), json!({})).await;
    ask("DELETE", &format!("/api/admin/invites/{invite}"), json!({})).await;
    secrets.extend([invite, into]);

    let begun = ask("POST", "/api/auth/totp", json!({})).await;
    let secret = text(&begun["secret"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let shown = ask("POST", "/api/auth/totp/confirm", json!({"code": totp::code(&secret, now)})).await;
    let (_, challenged) = rest.ask("POST", "/api/auth/login", None, Some(login)).await;
    let challenge = text(&challenged["challenge"]);
    for code in ["no-such-code", shown["recovery_codes"][0].as_str().unwrap()] {
        let body = json!({"challenge": challenge, "code": code});
        rest.ask("POST", "/api/auth/login/totp", None, Some(body)).await;
    }
    ask("DELETE", "/api/auth/totp", json!({"code": shown["recovery_codes"][1]})).await;
    secrets.extend(shown["recovery_codes"].as_array().unwrap().iter().map(text));
    secrets.extend([secret, challenge, "no-such-code".to_owned()]);

    let next = "a-new-password-of-ana";
    ask("POST", "/api/auth/password", json!({"current_password": PASSWORD, "new_password": next})).await;
    secrets.push(next.to_owned());
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
        let mut secrets = session(&server).await;
        secrets.extend(credentials(&server).await);
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
