//! `kill -9` of the real binary at every stage of the outbox: what was due arrives, and what arrives twice is counted.

use std::{sync::mpsc, time::Duration};

use reqwest::Client;
use serde_json::{Value, json};

use super::{
    TOKEN,
    stand_in::{Answer, StandIn},
};
use crate::kit::{Binary, Database, until};

/// More than are looked at in one transaction.
const AWAY: usize = 120;

/// A house with somebody who speaks, and others who are away; its server dies and comes back.
struct House {
    gotify: StandIn,
    database: Database,
    server: Option<Binary>,
    http: Client,
    ana: String,
    /// All that was ever logged.
    logs: String,
}

impl House {
    async fn new() -> Self {
        let gotify = StandIn::start().await;
        let http = crate::kit::http().build().unwrap();
        let (database, ana) = (Database::new(), String::new());
        let mut house = Self { gotify, database, server: None, http, ana, logs: String::new() };
        house.start();
        house.ana = house.register("ana").await;
        house.register("bob").await;
        house
    }

    fn start(&mut self) {
        let url = self.gotify.url.clone();
        let settings = [
            ("GOTIFY_URL", url.as_str()),
            ("GOTIFY_TOKEN", TOKEN),
            ("LOG_LEVEL", "TRACE"),
            ("MESH_LOGIN_ATTEMPTS", "100000"),
        ];
        self.server = Some(tokio::task::block_in_place(|| Binary::start(&self.database, &settings)));
    }

    fn kill(&mut self) {
        let server = self.server.take().unwrap();
        tokio::task::block_in_place(|| {
            server.signal("KILL");
            self.logs += &server.wait().1;
        });
    }

    /// In order; what it logged until now is of no interest to the stage that follows.
    fn restart(&mut self) {
        let server = self.server.take().unwrap();
        let (status, log) = tokio::task::block_in_place(|| server.stop());
        assert!(status.success(), "{log}");
        self.logs += &log;
        self.start();
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.server.as_ref().unwrap().base);
        let answer = self.http.post(url).bearer_auth(token).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json().await.unwrap()
    }

    async fn register(&self, name: &str) -> String {
        let body = json!({"username": name, "password": "correct horse battery"});
        let made = self.post("/api/auth/register", "", body).await;
        made["access_token"].as_str().unwrap().to_owned()
    }

    /// A room of its own, so that its notifications wait for no window.
    async fn room(&self, name: &str, others: &[String]) -> String {
        let room = self.post("/api/rooms", &self.ana, json!({"name": name})).await["id"].as_str().unwrap().to_owned();
        for other in others {
            self.post(&format!("/api/rooms/{room}/members"), &self.ana, json!({"username": other})).await;
        }
        room
    }

    async fn say(&self, room: &str) {
        self.post(&format!("/api/rooms/{room}/messages"), &self.ana, json!({"content": "due"})).await;
    }

    /// Says something in a room with somebody who is away.
    async fn due(&self, name: &str) -> String {
        let room = self.room(name, &["bob".to_owned()]).await;
        self.say(&room).await;
        room
    }

    async fn arrives(&self, title: &str, times: usize) {
        until(title, || async { self.gotify.titled(title) >= times }).await;
        assert_eq!(self.gotify.titled(title), times, "{title}");
    }

    /// Something said afterwards arrives; so what was to arrive before has.
    async fn marker(&self) {
        self.due("Marker").await;
        self.arrives("@bob: Marker", 1).await;
    }

    /// A number that a query gives.
    async fn number(&self, sql: &str) -> i64 {
        let (url, sql) = (self.database.url.clone(), sql.to_owned());
        if let Some(file) = self.database.sqlite_file() {
            let conn = rusqlite::Connection::open(file).unwrap();
            conn.busy_timeout(Duration::from_secs(10)).unwrap();
            return conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        }
        let ask =
            move || postgres::Client::connect(&url, postgres::NoTls).unwrap().query_one(&sql, &[]).unwrap().get(0);
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// The last of it: no log line of any of the servers holds the token.
    fn end(mut self) {
        self.restart();
        self.kill();
        assert!(self.logs.contains("TRACE") && self.logs.contains("/api/rooms"), "that it would be found");
        assert!(!self.logs.contains(TOKEN), "a token stands in the log");
    }
}

