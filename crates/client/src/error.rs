//! What can go wrong.

use mesh_protocol::{code::CloseCode, event::system, rest::Problem};
use tokio_tungstenite::tungstenite;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's address is none.
    #[error("not a server's address: {0}")]
    Address(String),
    /// TLS cannot be set up on this machine.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server could not be reached, or the connection broke.
    #[error("{}", chain(.0.as_ref()))]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came in time.
    #[error("no answer in time: {0}")]
    Timeout(&'static str),
    /// The server refused the WebSocket with this HTTP status.
    #[error("the server answered the WebSocket's opening with status {0}")]
    Upgrade(u16),
    /// A REST call was refused.
    #[error("{} ({})", .0.detail, .0.code)]
    Api(Box<Problem>),
    /// An event was refused.
    #[error("{} ({})", .0.message, .0.code.as_str())]
    Refused(Box<system::Error>),
    /// The server sent what is not this protocol.
    #[error("the server does not speak this protocol: {0}")]
    Protocol(String),
    /// The connection is closed.
    #[error("the connection is closed: {}", closing(*.code, .reason))]
    Closed {
        /// The close code, where one was given.
        code: Option<u16>,
        /// The reason that was given with it.
        reason: String,
    },
    /// The event is larger than the server takes.
    #[error("the event has {bytes} bytes, the server takes {limit}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// No valid credential is to be had.
    #[error("no valid credential: {0}")]
    Credential(String),
    /// The client has ended and won't come back by itself.
    #[error("the client has stopped: {0}")]
    Stopped(String),
}

impl Error {
    /// The server's code for it, where the server said one: `username_taken`, `not_found`, …
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api(problem) => Some(&problem.code),
            Self::Refused(error) => Some(error.code.as_str()),
            _ => None,
        }
    }

    /// What [`Rest::login_totp`](crate::Rest::login_totp) takes, where a login asks for a second factor.
    pub fn challenge(&self) -> Option<&str> {
        match self {
            Self::Api(problem) => problem.challenge.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn closed() -> Self {
        Self::Closed { code: None, reason: String::new() }
    }

    /// Whether the credential was refused.
    pub(crate) fn is_credential(&self) -> bool {
        match self {
            Self::Api(problem) => problem.status == 401,
            Self::Upgrade(status) => *status == 401,
            Self::Closed { code: Some(code), .. } => *code == CloseCode::Credential.number(),
            _ => false,
        }
    }
}

/// The error and what caused it: libraries tend to hide the useful part below.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn closing(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, "") => "without a word".to_owned(),
        (None, reason) => reason.to_owned(),
        (Some(code), "") => code.to_string(),
        (Some(code), reason) => format!("{code} {reason}"),
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout("an HTTP request")
        } else {
            // The URL may bear what is nobody's business, and says nothing that the caller does not know.
            Self::Transport(Box::new(error.without_url()))
        }
    }
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Self::closed(),
            tungstenite::Error::Http(response) => Self::Upgrade(response.status().as_u16()),
            tungstenite::Error::Io(error) => Self::Transport(Box::new(error)),
            error => Self::Transport(Box::new(error)),
        }
    }
}
