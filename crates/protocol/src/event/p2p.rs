//! Sessions between two agents, over QUIC: the server introduces them, and carries nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{P2pSessionId, PeerId, RoomId, Timestamp, UserId, model::Capability};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A file. Needs the capability `share:file`.
    File,
    /// A folder. Needs the capability `share:folder`.
    Folder,
    /// A terminal. Needs the capability `terminal:view` or `terminal:control`.
    Terminal,
}

impl SessionKind {
    /// The capabilities of which one is needed.
    pub const fn capabilities(self) -> &'static [Capability] {
        match self {
            Self::File => &[Capability::ShareFile],
            Self::Folder => &[Capability::ShareFolder],
            Self::Terminal => &[Capability::TerminalView, Capability::TerminalControl],
        }
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// One of the two closed it.
    Closed,
    /// The one who was asked does not want it.
    Rejected,
    /// Nobody answered within 30 seconds.
    Timeout,
    /// The other peer's connection is gone, or its login has ended.
    PeerGone,
    /// One of the two is no longer a member of the room.
    MemberRemoved,
    /// The room is gone.
    RoomDeleted,
    /// The role of the one who asked does not allow it any more.
    RoleChanged,
}

impl CloseReason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::PeerGone => "peer_gone",
            Self::MemberRemoved => "member_removed",
            Self::RoomDeleted => "room_deleted",
            Self::RoleChanged => "role_changed",
        }
    }
}

/// Payload of `p2p.session.request`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The room that both are members of.
    pub room_id: RoomId,
    /// Who is asked.
    pub target_peer_id: PeerId,
    /// What for.
    pub kind: SessionKind,
    /// A capability token for this room with what `kind` needs; for that peer, where it names one. Where it is bound to a
    /// certificate, `fingerprint` is that one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_token: Option<String>,
    /// Where the caller can be reached: 1 to 16 of `ip:port`.
    pub endpoints: Vec<String>,
    /// The SHA-256 fingerprint of the certificate that the caller will show, such as `sha-256 AB:CD:…` or base64url.
    pub fingerprint: String,
    /// Anything that the other side should know: at most 4 KiB of JSON, passed on untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

// A token must not reach a log by way of a debug print.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")
    }
}

/// Payload of `p2p.session.requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The session.
    pub session_id: P2pSessionId,
    /// The room that both are members of.
    pub room_id: RoomId,
    /// Which peer asks.
    pub from_peer: PeerId,
    /// Whose peer that is.
    pub from_user: UserId,
    /// What for.
    pub kind: SessionKind,
    /// Where it can be reached.
    pub endpoints: Vec<String>,
    /// The fingerprint of the certificate that it will show.
    pub fingerprint: String,
    /// What it said besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Until when to answer.
    pub expires_at: Timestamp,
}

/// Payload of `p2p.session.accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accept {
    /// The session.
    pub session_id: P2pSessionId,
    /// Where the caller listens: 1 to 16 of `ip:port`.
    pub endpoints: Vec<String>,
    /// The SHA-256 fingerprint of the certificate that the caller will show.
    pub fingerprint: String,
}

/// Payload of `p2p.session.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// The session.
    pub session_id: P2pSessionId,
    /// Why, for the other side: at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Payload of `p2p.session.close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Close {
    /// The session.
    pub session_id: P2pSessionId,
}

/// The other side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionPeer {
    /// Which peer it is.
    pub peer_id: PeerId,
    /// Whose peer that is.
    pub user_id: UserId,
    /// Where it can be reached.
    pub endpoints: Vec<String>,
    /// The fingerprint of the certificate that it shows.
    pub fingerprint: String,
}

/// Payload of `p2p.session.created`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The session.
    pub session_id: P2pSessionId,
    /// The room that both are members of.
    pub room_id: RoomId,
    /// What for.
    pub kind: SessionKind,
    /// A JWT of type `mesh-p2p+jwt`, the same for both: who asked shows it once to who accepted.
    pub session_token: String,
    /// The other side.
    pub peer: SessionPeer,
    /// When the token ends.
    pub expires_at: Timestamp,
}

// A token must not reach a log by way of a debug print.
impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Created")
    }
}

/// Payload of `p2p.session.closed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Closed {
    /// The session.
    pub session_id: P2pSessionId,
    /// Why.
    pub reason: CloseReason,
    /// What the one who rejected it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
