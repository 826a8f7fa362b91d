//! Error and close codes, each with its retry policy: one table of each.

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, retryable: $retry:literal;)*) => {
        /// The code of a `system.error`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Whether the same event may succeed later, unchanged.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retry),* }
            }

            /// What it means, a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*)),* }
            }
        }
    };
}

error_codes! {
    /// The frame is no JSON object with a type, or it is binary.
    Malformed = "malformed", retryable: false;
    /// No event of this type exists.
    UnknownType = "unknown_type", retryable: false;
    /// The payload lacks a field or holds one that is not allowed; the message names it.
    InvalidPayload = "invalid_payload", retryable: false;
    /// `system.hello` must come first.
    HelloRequired = "hello_required", retryable: false;
    /// `from` is not the peer id that `system.welcome` gave.
    InvalidFrom = "invalid_from", retryable: false;
    /// Absent, or not visible to the caller.
    NotFound = "not_found", retryable: false;
    /// Known, but not allowed.
    Forbidden = "forbidden", retryable: false;
    /// A capability token is needed.
    CapabilityRequired = "capability_required", retryable: false;
    /// The capability token does not allow this.
    CapabilityInvalid = "capability_invalid", retryable: false;
    /// The peer that the event is for is not there.
    PeerOffline = "peer_offline", retryable: true;
    /// Too many events; `retry_after_ms` says when to go on.
    RateLimited = "rate_limited", retryable: true;
    /// The content is larger than allowed.
    TooLarge = "too_large", retryable: false;
    /// The state does not allow it now.
    Conflict = "conflict", retryable: false;
    /// The server failed; nothing was done.
    Internal = "internal", retryable: true;
}

/// What a client does after `system.goodbye`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Come back and join with `since_seq`.
    Resume,
    /// Come back with a new credential.
    Reconnect,
    /// Don't come back by yourself.
    Stop,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal, $action:ident;)*) => {
        /// A WebSocket close code (RFC 6455, section 7.4) that the server sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl CloseCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $code),* }
            }

            /// What the client does next.
            pub const fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action),* }
            }

            /// What it means, a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*)),* }
            }
        }
    };
}

close_codes! {
    /// Closed as the client asked.
    Normal = 1000, Stop;
    /// Going away.
    GoingAway = 1001, Resume;
    /// The WebSocket protocol was broken.
    Protocol = 1002, Stop;
    /// A text frame that is not UTF-8, or a compressed message that cannot be decompressed.
    InvalidUtf8 = 1007, Stop;
    /// The server restarts: come back.
    Restarting = 1012, Resume;
    /// Ten malformed frames in a row.
    Abuse = 4400, Stop;
    /// The credential is missing, bad, expired or revoked.
    Credential = 4401, Reconnect;
    /// The account is banned or removed.
    Banned = 4403, Stop;
    /// No hello within 10 s, or no pong.
    Timeout = 4408, Resume;
    /// The same peer opened a newer connection.
    Replaced = 4409, Stop;
    /// A frame over the limit.
    FrameTooLarge = 4413, Resume;
    /// Too slow a reader, or flooding.
    TooSlow = 4429, Resume;
}
