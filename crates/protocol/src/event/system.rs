//! The connection's own affairs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Timestamp, UserId,
    code::{Action, ErrorCode},
    ids::{P2pSessionId, PeerId, SessionId},
    model::{IceServer, PeerType, Room},
};

/// A payload without fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// Payload of `system.hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// What runs at this end.
    pub peer_type: PeerType,
    /// The program's version, free text of at most 100 characters.
    pub version: String,
    /// What its owner calls the device, at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
}

/// The user behind a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WelcomeUser {
    /// The account's id.
    pub id: UserId,
    /// The account's name.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
}

/// What a connection may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Bytes of one message from the client.
    pub max_frame_bytes: u64,
    /// Characters of a chat message.
    pub max_message_chars: u64,
    /// Events a second, with a burst of four times that.
    pub events_per_second: u32,
}

/// Payload of `system.welcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The connection's name from now on.
    pub peer_id: PeerId,
    /// Whose connection it is.
    pub user: WelcomeUser,
    /// The login that it stands on.
    pub session_id: SessionId,
    /// The server's version.
    pub server_version: String,
    /// The protocol's version: 2.
    pub protocol: u32,
    /// What this server can do.
    pub features: Vec<String>,
    /// Seconds between the server's pings.
    pub heartbeat_seconds: u64,
    /// STUN and TURN servers with credentials.
    pub ice_servers: Vec<IceServer>,
    /// What this connection may do.
    pub limits: Limits,
    /// The caller's rooms, newest activity first, at most 200.
    pub rooms: Vec<Room>,
    /// Whether that is all of them.
    pub rooms_complete: bool,
}

/// Payload of `system.pong`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {}

/// Payload of `system.auth`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Auth {
    /// An access token.
    pub token: String,
}

// A token must not reach a log by way of a debug print.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

/// Payload of `system.ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// Only of an `rtc.offer`: whether its sender is the polite one, who takes the own offer back where both make one at
    /// once. False: this offer stands. One that does not is refused with `conflict`, whose `details` say `polite: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polite: Option<bool>,
    /// What `p2p.session.request` has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<P2pSessionId>,
}

/// Payload of `system.token_expiring`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenExpiring {
    /// When the credential ends, and the connection with it.
    pub expires_at: Timestamp,
}

/// Payload of `system.error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether the same event may succeed later, unchanged.
    pub retryable: bool,
    /// When to try again, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// More for programs, such as `{"field": "room_id"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Payload of `system.goodbye`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Goodbye {
    /// The close code that follows.
    pub code: u16,
    /// A word for programs, such as `restarting`.
    pub reason: String,
    /// What to do then.
    pub action: Action,
    /// How long to wait before it, milliseconds.
    pub retry_after_ms: u64,
}
