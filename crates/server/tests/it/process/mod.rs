//! The real binary: its settings, its migrations, its life and its deaths.

mod config;
mod durability;
mod lifecycle;
mod migrate;
mod secrets;

use std::path::Path;

use serde_json::{Value, json};

use crate::kit::{Account, Binary, Database, Peer, http, output};

pub const PASSWORD: &str = "correct horse battery";

/// A server's REST interface, wherever it runs.
pub struct Rest {
    pub base: String,
    pub http: reqwest::Client,
}

impl Rest {
    pub fn of(server: &Binary) -> Self {
        Self::at(&server.base)
    }

    pub fn at(base: &str) -> Self {
        Self { base: base.to_owned(), http: http().build().unwrap() }
    }

    /// Asks; the status and the body, null where it is no JSON.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    pub async fn register(&self, name: &str) -> Account {
        let body = json!({"username": name, "password": PASSWORD});
        let (status, answer) = self.ask("POST", "/api/auth/register", None, Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Account { id: text(&answer["user"]["id"]), name: name.to_owned(), token: text(&answer["access_token"]) }
    }

    /// The name behind a token; the status where it is refused.
    pub async fn me(&self, token: &str) -> Result<String, u16> {
        let (status, me) = self.ask("GET", "/api/auth/me", Some(token), None).await;
        if status == 200 { Ok(me["username"].as_str().unwrap().to_owned()) } else { Err(status) }
    }

    /// Makes a public room; its id.
    pub async fn room(&self, owner: &Account, name: &str) -> String {
        let body = json!({"name": name, "visibility": "public"});
        let (status, room) = self.ask("POST", "/api/rooms", Some(&owner.token), Some(body)).await;
        assert_eq!(status, 201, "{room}");
        room["id"].as_str().unwrap().to_owned()
    }

    /// All messages of a room, oldest first.
    pub async fn messages(&self, who: &Account, room: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |m| m["seq"].as_u64().unwrap());
            let path = format!("/api/rooms/{room}/messages?after_seq={after}&limit=200");
            let (status, page) = self.ask("GET", &path, Some(&who.token), None).await;
            assert_eq!(status, 200, "{page}");
            let page = page.as_array().unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend_from_slice(page);
        }
    }
}

/// A server, its interface, and ana, who has made a room and listens to it.
pub async fn in_a_room(database: &Database, settings: &[(&str, &str)]) -> (Binary, Rest, Account, String, Peer) {
    let server = Binary::start(database, settings);
    let rest = Rest::of(&server);
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    let mut peer = Peer::connect(&rest.base, &ana.token).await;
    peer.hello().await;
    peer.join(&room).await;
    (server, rest, ana, room, peer)
}

/// Runs the binary to its end in a folder: status, standard output, standard error.
fn run(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Binary::command(dir);
    command.args(args).envs(env.iter().copied());
    output(command)
}

/// The same on a test's database.
fn run_on(database: &Database, args: &[&str]) -> (Option<i32>, String, String) {
    run(database.dir.path(), args, &[("DATABASE_URL", &database.url)])
}

/// Changes or asks a test's database behind the server's back.
pub fn sql(database: &Database, text: &str) {
    match database.sqlite_file() {
        Some(file) => rusqlite::Connection::open(file).unwrap().execute_batch(text).unwrap(),
        None => {
            let (url, text) = (database.url.clone(), text.to_owned());
            // The synchronous client must not run on a runtime's thread.
            let asked = std::thread::spawn(move || {
                postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&text).unwrap();
            });
            asked.join().unwrap();
        }
    }
}
