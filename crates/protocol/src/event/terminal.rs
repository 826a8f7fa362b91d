//! Terminals that peers share, and who types in them. What is typed and shown goes from peer to peer.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::UnshareReason;
use crate::{PeerId, RoomId, Timestamp, UserId};

/// Payload of `terminal.share`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// In which room.
    pub room_id: RoomId,
    /// The client's own name for it, 1 to 64 characters, one of its kind in the room.
    pub terminal_id: String,
    /// What it is called: 1 to 100 characters.
    pub title: String,
    /// Columns, 1 to 1,000. Shared again with other numbers, it has changed its size.
    pub cols: u32,
    /// Rows, 1 to 1,000.
    pub rows: u32,
}

/// Payload of `terminal.unshare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unshare {
    /// In which room.
    pub room_id: RoomId,
    /// Which terminal.
    pub terminal_id: String,
}

/// A terminal that a peer shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SharedTerminal {
    /// Its id in the room.
    pub terminal_id: String,
    /// Who has it: whom to ask for a session.
    pub peer_id: PeerId,
    /// Whose peer that is.
    pub user_id: UserId,
    /// What it is called.
    pub title: String,
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
    /// The peer that types in it besides its owner; null where none does.
    pub controller: Option<PeerId>,
    /// Since when.
    pub shared_at: Timestamp,
}

/// Payload of `terminal.shared`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shared {
    /// In which room.
    pub room_id: RoomId,
    /// The terminal.
    #[serde(flatten)]
    pub terminal: SharedTerminal,
}

/// Payload of `terminal.unshared`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unshared {
    /// In which room.
    pub room_id: RoomId,
    /// Which terminal.
    pub terminal_id: String,
    /// Who shared it.
    pub peer_id: PeerId,
    /// Why it is shared no longer.
    pub reason: UnshareReason,
}

/// Payload of `terminal.control.request`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlRequest {
    /// Which terminal, in the room that the capability token is for.
    pub terminal_id: String,
    /// A capability token with `terminal:control`; for the terminal's owner, where it names a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_token: Option<String>,
}

// A token must not reach a log by way of a debug print.
impl fmt::Debug for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlRequest").field("terminal_id", &self.terminal_id).finish_non_exhaustive()
    }
}

/// Payload of `terminal.control.requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlRequested {
    /// In which room.
    pub room_id: RoomId,
    /// Which terminal.
    pub terminal_id: String,
    /// Which peer asks: what `terminal.control.grant` names.
    pub from_peer: PeerId,
    /// Whose peer that is.
    pub from_user: UserId,
    /// Until when it can be granted: the capability's end.
    pub expires_at: Timestamp,
}

/// Payload of `terminal.control.grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlGrant {
    /// Which of the caller's terminals.
    pub terminal_id: String,
    /// Which peer, of those that have asked.
    pub peer_id: PeerId,
    /// In which room; needed only by who shares terminals of the same id in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// Payload of `terminal.control.release` and `terminal.control.revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlEnd {
    /// Which terminal.
    pub terminal_id: String,
    /// In which room; needed only where the caller has terminals of the same id in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// Payload of `terminal.control.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlChanged {
    /// In which room.
    pub room_id: RoomId,
    /// Which terminal.
    pub terminal_id: String,
    /// The peer that types in it from now on besides its owner; null where none does.
    pub controller: Option<PeerId>,
}
