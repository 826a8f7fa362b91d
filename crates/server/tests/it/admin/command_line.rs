//! `mesh-server user` and `mesh-server token`, on the database of a running server and without one.

use std::{
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::PASSWORD;
use crate::kit::{Account, Binary, Database, Peer, http, output};

const SECRET: (&str, &str) = ("MESH_JWT_SECRET", "a secret of more than thirty-two characters");

struct House {
    server: Binary,
    http: reqwest::Client,
    database: Database,
}

fn cli(database: &Database, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Binary::command(database.dir.path());
    command.args(args).envs([("DATABASE_URL", database.url.as_str()), ("MESH_BCRYPT_COST", "4"), SECRET]);
    output(command)
}

/// The same with something on standard input.
fn cli_with(database: &Database, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut command = Binary::command(database.dir.path());
    command.args(args).envs([("DATABASE_URL", database.url.as_str()), ("MESH_BCRYPT_COST", "4"), SECRET]);
    command.stdin(Stdio::from(file));
    output(command)
}

fn well(outcome: (Option<i32>, String, String)) -> String {
    let (status, said, complained) = outcome;
    assert_eq!((status, complained.as_str()), (Some(0), ""), "{said}");
    said
}

fn refused(outcome: (Option<i32>, String, String), status: i32, words: &str) {
    let (found, said, complained) = outcome;
    assert_eq!((found, said.as_str()), (Some(status), ""), "{complained}");
    assert!(complained.contains(words) && complained.trim_end().lines().count() <= 24, "{complained}");
}

impl House {
    async fn open() -> Self {
        let database = Database::new();
        let server = tokio::task::block_in_place(|| Binary::start(&database, &[SECRET]));
        Self { server, http: http().build().unwrap(), database }
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.server.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    async fn login(&self, name: &str, password: &str) -> Result<Account, u16> {
        let body = json!({"username": name, "password": password});
        let (status, answer) = self.ask("POST", "/api/auth/login", None, body).await;
        if status != 200 {
            return Err(status);
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Ok(Account { id: text(&answer["user"]["id"]), name: name.to_owned(), token: text(&answer["access_token"]) })
    }

    async fn me(&self, token: &str) -> u16 {
        self.ask("GET", "/api/auth/me", Some(token), Value::Null).await.0
    }

    /// A connection's end within a second of what ends it.
    async fn ends_within_a_second(&self, who: &Account, args: &[&str]) -> (u16, String) {
        let mut peer = Peer::connect(&self.server.base, &who.token).await;
        peer.hello().await;
        let said = tokio::task::block_in_place(|| cli(&self.database, args));
        let began = Instant::now();
        well(said);
        let (code, reason, _) = peer.closed().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        (code, reason)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_server_it_takes_effect_within_a_second() {
    let house = House::open().await;
    let db = &house.database;
    let input = format!("{PASSWORD}\n");
    let said = well(cli_with(db, &["user", "add", "ana", "--admin", "--password-stdin"], &input));
    assert_eq!(said, "ana is made: admin\n");
    let said = well(cli(db, &["user", "add", "ben", "--email", "ben@example.org", "--display-name", "Benoît"]));
    let made = said.lines().nth(1).unwrap().strip_prefix("password: ").unwrap().to_owned();
    let ana = house.login("ana", PASSWORD).await.unwrap();
    let ben = house.login("ben", &made).await.unwrap();

    let (code, reason) = house.ends_within_a_second(&ben, &["user", "disable", "BEN"]).await;
    assert_eq!((code, reason.as_str()), (4403, "account_disabled"));
    assert_eq!(house.me(&ben.token).await, 401);
    assert_eq!(house.login("ben", &made).await.err(), Some(401));
    well(cli(db, &["user", "enable", "ben"]));
    let ben = house.login("ben", &made).await.unwrap();
    assert_eq!(house.ask("GET", "/api/admin/stats", Some(&ben.token), Value::Null).await.0, 403);
    well(cli(db, &["user", "promote", "ben"]));
    let promoted = house.login("ben", &made).await.unwrap();
    assert_eq!(house.ask("GET", "/api/admin/stats", Some(&promoted.token), Value::Null).await.0, 200);
    well(cli(db, &["user", "demote", "ben"]));
    assert_eq!(house.ask("GET", "/api/admin/stats", Some(&promoted.token), Value::Null).await.0, 403);

    let (code, _) = house.ends_within_a_second(&promoted, &["user", "passwd", "ben", "--generate"]).await;
    assert_eq!(code, 4401);
    assert_eq!(house.login("ben", &made).await.err(), Some(401));

    refused(cli(db, &["user", "disable", "ana"]), 1, "last active administrator");
    refused(cli(db, &["user", "demote", "ana"]), 1, "last active administrator");
    assert_eq!(house.me(&ana.token).await, 200);

    let users: Value = serde_json::from_str(&well(cli(db, &["user", "list", "--json"]))).unwrap();
    assert_eq!(users[1]["display_name"], "Benoît");
    let (_, listed) = house.ask("GET", "/api/admin/users", Some(&ana.token), Value::Null).await;
    assert_eq!(users, listed);
    let text = well(cli(db, &["user", "list"]));
    assert!(text.starts_with("NAME ") && text.contains("ben@example.org") && !text.contains("$2b$"), "{text}");

    let (_, log) = house.ask("GET", "/api/admin/audit?limit=200", Some(&ana.token), Value::Null).await;
    let by_hand = log.as_array().unwrap().iter().filter(|e| e["actor_name"] == "(command line)");
    let mut actions: Vec<_> = by_hand.map(|e| e["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    let expected = ["user.created", "user.created", "user.disabled", "user.enabled", "user.password_reset"];
    assert_eq!(actions[..5], expected);
    assert_eq!(actions[5..], ["user.role_changed", "user.role_changed"]);
    assert!(!log.to_string().contains(&made) && !log.to_string().contains(PASSWORD));
    assert!(house.server.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_minted_and_looked_into() {
    let house = House::open().await;
    let db = &house.database;
    let made: Value = serde_json::from_str(&well(cli(db, &["user", "add", "ana", "--generate", "--json"]))).unwrap();
    assert_eq!((&made["username"], &made["role"]), (&json!("ana"), &json!("user")), "{made}");
    assert!(made["id"].is_string() && made["password"].as_str().unwrap().len() >= 16, "{made}");
    let token = well(cli(db, &["token", "mint", "ANA", "--minutes", "5"]));
    let token = token.trim_end();
    assert_eq!(house.me(token).await, 200);
    let told: Value = serde_json::from_str(&well(cli_with(db, &["token", "inspect"], token))).unwrap();
    assert_eq!((&told["verdict"], &told["header"]["typ"]), (&json!("valid"), &json!("at+jwt")));
    let life = told["claims"]["exp"].as_i64().unwrap() - told["claims"]["iat"].as_i64().unwrap();
    assert_eq!((life, told["expires_at"].is_string()), (300, true));
    let verdict = |outcome: (Option<i32>, String, String)| {
        let told: Value = serde_json::from_str(&outcome.1).unwrap();
        (outcome.0, told["verdict"].as_str().unwrap().to_owned())
    };
    let mut command = Binary::command(db.dir.path());
    let other = ("MESH_JWT_SECRET", "another secret of more than thirty-two characters");
    command.args(["token", "inspect", token]).envs([("DATABASE_URL", db.url.as_str()), other]);
    assert_eq!(verdict(output(command)), (Some(1), "foreign".to_owned()));
    assert_eq!(verdict(cli(db, &["token", "inspect", &token[..token.len() - 8]])), (Some(1), "foreign".to_owned()));
    well(cli(db, &["user", "disable", "ana"]));
    assert_eq!(verdict(cli(db, &["token", "inspect", token])), (Some(1), "revoked".to_owned()));
    refused(cli(db, &["token", "mint", "ana"]), 1, "ana is disabled");
    assert!(house.server.stop().0.success());
}

#[test]
fn without_a_server_and_by_mistake() {
    let database = Database::new();
    // The first of a new database, which gets its tables.
    let said = well(cli_with(&database, &["user", "add", "ana", "--password-stdin"], PASSWORD));
    assert_eq!(said, "ana is made: user\n");
    refused(cli(&database, &["user", "add", "ANA"]), 1, "is taken");
    refused(cli_with(&database, &["user", "add", "ben", "--password-stdin"], "short\n"), 1, "at least 8");
    refused(cli(&database, &["user", "add", "b", "--email", "x"]), 1, "username must have at least 3 characters");
    for verb in ["passwd", "disable", "enable", "promote", "demote", "reset-totp"] {
        refused(cli(&database, &["user", verb, "nobody"]), 1, "there is no user \"nobody\"");
    }
    refused(cli(&database, &["token", "mint", "nobody"]), 1, "there is no user \"nobody\"");
    refused(cli(&database, &["token", "inspect", "hello"]), 1, "this is no token");
    refused(cli(&database, &["user"]), 2, "Usage");
    refused(cli(&database, &["token", "mint", "ana", "--minutes", "0"]), 2, "0 is not in");
    let mut command = Binary::command(database.dir.path());
    command.args(["user", "list"]).env("DATABASE_URL", "sqlite:///:memory:");
    refused(output(command), 1, "in memory");
    for args in [
        &["user", "--help"][..],
        &["user", "add", "--help"],
        &["user", "list", "--help"],
        &["user", "passwd", "--help"],
        &["user", "disable", "--help"],
        &["user", "enable", "--help"],
        &["user", "promote", "--help"],
        &["user", "demote", "--help"],
        &["user", "reset-totp", "--help"],
        &["token", "--help"],
        &["token", "mint", "--help"],
        &["token", "inspect", "--help"],
    ] {
        assert!(well(cli(&database, args)).contains("Example"), "{args:?}");
    }
}
