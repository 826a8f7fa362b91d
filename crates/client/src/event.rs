//! What a [`Client`](crate::Client) tells.

use std::time::Duration;

use mesh_protocol::{
    RoomId,
    event::{ServerEvent, chat::MessageCreated, room, system},
};

use crate::{Error, Head};

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Connected; the joined rooms are joined again by themselves.
    Connected(Box<system::Welcome>),
    /// The connection is gone.
    Disconnected {
        /// Why, for a person.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The server closes the connection; the client does what it says.
    Goodbye(system::Goodbye),
    /// The connection goes on with a newer token.
    Renewed,
    /// No valid token is to be had: the client waits for [`Client::set_token`](crate::Client::set_token). Where a
    /// connection stands, it ends within a minute without.
    CredentialNeeded {
        /// Why, for a person.
        reason: String,
    },
    /// A room is joined: for the first time, or again after a new connection.
    Joined(Box<room::Joined>),
    /// A room that was joined can't be joined or read any more; it is left.
    Lost {
        /// Which room.
        room_id: RoomId,
        /// What the server said.
        error: Error,
    },
    /// A message of a joined room: in one room in the order of `seq`, each once.
    Message(MessageCreated),
    /// A message of a joined room changed (edited, deleted, reacted to); in its place among the messages.
    Changed {
        /// The event's name, such as `chat.message.edited`.
        kind: String,
        /// The change's number, and the message as it is now.
        change: MessageCreated,
    },
    /// More was missed than the server replays, and the messages in between were just given from history. Changes of
    /// older messages in that time were not told: what is shown of them may be stale.
    Gap {
        /// The room.
        room_id: RoomId,
        /// The newest number known before.
        after_seq: u64,
        /// The last number of the gap.
        to_seq: u64,
    },
    /// The server's room is shorter than it was (its database came from a backup): what is shown should be read again.
    Rewound {
        /// The room.
        room_id: RoomId,
        /// Its newest number now.
        last_seq: u64,
    },
    /// Any other event of the protocol.
    Other(Box<ServerEvent>),
    /// An event that this version does not know.
    Unknown {
        /// Its header.
        head: Head,
        /// Its payload.
        payload: serde_json::Value,
    },
    /// [`Events::recv`](crate::Events::recv) was not called fast enough: so many events that are no messages were dropped.
    Lagged {
        /// How many.
        dropped: u64,
    },
    /// The last event: the client has ended.
    Stopped {
        /// Why, for a person.
        reason: String,
    },
}
