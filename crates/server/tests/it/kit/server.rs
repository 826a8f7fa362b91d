//! The real server within the test's process, on a port and a database of its own.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use mesh_server::{app::App, clock::Clock, config::Config, lifecycle, realtime::hub::Hub};
use serde_json::{Value, json};

use super::{Database, Peer, http, soon};

pub struct Server {
    pub base: String,
    /// Where the figures stand, if not there.
    pub metrics_addr: Option<std::net::SocketAddr>,
    pub app: Arc<App>,
    pub hub: Arc<Hub>,
    pub http: reqwest::Client,
    /// Unix milliseconds; moves only by [`Self::advance`].
    clock: Arc<AtomicI64>,
    running: tokio::task::JoinHandle<bool>,
    pub database: Database,
}

/// Somebody with an account on a test's server.
#[derive(Clone)]
pub struct Account {
    pub id: String,
    pub name: String,
    pub token: String,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(Database::new(), settings).await
    }

    pub async fn start_on(database: Database, settings: &[(&str, &str)]) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let clock = Arc::new(AtomicI64::new(now.as_millis() as i64));
        let mut pairs = vec![
            ("MESH_HOST", "127.0.0.1"),
            ("MESH_PORT", "0"),
            ("MESH_BCRYPT_COST", "4"),
            ("MESH_JWT_SECRET", "a secret of more than thirty-two characters"),
            ("MESH_EVENTS_PER_SECOND", "100000"),
            ("MESH_LOGIN_ATTEMPTS", "100000"),
            ("DATABASE_URL", &database.url),
        ];
        pairs.extend_from_slice(settings);
        let config = Config::from_pairs(&pairs).unwrap();
        let server = lifecycle::start(config, Clock::Manual(clock.clone())).await.unwrap();
        let (app, hub, addr, metrics_addr) = (server.app.clone(), server.hub.clone(), server.addr, server.metrics_addr);
        let running = tokio::spawn(server.run());
        // Redirects would hide what the contract forbids.
        let http = http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: format!("http://{addr}"), metrics_addr, app, hub, http, clock, running, database }
    }

    /// Moves the server's clock.
    pub fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
        self.hub.clock_moved();
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Asks; the status and the body, which must be JSON or empty.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = soon(path, request.send()).await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        (status, body)
    }

    pub async fn get(&self, path: &str, who: &Account) -> (u16, Value) {
        self.ask("GET", path, Some(&who.token), None).await
    }

    pub async fn post(&self, path: &str, who: &Account, body: Value) -> (u16, Value) {
        self.ask("POST", path, Some(&who.token), Some(body)).await
    }

    /// Makes an account.
    pub async fn register(&self, name: &str) -> Account {
        let body = json!({"username": name, "password": "correct horse battery"});
        let (status, answer) = self.ask("POST", "/api/auth/register", None, Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        Account {
            id: answer["user"]["id"].as_str().unwrap().to_owned(),
            name: name.to_owned(),
            token: answer["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// Makes a room; its id.
    pub async fn room(&self, owner: &Account, name: &str) -> String {
        let (status, room) = self.post("/api/rooms", owner, json!({"name": name})).await;
        assert_eq!(status, 201, "{room}");
        room["id"].as_str().unwrap().to_owned()
    }

    /// Makes somebody a member.
    pub async fn add(&self, owner: &Account, room: &str, who: &Account) {
        let body = json!({"username": who.name});
        let (status, member) = self.post(&format!("/api/rooms/{room}/members"), owner, body).await;
        assert_eq!(status, 201, "{member}");
    }

    /// A connection that has said hello.
    pub async fn peer(&self, who: &Account) -> Peer {
        let mut peer = Peer::connect(&self.base, &who.token).await;
        peer.hello().await;
        peer
    }

    /// All messages of a room, oldest first.
    pub async fn log(&self, who: &Account, room: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map_or(0, |m: &Value| m["seq"].as_u64().unwrap());
            let path = format!("/api/rooms/{room}/messages?after_seq={after}&limit=200");
            let (status, page) = self.get(&path, who).await;
            assert_eq!(status, 200, "{page}");
            let page = page.as_array().unwrap().clone();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// Stops in order; nothing may be left running.
    pub async fn stop(self) -> Database {
        self.app.tasks.stop_softly();
        assert!(soon("the server to stop", self.running).await.unwrap(), "a part of the server died");
        assert_eq!(self.hub.connections(), 0, "a connection outlived the server");
        self.database
    }
}
