//! A WebSocket client that was not written here (tungstenite), with raw JSON.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message},
};

use super::soon;

pub struct Peer {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while another was waited for.
    pub waiting: std::collections::VecDeque<Value>,
    pub id: String,
    next: u64,
}

impl Peer {
    pub async fn connect(base: &str, token: &str) -> Self {
        Self::connect_to(&format!("{}/ws?token={token}", base.replacen("http", "ws", 1))).await.unwrap()
    }

    pub async fn connect_to(url: &str) -> Result<Self, Error> {
        let (socket, _) = soon("the upgrade", tokio_tungstenite::connect_async(url)).await?;
        Ok(Self { socket, waiting: Default::default(), id: String::new(), next: 0 })
    }

    /// By TLS of the test's own.
    pub async fn connect_by(url: &str, connector: Connector) -> Result<Self, Error> {
        let connecting = tokio_tungstenite::connect_async_tls_with_config(url, None, false, Some(connector));
        let (socket, _) = soon("the upgrade", connecting).await?;
        Ok(Self { socket, waiting: Default::default(), id: String::new(), next: 0 })
    }

    pub async fn send(&mut self, event: Value) {
        self.send_text(event.to_string()).await;
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next event as it comes, but for those that nothing asked for and that come after their own pauses: presence
    /// waits for [`Peer::next_of`].
    pub async fn next(&mut self) -> Value {
        let by_the_way = |event: &Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("presence."));
        if let Some(at) = self.waiting.iter().position(|event| !by_the_way(event)) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let event = self.read().await;
            if !by_the_way(&event) {
                return event;
            }
            self.waiting.push_back(event);
        }
    }

    async fn read(&mut self) -> Value {
        // Pings come as long as the connection stands: they do not make it wait longer.
        soon("an event", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("expected an event, got {other:?}"),
                }
            }
        })
        .await
    }

    /// The next event of a type; others wait.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|e| e["type"] == kind) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let event = self.read().await;
            if event["type"] == kind {
                return event;
            }
            self.waiting.push_back(event);
        }
    }

    /// Sends an event with an id and gives its answer; others wait.
    pub async fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.ask_with(json!({"type": kind, "payload": payload})).await
    }

    /// The same for something that another peer is to get.
    pub async fn ask_to(&mut self, to: &str, kind: &str, payload: Value) -> Value {
        self.ask_with(json!({"type": kind, "to": to, "payload": payload})).await
    }

    async fn ask_with(&mut self, mut event: Value) -> Value {
        self.next += 1;
        let id = format!("q{}", self.next);
        event["id"] = json!(id);
        self.send(event).await;
        loop {
            let event = self.read().await;
            if event["reply_to"] == id.as_str() {
                return event;
            }
            self.waiting.push_back(event);
        }
    }

    pub async fn hello(&mut self) -> Value {
        let welcome = self.ask("system.hello", json!({"peer_type": "client", "version": "test"})).await;
        assert_eq!(welcome["type"], "system.welcome", "{welcome}");
        self.id = welcome["payload"]["peer_id"].as_str().unwrap().to_owned();
        welcome
    }

    pub async fn join(&mut self, room: &str) -> Value {
        let joined = self.ask("room.join", json!({"room_id": room})).await;
        assert_eq!(joined["type"], "room.joined", "{joined}");
        joined
    }

    pub async fn say(&mut self, room: &str, content: &str) -> Value {
        let created = self.ask("chat.message.send", json!({"room_id": room, "content": content})).await;
        assert_eq!(created["type"], "chat.message.created", "{created}");
        created
    }

    /// Sends an event and gives its answer, or the code with which the connection ends instead.
    pub async fn ask_or_end(&mut self, kind: &str, payload: Value) -> Result<Value, u16> {
        self.send(json!({"type": kind, "id": "the last", "payload": payload})).await;
        soon("an answer or the close", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let event: Value = serde_json::from_str(&text).unwrap();
                        if event["reply_to"] == "the last" {
                            return Ok(event);
                        }
                    }
                    Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("expected an answer or a close frame, got {other:?}"),
                }
            }
        })
        .await
    }

    /// Reads to the close frame: its code and reason, and the events before it.
    pub async fn closed(&mut self) -> (u16, String, Vec<Value>) {
        let mut events: Vec<_> = std::mem::take(&mut self.waiting).into();
        soon("the close", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => events.push(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(Some(frame)))) => {
                        return (frame.code.into(), frame.reason.to_string(), std::mem::take(&mut events));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("expected a close frame, got {other:?} after {events:?}"),
                }
            }
        })
        .await
    }
}
