//! The client against a scripted server, in memory and on a paused clock: every wait is exact and costs nothing.

mod order;
mod reconnect;
mod sends;

use futures_util::{SinkExt as _, StreamExt as _};
use mesh_protocol::{RoomId, model::Message};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::{mpsc, oneshot},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{self, protocol::CloseFrame},
};

use crate::{
    Client, Config, Connection, Error, Event, Events, FixedToken, roomlog::tests::message, upstream::Upstream,
};

const ROOM: RoomId = RoomId::new(uuid::Uuid::from_u128(7));

struct HistoryCall {
    room_id: RoomId,
    after: u64,
    limit: usize,
    answer: oneshot::Sender<Result<Vec<Message>, Error>>,
}

struct Fake {
    dials: mpsc::Sender<(String, DuplexStream)>,
    history: mpsc::Sender<HistoryCall>,
}

impl Upstream for Fake {
    async fn dial(&self, token: String) -> Result<Connection, Error> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.dials.send((token, far)).await.map_err(|_| Error::closed())?;
        Connection::over(near).await
    }

    fn history(
        &self,
        _token: String,
        room_id: RoomId,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Message>, Error>> + Send + 'static {
        let history = self.history.clone();
        async move {
            let (answer, page) = oneshot::channel();
            history.send(HistoryCall { room_id, after, limit, answer }).await.map_err(|_| Error::closed())?;
            page.await.map_err(|_| Error::closed())?
        }
    }
}

/// The server's side of everything.
struct Script {
    dials: mpsc::Receiver<(String, DuplexStream)>,
    history: mpsc::Receiver<HistoryCall>,
}

impl Script {
    fn new() -> (Self, Fake) {
        let (dials, receive_dials) = mpsc::channel(1);
        let (history, receive_history) = mpsc::channel(1);
        (Self { dials: receive_dials, history: receive_history }, Fake { dials, history })
    }

    /// Takes the next connection.
    async fn accept(&mut self) -> Peer {
        let (token, stream) = self.dials.recv().await.unwrap();
        Peer { token, socket: accept_async(stream).await.unwrap() }
    }

    /// Takes the next connection and welcomes it.
    async fn welcome(&mut self) -> Peer {
        let mut peer = self.accept().await;
        let hello = peer.expect("system.hello").await;
        peer.send("system.welcome", Some(&hello), welcome()).await;
        peer
    }

    /// Answers one call for history with the messages of these numbers.
    async fn page(&mut self, after: u64, seqs: impl Iterator<Item = u64>) {
        let call = self.history.recv().await.unwrap();
        assert_eq!((call.room_id, call.after), (ROOM, after));
        let page = seqs.filter(|&seq| seq > after).take(call.limit).map(|seq| message(ROOM, seq)).collect();
        let _ = call.answer.send(Ok(page));
    }
}

struct Peer {
    token: String,
    socket: WebSocketStream<DuplexStream>,
}

impl Peer {
    /// The next event that the client sent; none where it closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(tungstenite::Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().await.expect("the client closed");
        assert_eq!(event["type"], kind, "{event}");
        event
    }

    async fn send(&mut self, kind: &str, answers: Option<&Value>, payload: Value) {
        let mut event = json!({"type": kind, "id": "s", "timestamp": "2026-01-02T03:04:05.678Z", "from": "server", "to": "p", "payload": payload});
        if let Some(question) = answers {
            event["reply_to"] = question["id"].clone();
        }
        self.socket.send(tungstenite::Message::text(event.to_string())).await.unwrap();
    }

    /// Answers the next event, a join; gives its `since_seq`.
    async fn join(&mut self, last_seq: u64, gap: bool) -> Option<u64> {
        let join = self.expect("room.join").await;
        self.send("room.joined", Some(&join), joined(last_seq, gap)).await;
        join["payload"]["since_seq"].as_u64()
    }

    async fn created(&mut self, seq: u64) {
        self.send("chat.message.created", None, created(message(ROOM, seq))).await;
    }

    async fn error(&mut self, question: &Value, code: &str, retryable: bool, retry_after_ms: Option<u64>) {
        let mut error = json!({"code": code, "message": "no", "retryable": retryable});
        if let Some(after) = retry_after_ms {
            error["retry_after_ms"] = after.into();
        }
        self.send("system.error", Some(question), error).await;
    }

    async fn goodbye(&mut self, code: u16, action: &str, retry_after_ms: u64) {
        let payload = json!({"code": code, "reason": "a_test", "action": action, "retry_after_ms": retry_after_ms});
        self.send("system.goodbye", None, payload).await;
        self.close(code).await;
    }

    async fn close(&mut self, code: u16) {
        let _ = self.socket.close(Some(CloseFrame { code: code.into(), reason: "a_test".into() })).await;
    }
}

fn welcome() -> Value {
    let text = include_str!("../../protocol/examples/server/system.welcome.json");
    serde_json::from_str::<Value>(text).unwrap()["payload"].take()
}

fn joined(last_seq: u64, gap: bool) -> Value {
    json!({"room_id": ROOM, "role": "member", "last_seq": last_seq, "read_seq": 0, "gap": gap, "online_count": 1,
        "members": [], "members_complete": true})
}

fn created(message: Message) -> Value {
    json!({"room_id": message.room_id, "seq": message.seq, "message": message})
}

/// What the server makes of a `chat.message.send`.
fn said(send: &Value, seq: u64) -> Value {
    let mut message = message(ROOM, seq);
    message.user_id = mesh_protocol::UserId::parse(welcome()["user"]["id"].as_str().unwrap());
    message.content = send["payload"]["content"].as_str().unwrap().to_owned();
    message.client_id = send["payload"]["client_id"].as_str().map(str::to_owned);
    created(message)
}

fn config() -> Config {
    Config::new("http://test", FixedToken::new("first"))
}

/// A connected client and the server's side of its first connection.
async fn connected(config: Config) -> (Script, Peer, Client, Events) {
    let (mut script, fake) = Script::new();
    let (peer, client) = tokio::join!(script.welcome(), Client::connect_to(fake, config));
    let (client, mut events) = client.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    (script, peer, client, events)
}

/// As [`connected`], in the room, of which all up to `last_seq` is known.
async fn in_room(config: Config, last_seq: u64) -> (Script, Peer, Client, Events) {
    let (script, mut peer, client, mut events) = connected(config).await;
    let (since, answer) = tokio::join!(peer.join(last_seq, false), client.join(ROOM));
    assert_eq!((since, answer.unwrap().last_seq), (None, last_seq));
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    (script, peer, client, events)
}

/// The numbers of the next messages.
async fn seqs(events: &mut Events, n: usize) -> Vec<u64> {
    let mut seqs = vec![];
    while seqs.len() < n {
        match events.recv().await.expect("the end") {
            Event::Message(created) => seqs.push(created.seq),
            other => panic!("{other:?} after {seqs:?}"),
        }
    }
    seqs
}

async fn disconnected(events: &mut Events) -> (String, tokio::time::Duration) {
    match events.recv().await {
        Some(Event::Disconnected { reason, retry_in }) => (reason, retry_in),
        other => panic!("{other:?}"),
    }
}