/// Keeps everybody from writing what is due, as long as it lives.
struct Lock(Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Lock {
    fn take(database: &Database) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let (file, url) = (database.sqlite_file(), database.url.clone());
        let thread = std::thread::spawn(move || {
            if let Some(file) = file {
                let conn = rusqlite::Connection::open(file).unwrap();
                conn.busy_timeout(Duration::from_secs(10)).unwrap();
                conn.execute_batch("BEGIN IMMEDIATE").unwrap();
                tell.send(()).unwrap();
                let _ = released.recv();
            } else {
                let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
                client.batch_execute("BEGIN; LOCK TABLE push_due IN EXCLUSIVE MODE").unwrap();
                tell.send(()).unwrap();
                let _ = released.recv();
            }
        });
        told.recv().unwrap();
        Self(Some((release, thread)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some((release, thread)) = self.0.take() {
            drop(release);
            thread.join().unwrap();
        }
    }
}

/// Committed, and nobody was looked up for it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_commit() {
    let mut house = House::new().await;
    for n in 0.. {
        assert!(n < 20, "the server looks at it before anybody can kill it");
        let name = format!("Room {n}");
        let room = house.due(&name).await;
        house.kill();
        let noted = house.number(&format!("SELECT COUNT(*) FROM push_outbox WHERE room_id = '{room}'")).await;
        let due = house.number(&format!("SELECT COUNT(*) FROM push_due WHERE room_id = '{room}'")).await;
        house.start();
        house.arrives(&format!("@bob: {name}"), 1).await;
        if (noted, due) == (1, 0) {
            break;
        }
    }
    house.marker().await;
    house.end();
}

/// Some of those who are away were found, not all. The message itself wrote one row, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_looking_up_whom_to_tell() {
    let mut house = House::new().await;
    let names: Vec<String> = (0..AWAY).map(|n| format!("away{n}")).collect();
    for name in &names {
        house.register(name).await;
    }
    for n in 0.. {
        assert!(n < 10, "the server is faster than anybody can kill it");
        let big = format!("Big {n}");
        let room = house.room(&big, &names).await;
        house.say(&room).await;
        let due = format!("SELECT COUNT(*) FROM push_due WHERE room_id = '{room}'");
        until("the first of them", || async { house.number(&due).await > 0 }).await;
        house.kill();
        let (found, noted) = (house.number(&due).await, house.number("SELECT COUNT(*) FROM push_outbox").await);
        house.start();
        for name in &names {
            house.arrives(&format!("@{name}: {big}"), 1).await;
        }
        if noted == 1 {
            assert!(0 < found && (found as usize) < AWAY, "{found}");
            break;
        }
    }
    house.marker().await;
    house.end();
}

/// Taken to be sent, and not sent.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_is_sent() {
    let mut house = House::new().await;
    house.gotify.answer(Answer::Deaf);
    let room = house.due("Room").await;
    house.gotify.wait_for_connections(1).await;
    let claimed = format!("SELECT COUNT(*) FROM push_due WHERE room_id = '{room}' AND claimed_until > 0");
    assert_eq!(house.number(&claimed).await, 1);
    house.kill();
    house.gotify.answer(Answer::Taken);
    house.start();
    house.arrives("@bob: Room", 1).await;
    house.marker().await;
    house.end();
}

/// The push server has it, and has not said so: it comes twice, with the same id.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_answer() {
    let mut house = House::new().await;
    house.gotify.answer(Answer::Hang);
    house.due("Room").await;
    house.arrives("@bob: Room", 1).await;
    house.kill();
    house.gotify.answer(Answer::Taken);
    house.start();
    house.arrives("@bob: Room", 2).await;
    house.marker().await;
    assert_eq!(house.gotify.titled("@bob: Room"), 2, "a double is one double");
    let ids = house.gotify.ids("@bob: Room");
    assert_eq!(ids[0], ids[1], "a double bears the same id");
    house.end();
}

/// It has said so, and that could not be written yet: the only other way in which one comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_answer_and_its_record() {
    let mut house = House::new().await;
    house.gotify.answer(Answer::Held);
    let room = house.due("Room").await;
    house.arrives("@bob: Room", 1).await;
    let lock = tokio::task::block_in_place(|| Lock::take(&house.database));
    house.gotify.let_go();
    let server = house.server.as_ref().unwrap();
    tokio::task::block_in_place(|| server.wait_for_log("a notification was delivered"));
    house.kill();
    drop(lock);
    let unsent = format!("SELECT COUNT(*) FROM push_due WHERE room_id = '{room}' AND unsent > 0");
    assert_eq!(house.number(&unsent).await, 1, "it was recorded");
    house.gotify.answer(Answer::Taken);
    house.start();
    house.arrives("@bob: Room", 2).await;
    house.marker().await;
    assert_eq!(house.gotify.titled("@bob: Room"), 2, "a double is one double");
    let ids = house.gotify.ids("@bob: Room");
    assert_eq!(ids[0], ids[1], "a double bears the same id");
    house.end();
}

/// It is recorded: it never comes again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_record() {
    let mut house = House::new().await;
    let room = house.due("Room").await;
    house.arrives("@bob: Room", 1).await;
    let recorded = format!("SELECT COUNT(*) FROM push_due WHERE room_id = '{room}' AND unsent = 0");
    until("its record", || async { house.number(&recorded).await == 1 }).await;
    house.kill();
    house.start();
    house.marker().await;
    assert_eq!(house.gotify.titled("@bob: Room"), 1);
    house.end();
}
