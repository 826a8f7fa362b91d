//! What ends: a peer, a membership, a login. Whatever stands on one of them falls with it.

use mesh_protocol::{
    PeerId, RoomId, SessionId, UserId,
    model::{MemberRole, RemovalReason},
};

/// A connection with a name, as something that has two ends remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The connection's number: a peer that comes back under its name is another one.
    pub conn: u64,
    /// Whose it is.
    pub user: UserId,
    /// Its name.
    pub peer: PeerId,
}

/// Something that is over. What stands on it is to end now; being told twice is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone<'a> {
    /// A connection: closed, cut off, or replaced by a newer one of its name.
    Peer(&'a End),
    /// Somebody is no longer a member.
    Member {
        /// Who.
        user: UserId,
        /// Of which room.
        room: RoomId,
        /// Why.
        reason: RemovalReason,
    },
    /// Somebody has another role: what it does not allow ends.
    Role {
        /// Who.
        user: UserId,
        /// In which room.
        room: RoomId,
        /// The role from now on.
        role: MemberRole,
    },
    /// A room.
    Room(RoomId),
    /// Logins, and personal access tokens.
    Logins {
        /// Whose.
        user: UserId,
        /// Which.
        sessions: &'a [SessionId],
    },
    /// An account: shut by an administrator, or deleted.
    Account(UserId),
}

impl Gone<'_> {
    /// Whose end it is, but for a room's, which is everybody's.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Peer(end) => Some(end.user),
            Self::Member { user, .. } | Self::Role { user, .. } | Self::Logins { user, .. } | Self::Account(user) => {
                Some(*user)
            }
            Self::Room(_) => None,
        }
    }
}
