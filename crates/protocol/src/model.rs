//! The objects that REST answers and events share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{MessageId, PeerId, RoomId, Timestamp, UserId};

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:tt),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value, lowest first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Reads the word; none for any other.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

word_enum!(
    /// What an account may do on the whole server.
    UserRole {
        /// Its own affairs.
        User = "user",
        /// Everything under `/api/admin` too.
        Admin = "admin",
    }
);
word_enum!(
    /// What a personal access token may do.
    Scope {
        /// Read what is said, and join rooms to receive it.
        ChatRead = "chat:read",
        /// Say something.
        ChatWrite = "chat:write",
        /// See rooms, their members, and its owner's account.
        RoomsRead = "rooms:read",
        /// Ask for capabilities and for STUN and TURN servers, and signal.
        Rtc = "rtc",
    }
);
word_enum!(
    /// What a member may do in a room; each role may what the ones before it may.
    MemberRole {
        /// Reads and writes.
        Guest = "guest",
        /// A full member.
        Member = "member",
        /// Manages members below the own role.
        Admin = "admin",
        /// The one who holds the room.
        Owner = "owner",
    }
);
word_enum!(
    /// Who may find a room.
    Visibility {
        /// Its members only; to others it does not exist.
        Private = "private",
        /// Everybody may see and join it.
        Public = "public",
    }
);
word_enum!(
    /// What a room is for.
    RoomKind {
        /// Any number of people.
        Group = "group",
        /// The one room of two people.
        Direct = "direct",
    }
);
word_enum!(
    /// Why somebody is no longer in a room.
    RemovalReason {
        /// They went.
        Left = "left",
        /// Somebody put them out.
        Kicked = "kicked",
        /// Somebody put them out for good.
        Banned = "banned",
        /// The room is gone.
        Deleted = "deleted",
    }
);
word_enum!(
    /// What runs at the other end of a connection.
    PeerType {
        /// A person's client.
        Client = "client",
        /// A machine's agent.
        Agent = "agent",
    }
);
word_enum!(
    /// How available a peer is.
    PeerStatus {
        /// There.
        Online = "online",
        /// Not at the device.
        Away = "away",
        /// Not to be disturbed.
        Busy = "busy",
        /// Gone.
        Offline = "offline",
    }
);
word_enum!(
    /// What a capability token lets its holder ask of another peer.
    Capability {
        /// Speak with it.
        Call = "call",
        /// Share a screen with it.
        Screen = "screen",
        /// Exchange files.
        ShareFile = "share:file",
        /// Exchange folders.
        ShareFolder = "share:folder",
        /// Watch a terminal.
        TerminalView = "terminal:view",
        /// Type in a terminal.
        TerminalControl = "terminal:control",
    }
);

/// An account, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct User {
    /// The account's id.
    pub id: UserId,
    /// 3–32 of `A-Za-z0-9._-`; unique without case.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
    /// An address, if one was given.
    #[schema(required)]
    pub email: Option<String>,
    /// `admin` or `user`.
    pub role: UserRole,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A room, as one of its members (or, where it is public, anybody) sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Room {
    /// The room's id.
    pub id: RoomId,
    /// 1–100 characters.
    pub name: String,
    /// At most 1,000 characters.
    #[schema(required)]
    pub description: Option<String>,
    /// Who may find it.
    pub visibility: Visibility,
    /// What it is for.
    pub kind: RoomKind,
    /// Who holds it.
    pub owner_id: UserId,
    /// The caller's role; null where the caller is not a member of a public room.
    #[schema(required)]
    pub my_role: Option<MemberRole>,
    /// How many members it has.
    pub member_count: u64,
    /// The sequence number of its newest change.
    pub last_seq: u64,
    /// Up to where the caller has read.
    pub read_seq: u64,
    /// Messages by others after `read_seq`; counted up to 1,000.
    pub unread: u64,
    /// Those of them that name the caller; counted up to 1,000.
    pub mentions: u64,
    /// Calls that the caller has missed here since they last read; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_calls: Option<MissedCalls>,
    /// Days that its messages are kept; null where the server's own limit alone decides.
    #[serde(default)]
    #[schema(required)]
    pub retention_days: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name, description or visibility last changed.
    pub updated_at: Timestamp,
}

/// Calls that rang in a room and that somebody neither answered nor declined, since they last read there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MissedCalls {
    /// How many.
    pub count: u64,
    /// Who called last.
    pub from_user: UserId,
    /// When that call stopped ringing.
    pub at: Timestamp,
}

/// A connected device of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MemberPeer {
    /// The connection's id.
    pub peer_id: PeerId,
    /// What runs there.
    pub peer_type: PeerType,
    /// What its owner calls it.
    #[schema(required)]
    pub device_name: Option<String>,
    /// How available it is.
    pub status: PeerStatus,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Member {
    /// Whose membership.
    pub user_id: UserId,
    /// The account's name.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
    /// What the member may do.
    pub role: MemberRole,
    /// Since when.
    pub joined_at: Timestamp,
    /// Whether any of the member's peers is connected.
    pub online: bool,
    /// The connected ones.
    pub peers: Vec<MemberPeer>,
}

/// Something said in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// Where it was said.
    pub room_id: RoomId,
    /// The sequence number at which it was said.
    pub seq: u64,
    /// Who said it.
    pub user_id: UserId,
    /// The author's name.
    pub username: String,
    /// What was said; empty once deleted.
    pub content: String,
    /// When it was said.
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(required)]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<Timestamp>,
    /// The message that it answers.
    #[schema(required)]
    pub reply_to_id: Option<MessageId>,
    /// The sender's own name for it.
    #[schema(required)]
    pub client_id: Option<String>,
    /// Who reacted, by emoji.
    pub reactions: BTreeMap<String, Vec<UserId>>,
    /// Which members it names with `@username`.
    #[serde(default)]
    pub mentions: Vec<UserId>,
}

/// A STUN or TURN server, as `RTCPeerConnection` takes it (W3C WebRTC, `RTCIceServer`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// Absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A line of a room's export, told apart by `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ExportLine {
    /// The room itself: the first line.
    Room(Room),
    /// Somebody in it, without presence.
    Member(Member),
    /// Something said in it.
    Message(Message),
}
