//! Several clients do what chance says; in the end all of them hold the same room.
//!
//! `MESH_TEST_SEED` chooses the chance; what the machine's scheduling adds to it can't be repeated.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{is_of_room, messages, two_in_a_room};
use crate::kit::{Account, Chance, Peer, Server, seeds};

/// A client that loses its connection now and then, and sends again what was not answered.
struct Client<'a> {
    server: &'a Server,
    who: &'a Account,
    room: &'a str,
    name: String,
    chance: Chance,
    peer: Option<Peer>,
    /// The room's stream as this client saw it.
    log: Vec<Value>,
    said: Vec<String>,
    unanswered: Vec<String>,
    events: u64,
}

impl<'a> Client<'a> {
    fn new(server: &'a Server, who: &'a Account, room: &'a str, number: u64, seed: u64) -> Self {
        Self {
            server,
            who,
            room,
            name: format!("{}{number}", who.name),
            chance: Chance::new(seed.wrapping_mul(1_000).wrapping_add(number)),
            peer: None,
            log: Vec::new(),
            said: Vec::new(),
            unanswered: Vec::new(),
            events: 0,
        }
    }

    fn heard(&mut self, event: &Value) {
        if event["type"] == "system.error" {
            panic!("{}: refused: {event}", self.name);
        }
        if event["type"] != "chat.message.created" {
            return;
        }
        let message = &event["payload"]["message"];
        if event["reply_to"].is_string() {
            let id = message["client_id"].as_str().unwrap();
            self.unanswered.retain(|waiting| waiting != id);
        }
        if is_of_room(event, self.room) {
            let expected = self.log.len() as u64 + 1;
            assert_eq!(event["payload"]["seq"], expected, "{}: a hole or a repeat: {event}", self.name);
            self.log.push(message.clone());
        }
    }

    async fn ask(&mut self, kind: &str, payload: Value) {
        self.events += 1;
        let id = format!("{}-e{}", self.name, self.events);
        let peer = self.peer.as_mut().unwrap();
        peer.send(json!({"type": kind, "id": id, "payload": payload})).await;
        loop {
            let event = self.peer.as_mut().unwrap().next().await;
            self.heard(&event);
            if event["reply_to"] == id.as_str() {
                return;
            }
        }
    }

    async fn send(&mut self, id: &str) {
        self.events += 1;
        let event_id = format!("{}-e{}", self.name, self.events);
        let payload = json!({"room_id": self.room, "content": id, "client_id": id});
        let event = json!({"type": "chat.message.send", "id": event_id, "payload": payload});
        self.peer.as_mut().unwrap().send(event).await;
    }

    async fn join(&mut self) {
        self.ask("room.join", json!({"room_id": self.room, "since_seq": self.log.len()})).await;
    }

    async fn connected(&mut self) {
        if self.peer.is_some() {
            return;
        }
        let mut peer = Peer::connect(&self.server.base, &self.who.token).await;
        let hello = json!({"peer_type": "client", "version": "chance"});
        peer.send(json!({"type": "system.hello", "from": self.name, "payload": hello})).await;
        assert_eq!(peer.next().await["payload"]["peer_id"], self.name);
        self.peer = Some(peer);
        // Sends that cross the join are allowed too.
        let early = self.chance.below(2) == 0;
        if !early {
            self.join().await;
        }
        for id in self.unanswered.clone() {
            self.send(&id).await;
        }
        if early {
            self.join().await;
        }
    }

    fn next_name(&mut self) -> String {
        let id = format!("{}-m{}", self.name, self.said.len());
        self.said.push(id.clone());
        id
    }

    async fn step(&mut self) {
        self.connected().await;
        match self.chance.below(20) {
            0..12 => {
                for _ in 0..=self.chance.below(4) {
                    let id = self.next_name();
                    self.unanswered.push(id.clone());
                    self.send(&id).await;
                }
            }
            12..14 => self.ask("system.ping", json!({})).await,
            14..16 => {
                let id = self.next_name();
                let body = json!({"content": id, "client_id": id});
                let (status, answer) = self.server.post(&messages(self.room), self.who, body).await;
                assert_eq!(status, 201, "{answer}");
            }
            16 => {
                self.ask("room.leave", json!({"room_id": self.room})).await;
                self.join().await;
            }
            17 => {
                // What was said already, once more.
                let again = self.said.get(self.chance.below(self.said.len().max(1) as u64) as usize).cloned();
                if let Some(id) = again {
                    self.send(&id).await;
                }
            }
            // The connection is lost, whatever was under way.
            _ => self.peer = None,
        }
    }

    async fn live(mut self, steps: u64) -> Self {
        for _ in 0..steps {
            self.step().await;
        }
        self.connected().await;
        while !self.unanswered.is_empty() {
            let event = self.peer.as_mut().unwrap().next().await;
            self.heard(&event);
        }
        self
    }

    async fn catch_up(mut self, last: usize) -> Self {
        while self.log.len() < last {
            let event = self.peer.as_mut().unwrap().next().await;
            self.heard(&event);
        }
        self.ask("system.ping", json!({})).await;
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_everybody_ends_with_the_same_room() {
    let (server, ana, ben, first) = two_in_a_room().await;
    for seed in seeds(&[1, 2, 3, 4]) {
        println!("seed {seed}");
        let room = if seed == 1 { first.clone() } else { server.room(&ana, "Chance").await };
        if seed != 1 {
            server.add(&ana, &room, &ben).await;
        }
        let people = [&ana, &ben, &ana, &ben, &ana];
        let clients = (0..).zip(people).map(|(n, who)| Client::new(&server, who, &room, n, seed).live(40));
        let clients = join_all(clients).await;
        let log = server.log(&ana, &room).await;
        assert!(log.len() < 1_000, "a gap would be allowed");
        let seqs: Vec<_> = log.iter().map(|m| m["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
        let clients = join_all(clients.into_iter().map(|client| client.catch_up(log.len()))).await;
        let mut said: Vec<_> = clients.iter().flat_map(|client| client.said.clone()).collect();
        let mut stored: Vec<_> = log.iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect();
        said.sort_unstable();
        stored.sort_unstable();
        assert_eq!(stored, said, "each once, none lost");
        for client in clients {
            assert_eq!(client.log, log, "{} saw another room", client.name);
        }
    }
    server.stop().await;
}
