//! Files that peers share: who has what. The files themselves go from peer to peer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PeerId, RoomId, Timestamp, UserId};

/// Why something is shared no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnshareReason {
    /// Its owner took it back.
    Unshared,
    /// Its owner's connection is gone, or the login has ended.
    PeerGone,
    /// Its owner is no longer a member of the room.
    MemberRemoved,
    /// Its owner's role does not allow it any more.
    RoleChanged,
}

/// Payload of `file.share`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// In which room.
    pub room_id: RoomId,
    /// The client's own name for it, 1 to 64 characters, one of its kind in the room.
    pub file_id: String,
    /// The file's name, without a path: at most 255 bytes.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// The SHA-256 of its content, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Payload of `file.unshare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unshare {
    /// In which room.
    pub room_id: RoomId,
    /// Which file.
    pub file_id: String,
}

/// A file that a peer shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SharedFile {
    /// Its id in the room.
    pub file_id: String,
    /// Who has it: whom to ask for a session.
    pub peer_id: PeerId,
    /// Whose peer that is.
    pub user_id: UserId,
    /// The file's name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its media type, as its owner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// The SHA-256 of its content, hexadecimal, as its owner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Since when.
    pub shared_at: Timestamp,
}

/// Payload of `file.shared`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shared {
    /// In which room.
    pub room_id: RoomId,
    /// The file.
    #[serde(flatten)]
    pub file: SharedFile,
}

/// Payload of `file.unshared`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unshared {
    /// In which room.
    pub room_id: RoomId,
    /// Which file.
    pub file_id: String,
    /// Who shared it.
    pub peer_id: PeerId,
    /// Why it is shared no longer.
    pub reason: UnshareReason,
}
