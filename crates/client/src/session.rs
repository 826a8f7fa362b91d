//! The client's task: one connection after the other.

use std::{future::Future, pin::pin, sync::Arc};

use futures_util::future::BoxFuture;
use mesh_protocol::{
    CloseCode,
    code::Action,
    event::system::{Goodbye, Hello},
    model::Message,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    Config, Connection, Error, Event, Need, ambient,
    backoff::Backoff,
    state::{Command, Fill, State},
    upstream::Upstream,
};

/// A connection that lasted so long was a good one: the next attempt comes soon.
const STABLE: Duration = Duration::from_secs(10);
/// How long a close may take.
const CLOSING: Duration = Duration::from_secs(2);
/// Where a newer token can't be had just now, it is asked for again so soon: the server warns a minute before the end.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// Without a heartbeat in the welcome, how long a write may take.
const WRITE: Duration = Duration::from_secs(60);

/// Why a connection, or the attempt to have one, ended.
#[derive(Debug)]
enum End {
    /// Try again, after this delay at least, perhaps with another token.
    Again { reason: String, after: Duration, need: Need },
    /// Don't.
    Stop(String),
}

impl End {
    fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into(), after: Duration::ZERO, need: Need::Connect }
    }

    fn action(action: Action, reason: String, after: Duration) -> Self {
        match action {
            Action::Resume => Self::Again { reason, after, need: Need::Connect },
            Action::Reconnect => Self::Again { reason, after, need: Need::Replace },
            Action::Stop => Self::Stop(reason),
        }
    }
}

impl From<&Error> for End {
    fn from(error: &Error) -> Self {
        let reason = error.to_string();
        match error {
            _ if error.is_credential() => Self::action(Action::Reconnect, reason, Duration::ZERO),
            Error::Closed { code: Some(code), .. } => {
                let known = CloseCode::ALL.iter().find(|known| known.number() == *code);
                Self::action(known.map_or(Action::Resume, |known| known.action()), reason, Duration::ZERO)
            }
            Error::Refused(refused) if !refused.retryable => Self::Stop(reason),
            Error::Refused(refused) => {
                let after = Duration::from_millis(refused.retry_after_ms.unwrap_or_default());
                Self::action(Action::Resume, reason, after)
            }
            Error::Address(_) | Error::Tls(_) | Error::Credential(_) => Self::Stop(reason),
            _ => Self::again(reason),
        }
    }
}

impl From<Goodbye> for End {
    fn from(goodbye: Goodbye) -> Self {
        let reason = format!("goodbye: {} {}", goodbye.code, goodbye.reason);
        Self::action(goodbye.action, reason, Duration::from_millis(goodbye.retry_after_ms))
    }
}

/// The end of everything, asked for by a handle.
struct Closed(Option<oneshot::Sender<()>>);

/// What a turn of a wait gave.
enum Turn<T> {
    Done(T),
    /// [`crate::Client::set_token`] was called.
    Token,
}

type Page = (Fill, Result<Vec<Message>, Error>);

pub(crate) struct Session<U> {
    upstream: Arc<U>,
    config: Config,
    state: State,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Whoever waits for the first connection; a failure of that is an answer, not a reason to try again.
    first: Option<oneshot::Sender<Result<(), Error>>>,
    /// Given by [`crate::Client::set_token`]; goes before the source's until it is refused.
    token: Option<String>,
    /// Whether that was not tried yet.
    fresh: bool,
    /// The token of the connection, for history.
    current: String,
    fill: Option<BoxFuture<'static, Page>>,
    /// A newer token for the connection that stands.
    renewal: Option<BoxFuture<'static, Result<Option<String>, Error>>>,
}

impl<U: Upstream> Session<U> {
    pub(crate) fn new(
        upstream: U,
        config: Config,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        first: Option<oneshot::Sender<Result<(), Error>>>,
    ) -> Self {
        let (upstream, state) = (Arc::new(upstream), State::new(&config));
        let (token, fresh, current, fill, renewal) = (None, false, String::new(), None, None);
        Self { upstream, config, state, commands, events, first, token, fresh, current, fill, renewal }
    }

