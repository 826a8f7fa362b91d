//! Several clients do what chance says, lose their connections and resume: in the end each holds what the server holds.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::{messages, two_in_a_room};
use crate::kit::{Account, Peer, Server, soon};

/// What a client does next. Numbers choose among the messages that it knows.
#[derive(Clone, Debug)]
enum Step {
    Say,
    Edit(usize),
    Delete(usize),
    React(usize, u8),
    Unreact(usize, u8),
    /// The same by REST.
    SayByRest,
    ReactByRest(usize, u8),
    DeleteByRest(usize),
    /// Waits for all answers.
    Settle,
    /// Leaves the room and resumes on the same connection.
    Rejoin,
    /// The connection is lost, whatever is under way; the next step makes a new one, at the latest.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..1_000_usize;
    prop_oneof![
        6 => Just(Step::Say),
        4 => which.clone().prop_map(Step::Edit),
        2 => which.clone().prop_map(Step::Delete),
        4 => (which.clone(), 0..4_u8).prop_map(|(n, emoji)| Step::React(n, emoji)),
        3 => (which.clone(), 0..4_u8).prop_map(|(n, emoji)| Step::Unreact(n, emoji)),
        1 => Just(Step::SayByRest),
        1 => (which.clone(), 0..4_u8).prop_map(|(n, emoji)| Step::ReactByRest(n, emoji)),
        1 => which.prop_map(Step::DeleteByRest),
        2 => Just(Step::Settle),
        1 => Just(Step::Rejoin),
        3 => Just(Step::Lose),
    ]
}

struct Client<'a> {
    server: &'a Server,
    who: &'a Account,
    room: &'a str,
    name: String,
    peer: Option<Peer>,
    /// The last number that was seen.
    seq: u64,
    /// What the room holds, by the number at which it was said.
    state: BTreeMap<u64, Value>,
    asked: u64,
    waiting: Vec<String>,
}

