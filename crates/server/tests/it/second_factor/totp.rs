//! Codes of an authenticator app. They are computed here by hand (RFC 4226, section 5.3), not by the server's crate.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::{PASSWORD, login, me, now, text};
use crate::kit::{Account, Server};

fn unbase32(text: &str) -> Vec<u8> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|l| *l == letter).unwrap();
        held = held << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    out
}

/// The code of a secret at a time (Unix seconds).
pub(crate) fn code(secret: &str, at: i64) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&unbase32(secret)).unwrap();
    mac.update(&(at / 30).to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Turns it on; the secret and the recovery codes. Afterwards a step has passed, so that the next code is a new one.
pub(crate) async fn enable(server: &Server, who: &Account) -> (String, Vec<String>) {
    let (status, begun) = server.post("/api/auth/totp", who, json!({})).await;
    assert_eq!(status, 200, "{begun}");
    let secret = text(&begun["secret"]);
    let body = json!({"code": code(&secret, now(server))});
    let (status, answer) = server.post("/api/auth/totp/confirm", who, body).await;
    assert_eq!(status, 200, "{answer}");
    server.advance(30);
    (secret, answer["recovery_codes"].as_array().unwrap().iter().map(text).collect())
}

async fn challenge(server: &Server, name: &str, password: &str) -> String {
    let (status, problem) = login(server, name, password).await;
    assert_eq!((status, &problem["code"]), (401, &json!("totp_required")), "{problem}");
    assert!(problem["access_token"].is_null());
    text(&problem["challenge"])
}

async fn complete(server: &Server, challenge: &str, code: &str) -> (u16, Value) {
    let body = json!({"challenge": challenge, "code": code});
    server.ask("POST", "/api/auth/login/totp", None, Some(body)).await
}

async fn state(server: &Server, who: &Account) -> Value {
    server.get("/api/auth/totp", who).await.1
}

async fn disable(server: &Server, who: &Account, body: Value) -> (u16, Value) {
    server.ask("DELETE", "/api/auth/totp", Some(&who.token), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_on_once_a_code_was_shown_and_asked_for_from_then_on() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    assert_eq!(state(&server, &ana).await, json!({"enabled": false, "recovery_codes_left": 0}));
    let (status, problem) = server.post("/api/auth/totp/confirm", &ana, json!({"code": "123456"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("totp_not_begun")));
    let (_, first) = server.post("/api/auth/totp", &ana, json!({})).await;
    let (_, second) = server.post("/api/auth/totp", &ana, json!({})).await;
    let secret = text(&second["secret"]);
    assert_ne!(first["secret"], second["secret"]);
    assert_eq!(unbase32(&secret).len(), 20);
    let expected = format!(
        "otpauth://totp/Mesh%20Server:ana?secret={secret}&issuer=Mesh%20Server&algorithm=SHA1&digits=6&period=30"
    );
    assert_eq!(second["otpauth_url"], expected.as_str());
    // Begun is not on.
    assert_eq!(login(&server, "ana", PASSWORD).await.0, 200);
    let replaced = code(&text(&first["secret"]), now(&server));
    let (status, problem) = server.post("/api/auth/totp/confirm", &ana, json!({"code": replaced})).await;
    assert_eq!((status, &problem["code"]), (403, &json!("invalid_code")), "the new beginning replaced the first");
    let right = code(&secret, now(&server));
    let (status, answer) = server.post("/api/auth/totp/confirm", &ana, json!({"code": right})).await;
    assert_eq!(status, 200, "{answer}");
    let recovery = answer["recovery_codes"].as_array().unwrap();
    assert!(recovery.len() == 10 && recovery.iter().all(|c| c.as_str().unwrap().len() == 19), "{recovery:?}");
    assert_eq!(state(&server, &ana).await, json!({"enabled": true, "recovery_codes_left": 10}));
    for path in ["/api/auth/totp", "/api/auth/totp/confirm"] {
        let (status, problem) = server.post(path, &ana, json!({"code": right})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("totp_enabled")), "{path}");
    }
    // The code that confirmed it was used by that.
    let asked = challenge(&server, "ana", PASSWORD).await;
    let (status, problem) = complete(&server, &asked, &right).await;
    assert_eq!((status, &problem["code"]), (401, &json!("invalid_code")));
    server.advance(30);
    let spaced = code(&secret, now(&server));
    let (status, answer) = complete(&server, &asked, &format!("{} {}", &spaced[..3], &spaced[3..])).await;
    assert_eq!((status, &answer["user"]["username"]), (200, &json!("ana")), "{answer}");
    assert_eq!(me(&server, &text(&answer["access_token"])).await, 200);
    let stored = state(&server, &ana).await;
    assert_eq!(stored["recovery_codes_left"], 10);
    // Wrong passwords are answered as ever, and the OAuth form as JSON.
    assert_eq!(login(&server, "ana", "wrong horse battery").await.1["code"], "invalid_credentials");
    let form = server.http.post(server.url("/api/auth/login"));
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(format!("username=ana&password={}", PASSWORD.replace(' ', "+")));
    let problem: Value = form.send().await.unwrap().json().await.unwrap();
    assert_eq!(problem["code"], "totp_required");
    assert!(problem["challenge"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_and_a_challenge_work_once() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (secret, _) = enable(&server, &ana).await;
    let (one, two) = (challenge(&server, "ana", PASSWORD).await, challenge(&server, "ana", PASSWORD).await);
    let right = code(&secret, now(&server));
    // Both at once: one of them gets in.
    let (a, b) = tokio::join!(complete(&server, &one, &right), complete(&server, &two, &right));
    let mut statuses = [a.0, b.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "{a:?} {b:?}");
    server.advance(30);
    let (winner, loser) = if a.0 == 200 { (one, two) } else { (two, one) };
    let next = code(&secret, now(&server));
    let (status, problem) = complete(&server, &winner, &next).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")), "a challenge is good for one login");
    // The other one failed, and may be tried again; the refusal above did not use the code.
    assert_eq!(complete(&server, &loser, &next).await.0, 200);
    // A code from before the newest one used is dead as well, though the clocks may differ.
    let three = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &three, &code(&secret, now(&server) - 30)).await.0, 401);
    // One step ahead is allowed, two are not.
    assert_eq!(complete(&server, &three, &code(&secret, now(&server) + 60)).await.0, 401);
    assert_eq!(complete(&server, &three, &code(&secret, now(&server) + 30)).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_ends_and_dies_with_what_it_stands_on() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (secret, _) = enable(&server, &ana).await;
    let late = challenge(&server, "ana", PASSWORD).await;
    server.advance(300);
    let (status, problem) = complete(&server, &late, &code(&secret, now(&server))).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_expired")));
    let before = challenge(&server, "ana", PASSWORD).await;
    let body = json!({"current_password": PASSWORD, "new_password": "another horse"});
    assert_eq!(server.post("/api/auth/password", &ana, body).await.0, 204);
    let (status, problem) = complete(&server, &before, &code(&secret, now(&server))).await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_invalid")), "the password was changed");
    // The second factor was replaced by another one.
    let before = challenge(&server, "ana", "another horse").await;
    assert_eq!(disable(&server, &ana, json!({"password": "another horse"})).await.0, 204);
    assert_eq!(complete(&server, &before, &code(&secret, now(&server))).await.0, 401);
    let (anew, _) = enable(&server, &ana).await;
    assert_eq!(complete(&server, &before, &code(&anew, now(&server))).await.0, 401);
    // A challenge is nothing but a challenge, and nothing else is one.
    let fresh = challenge(&server, "ana", "another horse").await;
    assert_eq!(me(&server, &fresh).await, 401);
    for other in [ana.token.as_str(), "nonsense", ""] {
        assert_eq!(complete(&server, other, &code(&anew, now(&server))).await.1["code"], "token_invalid");
    }
    assert_eq!(complete(&server, &fresh, &code(&anew, now(&server))).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_codes_stand_in_once_each() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (_, recovery) = enable(&server, &ana).await;
    for (used, typed) in [(1, recovery[0].clone()), (2, recovery[1].to_uppercase().replace('-', " "))] {
        let asked = challenge(&server, "ana", PASSWORD).await;
        let (status, answer) = complete(&server, &asked, &typed).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(state(&server, &ana).await["recovery_codes_left"], 10 - used);
    }
    let asked = challenge(&server, "ana", PASSWORD).await;
    for bad in [&recovery[0], &recovery[1], "aaaa-aaaa-aaaa-aaaa", ""] {
        assert_eq!(complete(&server, &asked, bad).await.1["code"], "invalid_code", "{bad}");
    }
    // Both at once: one of them gets in.
    let other = challenge(&server, "ana", PASSWORD).await;
    let (a, b) = tokio::join!(complete(&server, &asked, &recovery[2]), complete(&server, &other, &recovery[2]));
    assert_eq!(u32::from(a.0 == 200) + u32::from(b.0 == 200), 1, "{a:?} {b:?}");
    // Somebody else's are nobody's.
    let ben = server.register("ben").await;
    enable(&server, &ben).await;
    let asked = challenge(&server, "ben", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &recovery[3]).await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_code_recovery_code_or_password() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    assert_eq!(disable(&server, &ana, json!({"password": PASSWORD})).await.0, 404, "it is not on");
    assert_eq!(disable(&server, &ana, json!({"code": "123456", "password": PASSWORD})).await.0, 422);
    for round in 0..3 {
        let (secret, recovery) = enable(&server, &ana).await;
        let (status, problem) = disable(&server, &ana, json!({"password": "wrong horse battery"})).await;
        assert_eq!((status, &problem["code"]), (403, &json!("invalid_credentials")));
        let (status, problem) = disable(&server, &ana, json!({"code": "aaaa-aaaa-aaaa-aaaa"})).await;
        assert_eq!((status, &problem["code"]), (403, &json!("invalid_code")));
        let body = match round {
            0 => json!({"code": code(&secret, now(&server))}),
            1 => json!({"code": recovery[4]}),
            _ => json!({"password": PASSWORD}),
        };
        assert_eq!(disable(&server, &ana, body).await, (204, Value::Null));
        assert_eq!(state(&server, &ana).await, json!({"enabled": false, "recovery_codes_left": 0}));
        assert_eq!(login(&server, "ana", PASSWORD).await.0, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_was_just_made_ends_it_without_being_asked_again() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let plain = async |token: &str| server.ask("DELETE", "/api/auth/totp", Some(token), None).await;
    assert_eq!(plain(&ana.token).await.0, 404, "it is not on");
    let (secret, _) = enable(&server, &ana).await;
    server.advance(601);
    let (status, problem) = plain(&ana.token).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("code")), "{problem}");
    assert_eq!(disable(&server, &ana, json!({})).await.0, 422);
    assert_eq!(state(&server, &ana).await["enabled"], true);
    // A refresh makes a token new, and no login.
    let asked = challenge(&server, "ana", PASSWORD).await;
    let (status, login) = complete(&server, &asked, &code(&secret, now(&server))).await;
    assert_eq!(status, 200, "{login}");
    server.advance(601);
    let body = json!({"refresh_token": login["refresh_token"]});
    let (_, refreshed) = server.ask("POST", "/api/auth/refresh", None, Some(body)).await;
    assert_eq!(plain(refreshed["access_token"].as_str().unwrap()).await.0, 422);
    let asked = challenge(&server, "ana", PASSWORD).await;
    let (_, login) = complete(&server, &asked, &code(&secret, now(&server))).await;
    assert_eq!(plain(login["access_token"].as_str().unwrap()).await, (204, Value::Null));
    assert_eq!(state(&server, &ana).await["enabled"], false);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_cannot_be_found_by_trying() {
    let server = Server::start_with(&[("MESH_LOGIN_ATTEMPTS", "5")]).await;
    let ana = server.register("ana").await;
    let (secret, _) = enable(&server, &ana).await;
    let asked = challenge(&server, "ana", PASSWORD).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(complete(&server, &asked, "aaaa").await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    // The right one is not heard either, nor the password: the account's failures are counted together.
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 429);
    assert_eq!(login(&server, "ana", PASSWORD).await.0, 429);
    // Logins may be tried again after a minute. Codes have a limit of their own, by the hour, and the right password,
    // however often, gives nothing of it back.
    server.advance(60);
    for _ in 0..3 {
        challenge(&server, "ana", PASSWORD).await;
    }
    let asked = challenge(&server, "ana", PASSWORD).await;
    let body = json!({"challenge": asked, "code": code(&secret, now(&server))});
    let refused = server.http.post(server.url("/api/auth/login/totp")).json(&body).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    let wait: i64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((600..=660).contains(&wait), "five an hour is one every twelve minutes, of which one is over: {wait}");
    let (status, _) = disable(&server, &ana, json!({"code": code(&secret, now(&server))})).await;
    assert_eq!(status, 429, "nor is it turned off by trying");
    let body = json!({"password": PASSWORD, "code": code(&secret, now(&server))});
    assert_eq!(
        server.ask("DELETE", "/api/auth/me", Some(&ana.token), Some(body)).await.0,
        429,
        "nor the account deleted"
    );
    server.advance(wait);
    let asked = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &asked, "aaaa").await.0, 401);
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 429, "one, not all five");
    server.advance(720);
    let asked = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 200);
    // A right code costs nothing: the next one is heard at once.
    server.advance(30);
    let asked = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 200);
    // Nobody else pays for it.
    let ben = server.register("ben").await;
    let (his, _) = enable(&server, &ben).await;
    let asked = challenge(&server, "ben", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &code(&his, now(&server))).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_takes_a_lost_one_away() {
    let server = Server::start().await;
    let (admin, ana) = (server.register("admin").await, server.register("ana").await);
    let path = format!("/api/admin/users/{}/totp", ana.id);
    let reset = async |path: &str| server.ask("DELETE", path, Some(&admin.token), None).await;
    let (status, problem) = reset(&path).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "there is none yet");
    assert_eq!(server.post("/api/auth/totp", &ana, json!({})).await.0, 200);
    assert_eq!(reset(&path).await.0, 404, "begun is not on");
    assert_eq!(reset("/api/admin/users/nobody/totp").await.0, 404);
    let (secret, recovery) = enable(&server, &ana).await;
    let before = challenge(&server, "ana", PASSWORD).await;
    let mut peer = server.peer(&ana).await;
    assert_eq!(reset(&path).await, (204, Value::Null));
    assert_eq!(reset(&path).await.0, 404);
    // Nothing else has ended.
    assert_eq!(me(&server, &ana.token).await, 200);
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    assert_eq!(state(&server, &ana).await, json!({"enabled": false, "recovery_codes_left": 0}));
    assert_eq!(login(&server, "ana", PASSWORD).await.0, 200);
    for old in [&code(&secret, now(&server)), &recovery[0]] {
        assert_eq!(complete(&server, &before, old).await.1["code"], "token_invalid");
    }
    // The same on the command line.
    enable(&server, &ana).await;
    let command = || {
        let mut command = crate::kit::Binary::command(server.database.dir.path());
        command.args(["user", "reset-totp", "ANA"]).env("DATABASE_URL", &server.database.url);
        tokio::task::block_in_place(|| crate::kit::output(command))
    };
    let said = command();
    assert_eq!((said.0, said.1.as_str()), (Some(0), "ana has no second factor any more\n"), "{}", said.2);
    assert_eq!(login(&server, "ana", PASSWORD).await.0, 200);
    let said = command();
    assert_eq!((said.0, said.1.as_str()), (Some(1), ""));
    assert!(said.2.contains("not on"), "{}", said.2);
    let (_, log) = server.get("/api/admin/audit?action=totp.reset", &admin).await;
    let mut who: Vec<_> = log.as_array().unwrap().iter().map(|e| text(&e["actor_name"])).collect();
    who.sort_unstable();
    assert_eq!(who, ["(command line)", "admin"]);
    assert!(log.as_array().unwrap().iter().all(|e| e["target_name"] == "ana"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_nothing_stands_on_the_old_secret() {
    let (old, new) =
        ("the old secret of more than thirty-two characters", "the new secret of more than thirty-two characters");
    let server = Server::start_with(&[("MESH_JWT_SECRET", old)]).await;
    let ana = server.register("ana").await;
    let (secret, _) = enable(&server, &ana).await;
    let asked = challenge(&server, "ana", PASSWORD).await;
    let database = server.stop().await;
    // A login that is half done goes on, though its factor is sealed anew meanwhile.
    let both = format!("{new},{old}");
    let server = Server::start_on(database, &[("MESH_JWT_SECRET", &both)]).await;
    // The worker of the start does it, or this: whoever comes second finds nothing to do.
    mesh_server::service::totp::seal_anew(&server.app).await.unwrap();
    assert_eq!(mesh_server::service::totp::seal_anew(&server.app).await.unwrap(), 0);
    // Each start begins at the real time again; a step further the code is one that was not used.
    server.advance(30);
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 200);
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_JWT_SECRET", new)]).await;
    server.advance(60);
    let asked = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 200, "the old secret is gone");
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_JWT_SECRET", old)]).await;
    server.advance(90);
    let asked = challenge(&server, "ana", PASSWORD).await;
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 401, "and opens nothing");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_rotation_seals_anew_by_itself() {
    let (old, new) =
        ("the old secret of more than thirty-two characters", "the new secret of more than thirty-two characters");
    let server = Server::start_with(&[("MESH_JWT_SECRET", old)]).await;
    let ana = server.register("ana").await;
    enable(&server, &ana).await;
    let database = server.stop().await;
    let both = format!("{new},{old}");
    let binary = crate::kit::Binary::start(&database, &[("MESH_JWT_SECRET", &both)]);
    tokio::task::block_in_place(|| binary.wait_for_log("second factors were sealed with the newest secret"));
    assert!(tokio::task::block_in_place(|| binary.stop()).0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_completes_nothing() {
    let server = Server::start().await;
    let admin = server.register("admin").await;
    let ana = server.register("ana").await;
    let (secret, _) = enable(&server, &ana).await;
    let asked = challenge(&server, "ana", PASSWORD).await;
    super::tokens::disable(&server, &admin, &ana).await;
    assert_eq!(complete(&server, &asked, &code(&secret, now(&server))).await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_neither_secrets_nor_codes() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let (secret, recovery) = enable(&server, &ana).await;
    let bot = super::token(&server, &ana, &["rtc"], None).await;
    // A copy of all that stands there, as whoever steals a backup has it.
    let Some(file) = server.database.sqlite_file() else {
        server.stop().await;
        return;
    };
    let raw = unbase32(&secret);
    let database = server.stop().await;
    let mut all = std::fs::read(&file).unwrap();
    all.extend(std::fs::read(file.with_extension("db-wal")).unwrap_or_default());
    let holds = |needle: &[u8]| all.windows(needle.len()).any(|window| window == needle);
    assert!(holds(ana.id.as_bytes()), "that it would be found");
    for hidden in [secret.as_bytes(), &raw, bot["token"].as_str().unwrap().as_bytes()] {
        assert!(!holds(hidden));
    }
    for code in &recovery {
        assert!(!holds(code.as_bytes()) && !holds(code.replace('-', "").as_bytes()));
    }
    drop(database);
}
