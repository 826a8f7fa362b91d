//! Calls: what two peers of a room say to one another through the server, and what ends a call.

mod ending;
mod ringing;
mod signalling;

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
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    let (a, b) = (server.peer(&ana).await, server.peer(&ben).await);
    Pair { server, ana, ben, room, a, b }
}

impl Pair {
    /// A capability token with `call`, good for whatever `more` says.
    async fn token(&self, who: &Account, more: Value) -> String {
        let mut body = json!({"room_id": self.room, "capabilities": ["call"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = self.server.post("/api/auth/capability", who, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["capability_token"].as_str().unwrap().to_owned()
    }

    /// A payload about `call` in the room.
    fn about(&self, call: &str, more: Value) -> Value {
        let mut payload = json!({"room_id": self.room, "call_id": call});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    }

    /// Ana offers ben a call, which he answers.
    async fn call(&mut self, call: &str) {
        let token = self.token(&self.ana, json!({})).await;
        let offer = self.about(call, json!({"capability_token": token, "sdp": "v=0"}));
        let to = self.b.id.clone();
        ok(&self.a.ask_to(&to, "rtc.offer", offer).await);
        assert_eq!(self.b.next_of("rtc.offer").await["payload"]["call_id"], call);
        let (to, answer) = (self.a.id.clone(), self.about(call, json!({"sdp": "v=0"})));
        ok(&self.b.ask_to(&to, "rtc.answer", answer).await);
        assert_eq!(self.a.next_of("rtc.answer").await["payload"]["call_id"], call);
    }
}

fn ok(answer: &Value) {
    assert_eq!(answer["type"], "system.ack", "{answer}");
}

/// The code of a refusal.
fn code(answer: &Value) -> &str {
    assert_eq!(answer["type"], "system.error", "{answer}");
    answer["payload"]["code"].as_str().unwrap()
}

/// Why a refusal says that the state does not allow it.
fn conflict(answer: &Value) -> &str {
    assert_eq!(code(answer), "conflict", "{answer}");
    answer["payload"]["details"]["reason"].as_str().unwrap()
}

/// Whatever of `rtc` came before the answer to a ping.
async fn signals(peer: &mut Peer) -> Vec<Value> {
    let pong = peer.ask("system.ping", json!({})).await;
    assert_eq!(pong["type"], "system.pong", "{pong}");
    let all: Vec<Value> = std::mem::take(&mut peer.waiting).into();
    all.into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("rtc.")).collect()
}
