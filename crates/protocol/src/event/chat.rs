//! What is said in rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MessageId, RoomId, UserId, model::Message};

/// Payload of `chat.message.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSend {
    /// Where to.
    pub room_id: RoomId,
    /// 1–4,000 characters (`limits.max_message_chars` in `system.welcome`).
    pub content: String,
    /// The sender's own name for the message, 1–64 characters; the event's `id` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The message of this room that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_id: Option<MessageId>,
}

/// Payload of `chat.message.edit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageEdit {
    /// Where it was said.
    pub room_id: RoomId,
    /// Which message; one of the caller's own.
    pub message_id: MessageId,
    /// What it says from now on, 1–4,000 characters (`limits.max_message_chars` in `system.welcome`).
    pub content: String,
}

/// Payload of `chat.message.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageDelete {
    /// Where it was said.
    pub room_id: RoomId,
    /// Which message: one of the caller's own, or anybody's for the room's owner and admins.
    pub message_id: MessageId,
}

/// Payload of `chat.reaction.add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReactionAdd {
    /// Where it was said.
    pub room_id: RoomId,
    /// Which message.
    pub message_id: MessageId,
    /// 1–32 characters without white space.
    pub emoji: String,
}

/// Payload of `chat.reaction.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReactionRemove {
    /// Where it was said.
    pub room_id: RoomId,
    /// Which message.
    pub message_id: MessageId,
    /// The caller's own reaction that is to go.
    pub emoji: String,
}

/// Payload of a client's `chat.typing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Typing {
    /// Where.
    pub room_id: RoomId,
    /// Whether the caller is writing.
    pub typing: bool,
}

/// Payload of the server's `chat.typing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypingNow {
    /// Where.
    pub room_id: RoomId,
    /// Who.
    pub user_id: UserId,
    /// Whether they are writing. Forget it after some seconds without another.
    pub typing: bool,
}

/// Payload of a client's `chat.read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Read {
    /// Where.
    pub room_id: RoomId,
    /// Up to where the caller has read. It never moves back, nor beyond the room's `last_seq`.
    pub seq: u64,
}

/// Payload of the server's `chat.read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadBy {
    /// Where.
    pub room_id: RoomId,
    /// Who.
    pub user_id: UserId,
    /// Up to where they have read.
    pub seq: u64,
}

/// Payload of a client's `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Which room.
    pub room_id: RoomId,
    /// Only what was said before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    /// Only what was said after this number. Without `before_seq` the oldest of these come, else the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// At most so many, 1–200; 50 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Payload of the server's `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPage {
    /// Which room.
    pub room_id: RoomId,
    /// Ascending by `seq`.
    pub messages: Vec<Message>,
    /// Whether there is more in the direction that was asked for.
    pub more: bool,
}

macro_rules! message_change {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// Which room.
            pub room_id: RoomId,
            /// The change's number in the room: one more than the change before it.
            pub seq: u64,
            /// The message as it is now; `message.seq` stays the number at which it was said.
            pub message: Message,
        }
    )*};
}

message_change! {
    /// Payload of `chat.message.created`.
    MessageCreated
    /// Payload of `chat.message.edited`.
    MessageEdited
    /// Payload of `chat.message.deleted`.
    MessageDeleted
    /// Payload of `chat.reaction.updated`.
    ReactionUpdated
}
