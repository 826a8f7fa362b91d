//! The wire protocol of Mesh Server, version 2: what clients and the server say to each other.
//!
//! A leaf crate without I/O. The two enums in [`event`] are the only place where a WebSocket event exists;
//! JSON Schema, AsyncAPI, the protocol document and its examples are printed from them.

pub mod admin;
pub mod code;
pub mod credentials;
pub mod envelope;
pub mod event;
pub mod ids;
pub mod limits;
pub mod model;
pub mod push;
pub mod rest;
pub mod text;
pub mod time;

pub use code::{CloseCode, ErrorCode};
pub use ids::{CallId, MessageId, P2pSessionId, PeerId, RoomId, SessionId, UserId};
pub use time::Timestamp;

/// The version of the real-time protocol, as `system.welcome` and `GET /api/info` tell it.
pub const PROTOCOL_VERSION: u32 = 2;

/// What this protocol version's server can do, as told in `system.welcome` and `GET /api/info`.
pub const FEATURES: &[&str] =
    &["calls", "chat", "files", "p2p", "presence", "reactions", "read", "resume", "rooms", "terminals", "typing"];
