//! What can go wrong, in the words that a client may hear.

use std::{fmt, ops::RangeInclusive, time::Duration};

use mesh_protocol::{rest::FieldError, text::TextError};

use crate::{config::Secret, metrics::Trouble};

/// The class of an [`Error`]: decides the HTTP status and the `system.error` code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request cannot be read.
    Malformed,
    /// 401: no credential, or one that is bad, expired or revoked.
    Unauthorized,
    /// 403: known, but not allowed.
    Forbidden,
    /// 404: absent, or not visible to the caller.
    NotFound,
    /// 409: the state does not allow it.
    Conflict,
    /// 410: it was there once.
    Gone,
    /// 413: larger than allowed.
    TooLarge,
    /// 415: not a media type that is read here.
    UnsupportedMedia,
    /// 422: well-formed, but a field holds what is not allowed.
    Invalid,
    /// 429: too often.
    RateLimited,
    /// 500: the server failed.
    Internal,
    /// 503: not now.
    Unavailable,
}

/// An error with a stable code and a sentence for a person. What the database or a driver said stays in `source`,
/// which is logged and never shown.
#[derive(Debug)]
pub struct Error {
    /// Its class.
    pub kind: Kind,
    /// For programs: stable, snake_case.
    pub code: &'static str,
    /// A sentence for a person.
    pub message: String,
    /// Which fields, for [`Kind::Invalid`].
    pub fields: Vec<FieldError>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What completes a login, for `totp_required`.
    pub challenge: Option<Box<Secret>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result whose error a client may hear.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            fields: Vec::new(),
            retry_after: None,
            challenge: None,
            source: None,
        }
    }

    /// The same with what completes a login.
    #[must_use]
    pub fn with_challenge(self, challenge: impl Into<String>) -> Self {
        Self { challenge: Some(Box::new(Secret::new(challenge))), ..self }
    }

    /// 404 for a room, whether absent or invisible: the two look the same.
    pub fn room_not_found() -> Self {
        Self::new(Kind::NotFound, "not_found", "there is no such room, or it is not visible to you")
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, "forbidden", message)
    }

    /// 422 with the fields that are wrong.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let message = match fields.as_slice() {
            [one] if one.field.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are not allowed as they are", many.len()),
        };
        Self { fields, ..Self::new(Kind::Invalid, "invalid", message) }
    }

    /// 422 with one field that is wrong.
    pub fn invalid_field(field: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), code: code.to_owned(), message: message.into() }])
    }

    /// 500: what happened is logged with the request, the client hears only that it was not its fault.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message = "the server failed to do this; nothing was changed";
        Self { source: Some(source.into()), ..Self::new(Kind::Internal, "internal", message) }
    }

    /// 503: busy or stopping; try again after `wait`.
    pub fn unavailable(code: &'static str, message: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(Kind::Unavailable, code, message) }
    }

    /// 503 for what the database's state is to blame for: the client hears which, the rest stays in `source`.
    #[must_use]
    pub fn because(self, trouble: Trouble) -> Self {
        let (code, message) = (trouble.code(), trouble.meaning().to_owned());
        Self { kind: Kind::Unavailable, code, message, retry_after: Some(Duration::from_secs(1)), ..self }
    }

    /// 429: try again after `wait`.
    pub fn rate_limited(message: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(Kind::RateLimited, "rate_limited", message) }
    }
}

impl Error {
    /// The error with its causes, for whoever runs the server.
    pub fn for_operator(&self) -> String {
        let mut out = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            out.push_str(": ");
            out.push_str(&error.to_string());
            cause = error.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}

/// Collects every field that is wrong, so that a caller hears of all at once.
#[derive(Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// Takes a checked text, or remembers why it was refused.
    pub fn take<T>(&mut self, field: &str, checked: std::result::Result<T, TextError>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(e) => {
                self.add(field, e.code, e.message);
                None
            }
        }
    }

    /// The same for a field that may be absent.
    pub fn take_opt<T>(&mut self, field: &str, checked: Option<std::result::Result<T, TextError>>) -> Option<T> {
        checked.and_then(|checked| self.take(field, checked))
    }

    /// Checks that a number, where it was given, is within its bounds.
    pub fn within<T>(&mut self, field: &str, value: Option<T>, bounds: &RangeInclusive<T>)
    where
        T: PartialOrd + std::fmt::Display,
    {
        if value.is_some_and(|n| !bounds.contains(&n)) {
            self.add(field, "out_of_range", format!("must be from {} to {}", bounds.start(), bounds.end()));
        }
    }

    /// Remembers a field that is wrong.
    pub fn add(&mut self, field: &str, code: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), code: code.to_owned(), message: message.into() });
    }

    /// The 422, which names all that was refused.
    pub fn into_error(self) -> Error {
        Error::invalid(self.0)
    }

    /// Fails where anything was refused.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}
