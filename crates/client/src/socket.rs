//! One typed WebSocket connection.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use mesh_protocol::{
    PeerId,
    envelope::{Envelope, Str},
    event::{ClientEvent, EventError, ServerEvent, system},
    limits::MAX_FRAME_BYTES,
};
use reqwest::Url;
use tokio::time::{Duration, Instant, timeout};
use tokio_tungstenite::{
    Connector, connect_async_tls_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::WebSocketConfig,
    },
};

use crate::{Credential, Error, Rest, base::Base};

trait Socket:
    Stream<Item = Result<Message, tungstenite::Error>> + Sink<Message, Error = tungstenite::Error> + Send
{
}
impl<T> Socket for T where
    T: Stream<Item = Result<Message, tungstenite::Error>> + Sink<Message, Error = tungstenite::Error> + Send
{
}

/// An event's header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The event's name.
    pub kind: String,
    /// The event's id.
    pub id: Option<String>,
    /// Who caused it: a peer id, or `server`.
    pub from: Option<String>,
    /// A peer id, or in an event to a room the room's id.
    pub to: Option<String>,
    /// The id of the event that it answers.
    pub reply_to: Option<String>,
}

/// Something that came.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// An event of the protocol.
    Event {
        /// Its header.
        head: Head,
        /// What it says.
        event: Box<ServerEvent>,
    },
    /// An event that this version does not know.
    Unknown {
        /// Its header.
        head: Head,
        /// Its payload.
        payload: serde_json::Value,
    },
}

impl Incoming {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it is no event, or an event with a payload that does not fit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let envelope = Envelope::parse(text).map_err(|e| Error::Protocol(e.message))?;
        let owned = |text: &Option<Str<'_>>| text.as_ref().map(|text| text.to_string());
        let head = Head {
            kind: envelope.kind.to_string(),
            id: owned(&envelope.id),
            from: owned(&envelope.from),
            to: owned(&envelope.to),
            reply_to: owned(&envelope.reply_to),
        };
        match ServerEvent::parse(&head.kind, envelope.payload_text()) {
            Ok(event) => Ok(Self::Event { head, event: Box::new(event) }),
            Err(EventError::UnknownType) => {
                let payload = serde_json::from_str(envelope.payload_text());
                payload.map(|payload| Self::Unknown { head, payload }).map_err(|e| Error::Protocol(e.to_string()))
            }
            Err(error) => Err(Error::Protocol(format!("{}: {error}", head.kind))),
        }
    }

    /// Its header.
    pub fn head(&self) -> &Head {
        match self {
            Self::Event { head, .. } | Self::Unknown { head, .. } => head,
        }
    }

    /// What it says, where this version knows it.
    pub fn event(&self) -> Option<&ServerEvent> {
        match self {
            Self::Event { event, .. } => Some(event),
            Self::Unknown { .. } => None,
        }
    }
}

/// Writes an event of a client.
pub(crate) fn frame(id: Option<&str>, from: Option<&str>, event: &ClientEvent) -> String {
    let mut frame = serde_json::Map::new();
    frame.insert("type".to_owned(), event.name().into());
    if let Some(id) = id {
        frame.insert("id".to_owned(), id.into());
    }
    if let Some(from) = from {
        frame.insert("from".to_owned(), from.into());
    }
    frame.insert("payload".to_owned(), event.payload_json());
    serde_json::Value::Object(frame).to_string()
}

/// One WebSocket: typed, and nothing else: it neither reconnects nor orders. WebSocket pings are answered while
/// something is being received.
pub struct Connection {
    socket: Pin<Box<dyn Socket>>,
    /// What came while an answer was awaited.
    queue: VecDeque<Incoming>,
    next_id: u64,
    heard: Instant,
    ended: Option<(Option<u16>, String)>,
}