impl Client<'_> {
    fn heard(&mut self, event: &Value) {
        if let Some(answered) = event["reply_to"].as_str() {
            self.waiting.retain(|id| id != answered);
        }
        if event["type"] == "system.error" {
            // Somebody else's message, or one that is deleted meanwhile.
            let code = event["payload"]["code"].as_str().unwrap();
            assert!(["forbidden", "conflict"].contains(&code), "{}: {event}", self.name);
        }
        let message = &event["payload"]["message"];
        if event["to"] != self.room || !message.is_object() {
            return;
        }
        assert_eq!(event["payload"]["seq"], self.seq + 1, "{}: a hole or a repeat: {event}", self.name);
        self.seq += 1;
        let said = message["seq"].as_u64().unwrap();
        let known = self.state.insert(said, message.clone()).is_some();
        assert_eq!(known, event["type"] != "chat.message.created", "{}: {event}", self.name);
        assert_eq!(event["type"] == "chat.message.created", said == self.seq, "{}: {event}", self.name);
    }

    async fn send(&mut self, kind: &str, payload: Value) {
        self.asked += 1;
        let id = format!("{}-{}", self.name, self.asked);
        self.peer.as_mut().unwrap().send(json!({"type": kind, "id": id, "payload": payload})).await;
        self.waiting.push(id);
    }

    async fn next(&mut self) {
        let event = self.peer.as_mut().unwrap().next().await;
        self.heard(&event);
    }

    async fn settle(&mut self) {
        while !self.waiting.is_empty() {
            self.next().await;
        }
    }

    async fn join(&mut self) {
        self.send("room.join", json!({"room_id": self.room, "since_seq": self.seq})).await;
        self.settle().await;
    }

    async fn connected(&mut self) {
        if self.peer.is_none() {
            self.waiting.clear();
            self.peer = Some(self.server.peer(self.who).await);
            self.join().await;
        }
    }

    /// One of the messages that this client knows.
    fn pick(&self, number: usize) -> Option<String> {
        let known = self.state.len();
        let message = self.state.values().nth(number.checked_rem(known)?)?;
        Some(message["id"].as_str().unwrap().to_owned())
    }

    async fn rest(&self, method: &str, path: &str, body: Option<Value>) {
        let path = format!("{}{path}", messages(self.room));
        let (status, answer) = self.server.ask(method, &path, Some(&self.who.token), body).await;
        assert!([201, 204, 403, 409].contains(&status), "{method} {path}: {answer}");
    }

    async fn step(&mut self, step: &Step) {
        self.connected().await;
        let content = format!("{} says {}", self.name, self.asked);
        let about = |number: &usize| self.pick(*number);
        match step {
            Step::Say => self.send("chat.message.send", json!({"room_id": self.room, "content": content})).await,
            Step::SayByRest => self.rest("POST", "", Some(json!({"content": content}))).await,
            Step::Settle => self.settle().await,
            Step::Rejoin => {
                self.settle().await;
                self.send("room.leave", json!({"room_id": self.room})).await;
                self.settle().await;
                self.join().await;
            }
            Step::Lose => self.peer = None,
            Step::Edit(n) => {
                if let Some(id) = about(n) {
                    let ask = json!({"room_id": self.room, "message_id": id, "content": content});
                    self.send("chat.message.edit", ask).await;
                }
            }
            Step::Delete(n) => {
                if let Some(id) = about(n) {
                    self.send("chat.message.delete", json!({"room_id": self.room, "message_id": id})).await;
                }
            }
            Step::React(n, emoji) | Step::Unreact(n, emoji) => {
                let kind = if matches!(step, Step::React(..)) { "chat.reaction.add" } else { "chat.reaction.remove" };
                if let Some(id) = about(n) {
                    let ask = json!({"room_id": self.room, "message_id": id, "emoji": format!("e{emoji}")});
                    self.send(kind, ask).await;
                }
            }
            Step::ReactByRest(n, emoji) => {
                if let Some(id) = about(n) {
                    self.rest("PUT", &format!("/{id}/reactions/e{emoji}"), None).await;
                }
            }
            Step::DeleteByRest(n) => {
                if let Some(id) = about(n) {
                    self.rest("DELETE", &format!("/{id}"), None).await;
                }
            }
        }
    }

    async fn live(mut self, steps: Vec<Step>) -> Self {
        for step in &steps {
            self.step(step).await;
        }
        self.connected().await;
        self.settle().await;
        self
    }

    async fn catch_up(mut self, last: u64) -> Self {
        while self.seq < last {
            self.next().await;
        }
        self.send("system.ping", json!({})).await;
        self.settle().await;
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_ends_with_what_the_server_holds() {
    let (server, ana, ben, _) = two_in_a_room().await;
    let mut runner = TestRunner::new(Config::default());
    for case in 0..24 {
        let lives =
            prop::collection::vec(prop::collection::vec(step(), 1..40), 4).new_tree(&mut runner).unwrap().current();
        let room = server.room(&ana, &format!("Case {case}")).await;
        server.add(&ana, &room, &ben).await;
        println!("case {case}: {lives:?}");
        let people = [&ana, &ben, &ana, &ben];
        let clients = lives.into_iter().zip(people).enumerate().map(|(number, (steps, who))| {
            let name = format!("c{number}");
            let (state, waiting) = (BTreeMap::new(), Vec::new());
            let client =
                Client { server: &server, who, room: &room, name, peer: None, seq: 0, state, asked: 0, waiting };
            client.live(steps)
        });
        let clients = join_all(clients).await;
        // What lost connections had under way is with the store once they are gone; what is said then comes after it.
        soon("the lost connections to end", async {
            while server.hub.connections() > clients.len() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (_, end) = server.post(&messages(&room), &ana, json!({"content": "end"})).await;
        let last = end["seq"].as_u64().unwrap();
        assert!(last < 1_000, "a gap would be allowed");
        let held = server.log(&ana, &room).await;
        for client in join_all(clients.into_iter().map(|client| client.catch_up(last))).await {
            assert_eq!(client.seq, last, "{}", client.name);
            assert_eq!(client.state.values().cloned().collect::<Vec<_>>(), held, "{} holds another room", client.name);
        }
    }
    server.stop().await;
}
