//! What a client may get.

use serde::Serialize;

use super::{EventError, EventInfo, call, chat, file, p2p, presence, read_payload, room, rtc, system, terminal};

/// A payload that the server sends, bound to its event's name.
pub trait Payload: Serialize {
    /// The event's name.
    const TYPE: &'static str;
    /// The event's place in [`ServerEvent::NAMES`].
    const INDEX: usize;
}

macro_rules! server_events {
    ($($(#[doc = $doc:literal])* $name:literal => $variant:ident($($payload:tt)*);)*) => {
        /// An event from the server.
        #[derive(Debug, Clone)]
        pub enum ServerEvent {
            $($(#[doc = $doc])* $variant($($payload)*),)*
        }

        $(impl Payload for $($payload)* {
            const TYPE: &'static str = $name;
            const INDEX: usize = Place::$variant as usize;
        })*

        /// The place of each event in [`ServerEvent::NAMES`].
        #[derive(Clone, Copy)]
        enum Place { $($variant),* }

        impl ServerEvent {
            /// Every event's name.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Reads the payload of the event called `kind`.
            ///
            /// # Errors
            /// [`EventError`]: no such event, or a payload that does not fit.
            pub fn parse(kind: &str, payload: &str) -> Result<Self, EventError> {
                match kind {
                    $($name => read_payload(payload).map(Self::$variant),)*
                    _ => Err(EventError::UnknownType),
                }
            }

            /// The event's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The payload as JSON.
            pub fn payload_json(&self) -> serde_json::Value {
                match self { $(Self::$variant(p) => serde_json::to_value(p).unwrap_or_default(),)* }
            }

            /// Every event, for the documents.
            pub fn catalogue() -> Vec<EventInfo> {
                vec![$(EventInfo {
                    name: $name,
                    doc: concat!($($doc, "\n"),*),
                    reply: None,
                    schema: |generator| generator.subschema_for::<$($payload)*>(),
                    example: include_str!(concat!("../../examples/server/", $name, ".json")),
                }),*]
            }
        }
    };
}

server_events! {
    /// The answer to `system.hello`: who the connection is now, what it may do, and its rooms.
    "system.welcome" => Welcome(system::Welcome);
    /// The answer to `system.ping`.
    "system.pong" => Pong(system::Pong);
    /// Done, nothing to tell.
    "system.ack" => Ack(system::Ack);
    /// The credential ends in 60 seconds: send `system.auth` with a newer one.
    "system.token_expiring" => TokenExpiring(system::TokenExpiring);
    /// An event was refused; `reply_to` bears its id, where it had one.
    "system.error" => Error(system::Error);
    /// The server closes this connection; `action` says what to do then.
    "system.goodbye" => Goodbye(system::Goodbye);
    /// The answer to `room.join`.
    "room.joined" => RoomJoined(room::Joined);
    /// The answer to `room.leave`.
    "room.left" => RoomLeft(room::Left);
    /// To the room: somebody became a member.
    "room.member.added" => MemberAdded(room::MemberAdded);
    /// To the room: a member's role changed.
    "room.member.updated" => MemberUpdated(room::MemberUpdated);
    /// To the room: somebody is no longer a member.
    "room.member.removed" => MemberRemoved(room::MemberRemoved);
    /// To the room: its name, description, visibility, owner or retention changed.
    "room.updated" => RoomUpdated(room::Updated);
    /// To the room: it is gone.
    "room.deleted" => RoomDeleted(room::Deleted);
    /// To the person concerned, on all connections: a room to show.
    "room.added" => RoomAdded(room::Added);
    /// To the person concerned, on all connections: a room to show no more.
    "room.removed" => RoomRemoved(room::Removed);
    /// Something was said and is stored. To every joined connection; the sender's own copy bears `reply_to`.
    /// A repeated send is answered by the first message, to the sender alone.
    "chat.message.created" => MessageCreated(chat::MessageCreated);
    /// A message says something else now.
    "chat.message.edited" => MessageEdited(chat::MessageEdited);
    /// A message was deleted; it keeps its place, with empty `content`.
    "chat.message.deleted" => MessageDeleted(chat::MessageDeleted);
    /// Somebody reacted to a message, or took that back.
    "chat.reaction.updated" => ReactionUpdated(chat::ReactionUpdated);
    /// To the room's others: somebody writes, or has stopped.
    "chat.typing" => Typing(chat::TypingNow);
    /// To the room: somebody has read up to there.
    "chat.read" => Read(chat::ReadBy);
    /// The answer to `chat.history`.
    "chat.history" => History(chat::HistoryPage);
    /// To the rooms that the peer's user is in: a peer came, went, or has another status. A change is told at once,
    /// further ones of the same peer at most every 200 ms, the last one always. What `room.joined` lists may be told again.
    "presence.update" => PresenceUpdate(presence::Update);
    /// In a room with more than 200 connected peers, in the place of `presence.update`: how many are there, when that
    /// has changed, at most once a second. Who they are tells `GET /api/rooms/{id}/members?online=true`. Once more when
    /// the room has 200 peers or fewer again: from then on each is told of.
    "presence.summary" => PresenceSummary(presence::Summary);
    /// The peer in `from` offers a WebRTC session, or changes the one there is. An own offer that is under way has lost:
    /// take it back and answer this one.
    "rtc.offer" => RtcOffer(rtc::Offer);
    /// The peer in `from` answers the offer made to it.
    "rtc.answer" => RtcAnswer(rtc::Answer);
    /// The peer in `from` gives an ICE candidate.
    "rtc.ice" => RtcIce(rtc::Ice);
    /// The call is over: by the peer in `from`; or where `from` is `"server"`, because of `reason` (`peer_gone`, `left`,
    /// `kicked`, `banned`, `room_deleted`, `not_allowed`, `session_ended`, `account_disabled`), the call with `peer_id`.
    "rtc.bye" => RtcBye(rtc::Bye);
    /// Somebody calls the room; `from` is the caller's peer. Also right after the welcome, to who comes while it rings.
    "call.ringing" => CallRinging(call::Ringing);
    /// It rings no more: taken back, too long, the caller gone, or answered on another device of this person. Of a ring
    /// that went without an answer the caller hears too, push tells those who are not connected, and it stands in the
    /// room's `missed_calls` until it is read.
    "call.cancel" => CallCancel(call::Cancelled);
    /// Somebody does not want the call. To the caller and the room's others, the decliner's other devices among them.
    "call.decline" => CallDecline(call::Declined);
    /// Comes unasked when three quarters of the life of the TURN credential are over that the connection was given last.
    "rtc.ice_servers" => RtcIceServers(rtc::IceServers);
    /// To the peer that is asked for a session: answer with `p2p.session.accept` or `p2p.session.reject` within 30 seconds.
    "p2p.session.requested" => P2pRequested(p2p::Requested);
    /// To both: the session stands. What each needs to reach the other and to know it, also while the server is down.
    "p2p.session.created" => P2pCreated(p2p::Created);
    /// To both: the session is over, or was never taken. Who holds a connection that it stood for ends it.
    "p2p.session.closed" => P2pClosed(p2p::Closed);
    /// To the room: a peer has a file for its members.
    "file.shared" => FileShared(file::Shared);
    /// To the room: a file is shared no longer. It is not told of each where the room is gone.
    "file.unshared" => FileUnshared(file::Unshared);
    /// To the room: a peer lets its members look at a terminal.
    "terminal.shared" => TerminalShared(terminal::Shared);
    /// To the room: a terminal is shared no longer, and nobody controls it.
    "terminal.unshared" => TerminalUnshared(terminal::Unshared);
    /// To a terminal's owner: a peer asks to type in it.
    "terminal.control.requested" => ControlRequested(terminal::ControlRequested);
    /// To the room: another peer types in a terminal from now on, or none.
    "terminal.control.changed" => ControlChanged(terminal::ControlChanged);
}
