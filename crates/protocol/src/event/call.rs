//! Ringing: somebody wants to talk, before there is anything to signal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CallId, RoomId, UserId};

/// What somebody wants to talk with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// Voice.
    Audio,
    /// A picture.
    Video,
}

/// Payload of `call.ring`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ring {
    /// Whose members are rung.
    pub room_id: RoomId,
    /// The call's name, which its `rtc` events bear too.
    pub call_id: CallId,
    /// What the caller wants to talk with; at least one.
    pub media: Vec<Media>,
}

/// Payload of `call.cancel` and `call.decline` from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// In which room it rings.
    pub room_id: RoomId,
    /// Which call.
    pub call_id: CallId,
}

/// Payload of `call.ringing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ringing {
    /// In which room.
    pub room_id: RoomId,
    /// Which call.
    pub call_id: CallId,
    /// Who calls; their peer is the event's `from`.
    pub from_user: UserId,
    /// What they want to talk with.
    pub media: Vec<Media>,
}

/// Why it rings no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The caller has taken it back.
    Cancelled,
    /// It was answered on another device of the same person.
    Answered,
    /// It has rung for a minute.
    Timeout,
    /// The caller is gone.
    PeerGone,
}

/// Payload of `call.cancel` from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// In which room it rang.
    pub room_id: RoomId,
    /// Which call.
    pub call_id: CallId,
    /// Who called; with `answered`, who has answered.
    pub from_user: UserId,
    /// Why it rings no more.
    pub reason: Over,
}

/// Payload of `call.decline` from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Declined {
    /// In which room it rings.
    pub room_id: RoomId,
    /// Which call.
    pub call_id: CallId,
    /// Who does not want it.
    pub from_user: UserId,
}
