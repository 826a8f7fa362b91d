//! What is said in rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MessageId, RoomId, model::Message};

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

/// Payload of `chat.message.created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageCreated {
    /// Which room.
    pub room_id: RoomId,
    /// The change's number in the room: one more than the change before it.
    pub seq: u64,
    /// The message as it is now.
    pub message: Message,
}
