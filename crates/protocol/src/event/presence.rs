//! Who is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PeerId, RoomId, UserId,
    model::{PeerStatus, PeerType},
};

/// Payload of `presence.set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// `online`, `away` or `busy`; a peer is `offline` when it goes, and not before.
    pub status: PeerStatus,
}

/// Payload of `presence.update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// A room that the peer's user is in.
    pub room_id: RoomId,
    /// Whose peer it is.
    pub user_id: UserId,
    /// Which peer.
    pub peer_id: PeerId,
    /// What runs there.
    pub peer_type: PeerType,
    /// How available it is now.
    pub status: PeerStatus,
}

/// Payload of `presence.summary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Which room.
    pub room_id: RoomId,
    /// How many of its members are connected.
    pub online_users: u64,
    /// With how many peers.
    pub online_peers: u64,
}
