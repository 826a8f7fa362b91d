//! WebRTC signalling.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{
    CallId, PeerId, RoomId,
    model::{IceServer, RemovalReason},
};

/// Payload of `rtc.offer`, `rtc.answer`, `rtc.ice` and `rtc.bye`. Whatever else it holds is handed on as it is.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// The room that both peers are in.
    pub room_id: RoomId,
    /// The call that this is part of.
    pub call_id: CallId,
    /// What an offer needs: a capability token with `call` or `screen`. Never handed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_token: Option<String>,
    /// The session description: the text of RFC 8866, or an object such as `RTCSessionDescription.toJSON()` makes.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sdp: Option<Value>,
    /// An ICE candidate, such as `RTCIceCandidate.toJSON()` makes it; null or `""` says that there are no more.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A null that is there is not the same as nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Signal {
    /// One with nothing but its names.
    pub fn new(room_id: RoomId, call_id: CallId) -> Self {
        Self { room_id, call_id, capability_token: None, sdp: None, candidate: None, rest: Map::new() }
    }
}

// A token must not reach a log by way of a debug print, and a session description holds keys.
impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").field("room_id", &self.room_id).field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

macro_rules! relayed {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(pub Signal);

            impl JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    concat!("Rtc", stringify!($name)).into()
                }

                fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    Signal::json_schema(generator)
                }
            }
        )*
    };
}

relayed! {
    /// Payload of `rtc.offer`.
    Offer;
    /// Payload of `rtc.answer`.
    Answer;
    /// Payload of `rtc.ice`.
    Ice;
    /// Payload of `rtc.bye`.
    Bye;
}

/// Why the server ends a call: the `reason` of its `rtc.bye`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByeReason {
    /// The other peer's connection is over.
    PeerGone,
    /// One of the two went from the room.
    Left,
    /// One of the two was put out of the room.
    Kicked,
    /// One of the two was put out of the room for good.
    Banned,
    /// The room is gone.
    RoomDeleted,
    /// The role of one of the two does not allow calls any more.
    NotAllowed,
    /// The login ended that a capability token of this call stands on.
    SessionEnded,
    /// The account of one of the two was shut.
    AccountDisabled,
}

impl ByeReason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerGone => "peer_gone",
            Self::Left => "left",
            Self::Kicked => "kicked",
            Self::Banned => "banned",
            Self::RoomDeleted => "room_deleted",
            Self::NotAllowed => "not_allowed",
            Self::SessionEnded => "session_ended",
            Self::AccountDisabled => "account_disabled",
        }
    }
}

impl From<RemovalReason> for ByeReason {
    fn from(reason: RemovalReason) -> Self {
        match reason {
            RemovalReason::Left => Self::Left,
            RemovalReason::Kicked => Self::Kicked,
            RemovalReason::Banned => Self::Banned,
            RemovalReason::Deleted => Self::RoomDeleted,
        }
    }
}

impl Bye {
    /// The server's own, to one of the two: `other` is the peer at the other end.
    pub fn by_server(room: RoomId, call: CallId, other: &PeerId, reason: ByeReason) -> Self {
        let mut signal = Signal::new(room, call);
        signal.rest.insert("reason".to_owned(), reason.as_str().into());
        signal.rest.insert("peer_id".to_owned(), other.as_str().into());
        Self(signal)
    }
}

/// Payload of `rtc.ice_servers`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServers {
    /// STUN and TURN servers, with a fresh credential.
    pub ice_servers: Vec<IceServer>,
    /// How long the credential lives, seconds.
    pub ttl: u32,
}

// A credential must not reach a log by way of a debug print.
impl std::fmt::Debug for IceServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IceServers")
    }
}