    /// Runs until the server says stop, or nobody holds the client any more.
    pub(crate) async fn run(mut self) {
        let (reason, closed) = match self.connections().await {
            Ok(reason) => (reason, None),
            Err(Closed(closed)) => ("closed by the application".to_owned(), closed),
        };
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            // A close that came too late is told by its sender being dropped.
            self.state.command(command);
        }
        self.state.stop(&reason);
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
        // What waits is still given, as long as somebody takes it.
        while let Some(event) = self.state.outlet.take() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        let _ = self.events.send(Event::Stopped { reason }).await;
    }

    /// One connection after the other; gives the reason of the last one's end.
    async fn connections(&mut self) -> Result<String, Closed> {
        let mut backoff = Backoff::new(self.config.backoff_min, self.config.backoff_max);
        let mut need = Need::Connect;
        loop {
            let mut stood = Duration::ZERO;
            let end = match self.open(need).await? {
                Ok((connection, silence)) => {
                    let since = Instant::now();
                    let end = self.talk(connection, silence).await?;
                    stood = since.elapsed();
                    self.fill = None;
                    self.renewal = None;
                    self.state.disconnected();
                    end
                }
                Err(error) => {
                    let end = End::from(&error);
                    if let Some(first) = self.first.take() {
                        let reason = format!("the first connection failed: {error}");
                        let _ = first.send(Err(error));
                        return Ok(reason);
                    }
                    end
                }
            };
            let (reason, after) = match end {
                End::Stop(reason) => return Ok(reason),
                End::Again { reason, after, need: next } => {
                    need = next;
                    (reason, after)
                }
            };
            let retry_in = if stood >= STABLE {
                backoff.reset();
                // The server spreads its connections over time itself; a delay of our own would only add.
                if after.is_zero() { backoff.next(ambient::random()) } else { after }
            } else {
                backoff.next(ambient::random()).max(after)
            };
            self.state.outlet.put(Event::Disconnected { reason, retry_in });
            self.meanwhile(sleep_until(Instant::now() + retry_in)).await?;
        }
    }

    /// A token, a socket, a welcome.
    async fn open(&mut self, need: Need) -> Result<Result<(Connection, Option<Duration>), Error>, Closed> {
        loop {
            let token = match self.find_token(need).await? {
                Ok(Some(token)) => token,
                Ok(None) => continue,
                Err(error) => return Ok(Err(error)),
            };
            self.current.clone_from(&token);
            let upstream = Arc::clone(&self.upstream);
            let hello = Hello {
                peer_type: self.config.peer_type,
                version: self.config.version.clone(),
                device_name: self.config.device_name.clone(),
            };
            let (limit, peer_id) = (self.config.connect_timeout, self.state.peer_id.clone());
            let early = self.state.early_frames();
            let opening = async move {
                let mut connection = upstream.dial(token).await?;
                let welcome = timeout(limit, connection.hello_with(hello, peer_id.as_ref(), early)).await;
                Ok::<_, Error>((connection, welcome.map_err(|_| Error::Timeout("system.welcome"))??))
            };
            let (connection, welcome) = match self.meanwhile(opening).await? {
                Turn::Done(Ok(opened)) => opened,
                Turn::Done(Err(error)) => return Ok(Err(error)),
                Turn::Token => continue,
            };
            let beat = Duration::from_secs(welcome.heartbeat_seconds);
            self.state.connected(welcome, Instant::now());
            if let Some(first) = self.first.take() {
                let _ = first.send(Ok(()));
            }
            return Ok(Ok((connection, (!beat.is_zero()).then(|| beat.mul_f64(2.5)))));
        }
    }

    /// The token to try; none where there is one now and it is to be asked again.
    async fn find_token(&mut self, need: Need) -> Result<Result<Option<String>, Error>, Closed> {
        if need == Need::Replace && !self.fresh {
            self.token = None;
        }
        if let Some(token) = &self.token {
            self.fresh = false;
            return Ok(Ok(Some(token.clone())));
        }
        let tokens = Arc::clone(&self.config.tokens);
        let error = match self.meanwhile(tokens.token(need)).await? {
            Turn::Token => return Ok(Ok(None)),
            Turn::Done(Ok(Some(token))) => return Ok(Ok(Some(token))),
            Turn::Done(Ok(None)) => Error::Credential("the token was refused or has ended".to_owned()),
            Turn::Done(Err(error)) if error.is_credential() => error,
            Turn::Done(Err(error)) => return Ok(Err(error)),
        };
        if self.first.is_some() {
            return Ok(Err(error));
        }
        self.state.outlet.put(Event::CredentialNeeded { reason: error.to_string() });
        self.meanwhile(std::future::pending::<()>()).await?;
        Ok(Ok(None))
    }

    /// Waits for `work`, and meanwhile takes commands and gives events.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<Turn<T>, Closed> {
        let mut work = pin!(work);
        loop {
            self.state.pump();
            tokio::select! {
                done = work.as_mut() => return Ok(Turn::Done(done)),
                command = self.commands.recv() => {
                    if self.command(command)? {
                        return Ok(Turn::Token);
                    }
                }
                open = has_place(&self.events), if !self.state.outlet.is_empty() => self.give(open),
            }
        }
    }

    /// Takes a command; true where it was a new token.
    fn command(&mut self, command: Option<Command>) -> Result<bool, Closed> {
        match command {
            None => Err(Closed(None)),
            Some(Command::Close(done)) => Err(Closed(Some(done))),
            Some(Command::Token(token)) => {
                self.current.clone_from(&token);
                self.token = Some(token);
                self.fresh = true;
                Ok(true)
            }
            Some(command) => {
                self.state.command(command);
                Ok(false)
            }
        }
    }

    /// A connection from its welcome to its end.
    async fn talk(&mut self, mut connection: Connection, silence: Option<Duration>) -> Result<End, Closed> {
        let end = self.exchange(&mut connection, silence).await;
        let dead = silence.is_some_and(|silence| connection.heard() + silence <= Instant::now());
        if !dead {
            let _ = timeout(CLOSING, connection.close()).await;
        }
        end
    }

    async fn exchange(&mut self, connection: &mut Connection, silence: Option<Duration>) -> Result<End, Closed> {
        loop {
            while let Some(text) = self.state.next_frame(Instant::now()) {
                match timeout(silence.unwrap_or(WRITE), connection.send_text(text)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ok(self.last_words(connection, error).await),
                    Err(_) => return Ok(End::again("the server takes nothing any more")),
                }
            }
            self.state.pump();
            self.start_fill();
            self.start_renewal();
            let dead = silence.map(|silence| connection.heard() + silence);
            let wake = [dead, self.state.deadline()].into_iter().flatten().min();
            tokio::select! {
                incoming = connection.recv() => match incoming {
                    Ok(incoming) => {
                        if let Some(goodbye) = self.state.incoming(incoming, Instant::now()) {
                            return Ok(goodbye.into());
                        }
                    }
                    Err(error) => return Ok(End::from(&error)),
                },
                (fill, page) = given(&mut self.fill) => {
                    self.fill = None;
                    if let Err(error) = self.state.filled(fill, page, Instant::now()) {
                        return Ok(End::from(&error));
                    }
                }
                renewed = given(&mut self.renewal) => {
                    self.renewal = None;
                    self.renewed(renewed);
                }
                command = self.commands.recv() => {
                    if self.command(command)? {
                        self.state.renew(self.current.clone());
                    }
                }
                open = has_place(&self.events), if !self.state.outlet.is_empty() => self.give(open),
                () = sleep_until(wake.unwrap_or_else(far)), if wake.is_some() => {
                    // Pings may have come since: they end no wait of `recv`.
                    if silence.is_some_and(|silence| connection.heard() + silence <= Instant::now()) {
                        return Ok(End::again("the server is silent"));
                    }
                }
            }
        }
    }

    /// A write failed: what the server said before counts more than that.
    async fn last_words(&mut self, connection: &mut Connection, error: Error) -> End {
        while let Ok(Ok(incoming)) = timeout(CLOSING, connection.recv()).await {
            if let Some(goodbye) = self.state.incoming(incoming, Instant::now()) {
                return goodbye.into();
            }
        }
        End::from(&error)
    }

    /// Gives as many events as fit; where nobody takes any, there are none from now on.
    fn give(&mut self, open: bool) {
        if !open {
            self.state.outlet.close();
        }
        while !self.state.outlet.is_empty()
            && let Ok(place) = self.events.try_reserve()
            && let Some(event) = self.state.outlet.take()
        {
            place.send(event);
        }
    }

    /// Asks for another token where the connection's is about to end. What passes is tried again, until the end.
    fn start_renewal(&mut self) {
        if !self.state.is_expiring() || self.renewal.is_some() {
            return;
        }
        let tokens = Arc::clone(&self.config.tokens);
        self.renewal = Some(Box::pin(async move {
            loop {
                match tokens.token(Need::Replace).await {
                    Err(error) if !error.is_credential() => sleep_until(Instant::now() + RENEW_AGAIN).await,
                    answer => return answer,
                }
            }
        }));
    }

    fn renewed(&mut self, answer: Result<Option<String>, Error>) {
        match answer {
            Ok(Some(token)) => {
                self.current.clone_from(&token);
                self.token = None;
                self.state.renew(token);
            }
            Ok(None) => {
                self.state.outlet.put(Event::CredentialNeeded { reason: "the token is about to end".to_owned() });
            }
            Err(error) => self.state.outlet.put(Event::CredentialNeeded { reason: error.to_string() }),
        }
    }

    fn start_fill(&mut self) {
        if self.fill.is_none()
            && let Some(fill) = self.state.next_fill(Instant::now())
        {
            let page = self.upstream.history(self.current.clone(), fill.room_id, fill.after, fill.limit);
            self.fill = Some(Box::pin(async move { (fill, page.await) }));
        }
    }
}

/// What is being asked for; never, where nothing is.
async fn given<T>(asked: &mut Option<BoxFuture<'static, T>>) -> T {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

/// Waits until an event may be given; false where nobody takes any more.
async fn has_place(events: &mpsc::Sender<Event>) -> bool {
    events.reserve().await.is_ok()
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