/// Events that may come while [`Connection::request`] waits: more than the server has ready for one reader.
const QUEUED: usize = 65_536;
/// How long a broken connection is read for the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Connection {
    /// Opens the WebSocket of the server at `base_url`. Nothing is said yet: `system.hello` must come first.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Transport`], [`Error::Upgrade`]. A refused credential shows at the first
    /// [`Connection::recv`]: [`Error::Closed`] with 4401.
    pub async fn connect(base_url: &str, credential: &Credential) -> Result<Self, Error> {
        let rest = Rest::new(base_url)?;
        Self::open(rest.base(), rest.tls(), credential).await
    }

    pub(crate) async fn open(
        base: &Base,
        tls: Arc<rustls::ClientConfig>,
        credential: &Credential,
    ) -> Result<Self, Error> {
        let mut url: Url = base.socket()?;
        match credential {
            Credential::QueryToken(token) => drop(url.query_pairs_mut().append_pair("token", token)),
            Credential::Ticket(ticket) => drop(url.query_pairs_mut().append_pair("ticket", ticket)),
            Credential::Token(_) | Credential::None => {}
        }
        let mut request = url.as_str().into_client_request()?;
        if let Credential::Token(token) = credential {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Error::Credential("a token has no such characters".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(0);
        let connector = if base.is_tls() { Connector::Rustls(tls) } else { Connector::Plain };
        let (socket, _) = connect_async_tls_with_config(request, Some(config), true, Some(connector)).await?;
        Ok(Self::new(socket))
    }

    fn new(socket: impl Socket + 'static) -> Self {
        let socket = Box::pin(socket);
        Self { socket, queue: VecDeque::new(), next_id: 0, heard: Instant::now(), ended: None }
    }

    /// Over any stream, for tests.
    #[cfg(test)]
    pub(crate) async fn over(stream: tokio::io::DuplexStream) -> Result<Self, Error> {
        let (socket, _) = tokio_tungstenite::client_async("ws://test/ws", stream).await?;
        Ok(Self::new(socket))
    }

    /// Says hello and waits for the welcome. `peer_id` proposes a name for the connection.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Closed`].
    pub async fn hello(&mut self, hello: system::Hello, peer_id: Option<&PeerId>) -> Result<system::Welcome, Error> {
        self.hello_with(hello, peer_id, Vec::new()).await
    }

    /// The same, and says `early` right behind it: the server acts on it after the welcome.
    pub(crate) async fn hello_with(
        &mut self,
        hello: system::Hello,
        peer_id: Option<&PeerId>,
        early: Vec<String>,
    ) -> Result<system::Welcome, Error> {
        let id = self.new_id();
        self.send_text(frame(Some(&id), peer_id.map(PeerId::as_str), &ClientEvent::Hello(hello))).await?;
        for text in early {
            self.send_text(text).await?;
        }
        match self.answer(&id).await? {
            Incoming::Event { event, .. } => match *event {
                ServerEvent::Welcome(welcome) => Ok(welcome),
                other => Err(Error::Protocol(format!("{} answers a hello", other.name()))),
            },
            Incoming::Unknown { head, .. } => Err(Error::Protocol(format!("{} answers a hello", head.kind))),
        }
    }

    /// Sends an event under a new id, which is returned: the answer bears it in `reply_to`.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Closed`], [`Error::Transport`].
    pub async fn send(&mut self, event: &ClientEvent) -> Result<String, Error> {
        let id = self.new_id();
        self.send_as(Some(&id), None, event).await?;
        Ok(id)
    }

    /// Sends an event with this `id` and `from`, or without.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_as(&mut self, id: Option<&str>, from: Option<&str>, event: &ClientEvent) -> Result<(), Error> {
        let text = frame(id, from, event);
        if text.len() > MAX_FRAME_BYTES {
            return Err(Error::TooLarge { bytes: text.len(), limit: MAX_FRAME_BYTES });
        }
        self.send_text(text).await
    }

    /// Sends a text frame as it is.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Transport`].
    pub async fn send_text(&mut self, text: String) -> Result<(), Error> {
        match self.socket.send(Message::text(text)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words(error.into()).await),
        }
    }

    /// A write failed: why the server closed, if it said so, counts more than that. What else it said is kept.
    async fn last_words(&mut self, error: Error) -> Error {
        while self.queue.len() < QUEUED {
            match timeout(LAST_WORDS, self.read()).await {
                Ok(Ok(incoming)) => self.queue.push_back(incoming),
                Ok(Err(closed @ Error::Closed { code: Some(_), .. })) => return closed,
                _ => break,
            }
        }
        error
    }

    /// Sends an event and waits for its answer; what else comes meanwhile is kept for [`Connection::recv`].
    ///
    /// # Errors
    /// As [`Connection::send`]; [`Error::Refused`] where the answer is a `system.error`.
    pub async fn request(&mut self, event: &ClientEvent) -> Result<Incoming, Error> {
        let id = self.send(event).await?;
        self.answer(&id).await
    }

    /// Waits for the answer to the event that was sent under `id`; what else comes meanwhile is kept for
    /// [`Connection::recv`].
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub async fn answer(&mut self, id: &str) -> Result<Incoming, Error> {
        let is_it = |incoming: &Incoming| incoming.head().reply_to.as_deref() == Some(id);
        let answer = match self.queue.iter().position(is_it).and_then(|n| self.queue.remove(n)) {
            Some(queued) => queued,
            None => loop {
                let incoming = self.read().await?;
                if is_it(&incoming) {
                    break incoming;
                }
                if self.queue.len() >= QUEUED {
                    return Err(Error::Protocol(format!("{QUEUED} events before the answer")));
                }
                self.queue.push_back(incoming);
            },
        };
        if let Some(ServerEvent::Error(error)) = answer.event() {
            return Err(Error::Refused(Box::new(error.clone())));
        }
        Ok(answer)
    }

    /// The next event. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// [`Error::Closed`] at the end, also when called again; [`Error::Protocol`] for a frame that is no event, after
    /// which the next one may be received.
    pub async fn recv(&mut self) -> Result<Incoming, Error> {
        match self.queue.pop_front() {
            Some(incoming) => Ok(incoming),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Incoming, Error> {
        loop {
            if let Some((code, reason)) = &self.ended {
                return Err(Error::Closed { code: *code, reason: reason.clone() });
            }
            match self.socket.next().await {
                Some(Ok(message)) => {
                    self.heard = Instant::now();
                    match message {
                        Message::Text(text) => return Incoming::parse(&text),
                        Message::Binary(_) => return Err(Error::Protocol("a binary frame".to_owned())),
                        Message::Close(close) => {
                            self.ended = Some(close.map_or((None, String::new()), |close| {
                                (Some(close.code.into()), close.reason.to_string())
                            }));
                            // Sends the answer to the close that tungstenite has ready.
                            let _ = self.socket.flush().await;
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                Some(Err(error)) => {
                    let error = Error::from(error);
                    self.ended = Some((None, error.to_string()));
                    return Err(error);
                }
                None => self.ended = Some((None, String::new())),
            }
        }
    }

    /// When something, pings included, was last received.
    pub fn last_heard(&self) -> std::time::Instant {
        self.heard.into_std()
    }

    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Closes with 1000 and waits until the server has closed too.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn close(mut self) -> Result<(), Error> {
        use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.ended.is_none() && self.socket.send(Message::Close(Some(close))).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
        Ok(())
    }

    fn new_id(&mut self) -> String {
        self.next_id += 1;
        format!("c{}", self.next_id)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("queued", &self.queue.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
