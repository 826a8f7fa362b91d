//! The handles of a reconnecting client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use mesh_protocol::{
    MessageId, RoomId,
    event::{chat::MessageSend, room::Joined},
    model::Message,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Config, Error, Event, Rest, ambient,
    session::Session,
    state::{Command, Waiter},
    upstream::{Server, Upstream},
};

/// A client that stays connected. Cheap to clone; when the last handle is dropped the connection is closed.
///
/// What is asked for while there is no connection waits for the next one. Every call takes one of
/// [`Config::max_unacknowledged`] places until it is answered.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    places: Arc<Semaphore>,
}

/// What a [`Client`] tells, in order. Dropping it is allowed: then nobody is told.
///
/// It need not be read fast: what does not fit is read from history later. Also a [`Stream`].
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; none after [`Event::Stopped`].
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event if one is there.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}

impl Client {
    /// Connects, and says whether the first connection stands; from then on the client keeps itself connected.
    ///
    /// # Errors
    /// Why the first connection failed; nothing is left running.
    pub async fn connect(config: Config) -> Result<(Self, Events), Error> {
        let server = server(&config)?;
        Self::connect_to(server, config).await
    }

    /// As [`Client::connect`], but without waiting: a server that can't be reached yet is tried until it can.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Tls`].
    pub fn start(config: Config) -> Result<(Self, Events), Error> {
        let server = server(&config)?;
        Ok(Self::run(server, config, None))
    }

    pub(crate) async fn connect_to(upstream: impl Upstream, config: Config) -> Result<(Self, Events), Error> {
        let (first, connected) = oneshot::channel();
        let handles = Self::run(upstream, config, Some(first));
        connected.await.map_err(|_| stopped())??;
        Ok(handles)
    }

    fn run(
        upstream: impl Upstream,
        config: Config,
        first: Option<oneshot::Sender<Result<(), Error>>>,
    ) -> (Self, Events) {
        let places = config.max_unacknowledged.clamp(1, Semaphore::MAX_PERMITS);
        // A command waits for its place before it waits here: this queue is never what blocks.
        let (commands, receive_commands) = mpsc::channel(places.min(1024));
        let (give_events, events) = mpsc::channel(config.event_capacity.max(1));
        ambient::spawn(Session::new(upstream, config, receive_commands, give_events, first).run());
        (Self { commands, places: Arc::new(Semaphore::new(places)) }, Events(events))
    }

    /// Joins a room: its messages come as [`Event::Message`] from now on, and again after every new connection.
    /// Waits for a connection if there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] with `not_found` or `forbidden`.
    pub async fn join(&self, room_id: RoomId) -> Result<Joined, Error> {
        self.ask(|waiter| Command::Join { room_id, since_seq: None, waiter }).await
    }

    /// Joins a room of which everything up to `since_seq` is known: what came after it is given first.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_since(&self, room_id: RoomId, since_seq: u64) -> Result<Joined, Error> {
        self.ask(|waiter| Command::Join { room_id, since_seq: Some(since_seq), waiter }).await
    }

    /// Stops receiving a room's events; the membership stays.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn leave(&self, room_id: RoomId) -> Result<(), Error> {
        self.ask(|waiter| Command::Leave { room_id, waiter }).await
    }

    /// Says something. The message that is returned is committed on the server.
    ///
    /// However often connections break, it is said once: it is sent again under the same `client_id` until it is
    /// acknowledged. Refusals that pass (`rate_limited`) are waited out. Dropping the future gives up: the message may
    /// have been said or not. Messages that are sent at the same time arrive in any order; await one before the next
    /// where the order counts.
    ///
    /// # Errors
    /// [`Error::Refused`] with `not_found`, `forbidden`, `invalid_payload`; [`Error::TooLarge`]; [`Error::Stopped`].
    pub async fn send(&self, room_id: RoomId, content: impl Into<String>) -> Result<Message, Error> {
        self.send_message(room_id, content.into(), ambient::client_id(), None).await
    }

    /// As [`Client::send`], as an answer to another message.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn reply(
        &self,
        room_id: RoomId,
        reply_to: MessageId,
        content: impl Into<String>,
    ) -> Result<Message, Error> {
        self.send_message(room_id, content.into(), ambient::client_id(), Some(reply_to)).await
    }

    /// As [`Client::send`], under a name of one's own: an application that keeps it across restarts can send again
    /// what it does not know to be said.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_message(
        &self,
        room_id: RoomId,
        content: String,
        client_id: String,
        reply_to_id: Option<MessageId>,
    ) -> Result<Message, Error> {
        let message = MessageSend { room_id, content, client_id: Some(client_id), reply_to_id };
        self.ask(|waiter| Command::Send { message, waiter }).await
    }

    /// Gives the client another access token: the answer to [`Event::CredentialNeeded`]. A connection that stands goes on
    /// with it ([`Event::Renewed`]); so does the next one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn set_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.commands.send(Command::Token(token.into())).await.map_err(|_| stopped())
    }

    /// Closes the connection and ends the client, for every handle. What waits fails with [`Error::Stopped`].
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Waiter<T>) -> Command) -> Result<T, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(Waiter::new(reply, place))).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("free_places", &self.places.available_permits()).finish_non_exhaustive()
    }
}

fn server(config: &Config) -> Result<Server, Error> {
    Ok(Server { rest: Rest::new(&config.base_url)?, timeout: config.connect_timeout })
}

fn stopped() -> Error {
    Error::Stopped("it has ended".to_owned())
}
