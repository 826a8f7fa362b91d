//! What agents do with each other: sessions, files, terminals. The server introduces them and carries nothing.

mod control;
mod ending;
mod quic;
mod sessions;
mod shares;

use serde_json::{Value, json};

use crate::kit::{Account, Peer, Server};

/// Two people with a peer each, in a private room.
struct Pair {
    server: Server,
    ana: Account,
    ben: Account,
    room: String,
    a: Peer,
    b: Peer,
}

async fn pair() -> Pair {
    pair_with(&[]).await
}

async fn pair_with(settings: &[(&str, &str)]) -> Pair {
    let server = Server::start_with(settings).await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Atelier").await;
    server.add(&ana, &room, &ben).await;
    let (a, b) = (server.peer(&ana).await, server.peer(&ben).await);
    Pair { server, ana, ben, room, a, b }
}

/// A SHA-256 fingerprint as SDP writes it.
fn print(byte: u8) -> String {
    format!("sha-256 {}", vec![format!("{byte:02X}"); 32].join(":"))
}

impl Pair {
    /// A capability token for the room.
    async fn token(&self, who: &Account, capability: &str, more: Value) -> String {
        let mut body = json!({"room_id": self.room, "capabilities": [capability]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = self.server.post("/api/auth/capability", who, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["capability_token"].as_str().unwrap().to_owned()
    }

    /// What ana asks ben for: a file, unless `more` says otherwise.
    fn request(&self, token: &str, more: Value) -> Value {
        let mut payload = json!({
            "room_id": self.room, "target_peer_id": self.b.id, "kind": "file", "capability_token": token,
            "endpoints": ["192.0.2.7:40312"], "fingerprint": print(0xAA),
        });
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    }

    /// Ana asks ben for a session; its id.
    async fn ask(&mut self) -> String {
        let token = self.token(&self.ana, "share:file", json!({})).await;
        let request = self.request(&token, json!({}));
        let answer = self.a.ask("p2p.session.request", request).await;
        assert_eq!(answer["type"], "system.ack", "{answer}");
        let id = answer["payload"]["session_id"].as_str().unwrap().to_owned();
        let asked = self.b.next_of("p2p.session.requested").await;
        assert_eq!(asked["payload"]["session_id"], id.as_str());
        id
    }

    /// Ben accepts: what both are told.
    async fn accept(&mut self, id: &str) -> (Value, Value) {
        let accept = json!({"session_id": id, "endpoints": ["198.51.100.4:52001"], "fingerprint": print(0xBB)});
        let bens = self.b.ask("p2p.session.accept", accept).await;
        assert_eq!(bens["type"], "p2p.session.created", "{bens}");
        (self.a.next_of("p2p.session.created").await, bens)
    }

    async fn done(&self, method: &str, path: &str, body: Option<Value>) {
        let (status, answer) = self.server.ask(method, path, Some(&self.ana.token), body).await;
        assert!((200..300).contains(&status), "{method} {path}: {answer}");
    }

    async fn make_ben(&self, role: &str) {
        let path = format!("/api/rooms/{}/members/{}", self.room, self.ben.id);
        self.done("PATCH", &path, Some(json!({"role": role}))).await;
    }
}

/// The code of a refusal.
fn code(answer: &Value) -> &str {
    assert_eq!(answer["type"], "system.error", "{answer}");
    answer["payload"]["code"].as_str().unwrap()
}

/// What of these kinds came before the answer to a ping.
async fn heard(peer: &mut Peer, kinds: &[&str]) -> Vec<Value> {
    let pong = peer.ask("system.ping", json!({})).await;
    assert_eq!(pong["type"], "system.pong", "{pong}");
    let (those, rest) = std::mem::take(&mut peer.waiting)
        .into_iter()
        .partition::<Vec<Value>, _>(|event| kinds.iter().any(|kind| event["type"].as_str().unwrap().starts_with(kind)));
    peer.waiting = rest.into();
    those
}
