//! What a committed transaction tells the world.

use mesh_protocol::{
    PeerId, RoomId, SessionId, UserId,
    model::{Member, Message, RemovalReason, Room},
};

/// The connection that caused a happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The connection's number in its process.
    pub conn: u64,
    /// Its name: the `from` of what is told.
    pub peer: PeerId,
    /// The id of the event that asked for it; its own copy bears it in `reply_to`.
    pub event_id: Option<Box<str>>,
}

/// A change that has a sequence number in its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something was said.
    Created(Box<Message>),
    /// A message says something else.
    Edited(Box<Message>),
    /// A message was deleted.
    Deleted(Box<Message>),
    /// Somebody reacted to a message, or took that back.
    Reacted(Box<Message>),
}

/// A change without a number, told to a room's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// Somebody became a member.
    MemberAdded(Box<Member>),
    /// A member's role changed.
    MemberUpdated(Box<Member>),
    /// Somebody is no longer a member. Their connections stop receiving before anybody hears of it.
    MemberRemoved {
        /// Who.
        user: UserId,
        /// Why.
        reason: RemovalReason,
    },
    /// The room itself changed; without what differs from caller to caller.
    Updated(Box<Room>),
    /// The room is gone. Nobody receives anything of it any more.
    Deleted,
    /// Somebody has read up to there.
    Read {
        /// Who.
        user: UserId,
        /// Up to which number.
        seq: u64,
    },
}

/// Something told to all of one person's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// A room to show.
    RoomAdded(Box<Room>),
    /// A room to show no more.
    RoomRemoved {
        /// Which room.
        room: RoomId,
        /// Why.
        reason: RemovalReason,
    },
}

/// Why logins end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The person logged out, ended the login from another one, or changed the password.
    LoggedOut,
    /// A refresh token was used that had been replaced: somebody has a copy.
    TokenReused,
    /// An administrator shut the account.
    Disabled,
}

/// What a committed transaction tells the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A numbered change of a room.
    Change {
        /// Which room.
        room: RoomId,
        /// The change's number.
        seq: u64,
        /// What it is.
        change: Change,
        /// Who caused it, where it was a connection.
        origin: Option<Origin>,
    },
    /// A send that was a repetition: its sender alone hears of the first message again.
    Repeat {
        /// Which room.
        room: RoomId,
        /// The first message.
        message: Box<Message>,
        /// Who repeated it.
        origin: Origin,
    },
    /// Something else in a room.
    Room {
        /// Which room.
        room: RoomId,
        /// What it is.
        event: RoomEvent,
        /// Who caused it, where it was a connection that waits for its own copy.
        origin: Option<Origin>,
    },
    /// Logins ended: their tokens and connections with them.
    Ended {
        /// Whose.
        user: UserId,
        /// Which logins.
        sessions: Vec<SessionId>,
        /// Why.
        why: Ending,
    },
    /// Something for one person.
    User {
        /// Whom.
        user: UserId,
        /// What it is.
        event: UserEvent,
    },
}

/// What one transaction told.
pub struct Told {
    /// When it was committed.
    pub at: std::time::Instant,
    /// What happened, in order.
    pub happenings: Vec<Happening>,
}
