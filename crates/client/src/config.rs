//! What a [`Client`](crate::Client) is told.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use mesh_protocol::{PeerId, model::PeerType};

use crate::Error;

/// How a [`Connection`](crate::Connection) shows who it is.
#[derive(Clone)]
pub enum Credential {
    /// An access token, in the `Authorization` header.
    Token(String),
    /// An access token in the URL, as browsers must.
    QueryToken(String),
    /// A single-use ticket from `POST /api/auth/ws-ticket`, in the URL.
    Ticket(String),
    /// None: the server closes with 4401.
    None,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::QueryToken(_) => "QueryToken(…)",
            Self::Ticket(_) => "Ticket(…)",
            Self::None => "None",
        })
    }
}

/// Why a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To connect: the one that was given last is good as far as is known.
    Connect,
    /// The one that was given last was refused, has ended, or ends within a minute: another one is needed.
    Replace,
}

/// What [`TokenSource::token`] gives: a token; none where only a person can help
/// ([`Event::CredentialNeeded`](crate::Event::CredentialNeeded) follows); an error where it may be tried again later.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<String>, Error>> + Send + 'a>>;

/// Where access tokens come from: asked before every connection, and while one stands when its token is about to end.
pub trait TokenSource: Send + Sync + 'static {
    /// Gives a token.
    fn token(&self, need: Need) -> TokenFuture<'_>;
}

impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    fn token(&self, need: Need) -> TokenFuture<'_> {
        self.as_ref().token(need)
    }
}

/// One token and no other: when it has ended, [`Event::CredentialNeeded`](crate::Event::CredentialNeeded) asks for
/// [`Client::set_token`](crate::Client::set_token).
#[derive(Clone)]
pub struct FixedToken(String);

impl FixedToken {
    /// Takes the token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl TokenSource for FixedToken {
    fn token(&self, need: Need) -> TokenFuture<'_> {
        Box::pin(std::future::ready(Ok((need == Need::Connect).then(|| self.0.clone()))))
    }
}

impl fmt::Debug for FixedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedToken(…)")
    }
}

/// How a [`Client`](crate::Client) behaves. Made by [`Config::new`], then changed field by field.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The server's address: `http://…` or `https://…`.
    pub base_url: String,
    /// Where access tokens come from.
    pub tokens: Arc<dyn TokenSource>,
    /// The peer id to propose at first; later the one that the server gave is proposed again.
    pub peer_id: Option<PeerId>,
    /// What runs here.
    pub peer_type: PeerType,
    /// What the owner calls this device.
    pub device_name: Option<String>,
    /// The program's version, told to the server.
    pub version: String,
    /// Events that wait for [`Events::recv`](crate::Events::recv). When they are more, messages are read from history
    /// later; other events are dropped and counted ([`Event::Lagged`](crate::Event::Lagged)).
    pub event_capacity: usize,
    /// Calls (`send`, `join`, `leave`) that wait for their answer; further ones wait for a place.
    pub max_unacknowledged: usize,
    /// The first delay before a new attempt; it doubles.
    pub backoff_min: Duration,
    /// The longest delay before a new attempt.
    pub backoff_max: Duration,
    /// How long the opening may take, and the welcome after it.
    pub connect_timeout: Duration,
}

impl Config {
    /// The usual behaviour.
    pub fn new(base_url: impl Into<String>, tokens: impl TokenSource) -> Self {
        Self {
            base_url: base_url.into(),
            tokens: Arc::new(tokens),
            peer_id: None,
            peer_type: PeerType::Client,
            device_name: None,
            version: concat!("mesh-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            event_capacity: 1024,
            max_unacknowledged: 64,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
        }
    }
}
