//! The small types of the settings.

use std::fmt;

use super::parse::MIN_JWT_SECRET;

/// A text that must not be shown: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: only for signing, or for a connection.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The signing secrets in it, newest first: several by comma where each is long enough to be one, else the whole text,
    /// which may well hold a comma.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        let parts: Vec<&str> = self.0.split(',').map(str::trim).collect();
        let several = parts.len() > 1 && parts.iter().all(|part| part.chars().count() >= MIN_JWT_SECRET);
        if several { parts } else { vec![&self.0] }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl JwtAlgorithm {
    /// Every algorithm, as the documentation lists them.
    pub const ALL: [Self; 6] = [Self::Hs256, Self::Hs384, Self::Hs512, Self::EdDsa, Self::Es256, Self::Rs256];

    /// Its name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether it signs with a private key instead of the shared secret.
    #[must_use]
    pub fn is_asymmetric(self) -> bool {
        matches!(self, Self::EdDsa | Self::Es256 | Self::Rs256)
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Who may make an account. The first account can always be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who has an invite.
    Invite,
    /// Nobody.
    Closed,
}

impl Registration {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Open, Self::Invite, Self::Closed];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// Which web pages may call the server from another origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All (`*`).
    Any,
    /// These, each as a browser writes it in `Origin`: lower case, no path, no default port.
    List(Vec<String>),
}

impl CorsOrigins {
    /// Whether a request's `Origin` is allowed.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }
}

/// How clients reach a TURN server (RFC 7065, `transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTransport {
    /// Datagrams.
    Udp,
    /// A stream, where a network drops datagrams.
    Tcp,
}

impl TurnTransport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// Its name in a TURN URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// How clients get credentials for the TURN server; [`super::Config::turn_auth`] yields it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnAuth<'a> {
    /// coturn's `static-auth-secret`s: the first signs ephemeral credentials.
    Secrets(&'a [Secret]),
    /// One user name and password for all.
    Fixed {
        /// The user name.
        username: &'a str,
        /// Its password.
        password: &'a Secret,
    },
}
