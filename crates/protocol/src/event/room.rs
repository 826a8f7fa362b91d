//! Rooms and their members.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{file::SharedFile, terminal::SharedTerminal};
use crate::{
    RoomId, UserId,
    model::{Member, MemberRole, RemovalReason, Room},
};

/// Payload of `room.join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// Which room.
    pub room_id: RoomId,
    /// The newest sequence number that the client has; what came after it is replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seq: Option<u64>,
}

/// Payload of `room.joined`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Joined {
    /// Which room.
    pub room_id: RoomId,
    /// The caller's role there.
    pub role: MemberRole,
    /// The room's newest change.
    pub last_seq: u64,
    /// Up to where the caller has read.
    pub read_seq: u64,
    /// More is missing than is replayed: nothing follows, read history.
    pub gap: bool,
    /// How many of its members are online.
    pub online_count: u64,
    /// At most 200 members, those online first.
    pub members: Vec<Member>,
    /// Whether that is all of them.
    pub members_complete: bool,
    /// The files that peers share now, oldest first: at most 200.
    #[serde(default)]
    pub files: Vec<SharedFile>,
    /// The terminals that peers share now, oldest first: at most 50.
    #[serde(default)]
    pub terminals: Vec<SharedTerminal>,
}

/// Payload of `room.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leave {
    /// Which room.
    pub room_id: RoomId,
}

/// Payload of `room.left`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    /// Which room.
    pub room_id: RoomId,
}

/// Payload of `room.member.added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberAdded {
    /// Which room.
    pub room_id: RoomId,
    /// Who came.
    pub member: Member,
}

/// Payload of `room.added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Added {
    /// The room, as the person concerned sees it.
    pub room: Room,
}

/// Payload of `room.member.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberUpdated {
    /// Which room.
    pub room_id: RoomId,
    /// The member as it is now.
    pub member: Member,
}

/// Payload of `room.member.removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRemoved {
    /// Which room.
    pub room_id: RoomId,
    /// Who is no longer a member.
    pub user_id: UserId,
    /// `left`, `kicked` or `banned`.
    pub reason: RemovalReason,
}

/// Payload of `room.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Updated {
    /// Which room.
    pub room_id: RoomId,
    /// The room as it is now. All get the same bytes, so what differs from caller to caller is left out: `my_role` is
    /// null, and `read_seq`, `unread` and `mentions` are 0.
    pub room: Room,
}

/// Payload of `room.deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// Which room.
    pub room_id: RoomId,
}

/// Payload of `room.removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// Which room.
    pub room_id: RoomId,
    /// Why.
    pub reason: RemovalReason,
}
