//! What a client may send.

use super::{EventError, EventInfo, call, chat, file, p2p, presence, read_payload, room, rtc, system, terminal};

macro_rules! client_events {
    ($($(#[doc = $doc:literal])* $name:literal => $variant:ident($payload:ty), answered by $reply:literal;)*) => {
        /// An event from a client.
        #[derive(Debug, Clone)]
        pub enum ClientEvent {
            $($(#[doc = $doc])* $variant($payload),)*
        }

        /// The place of each event in [`ClientEvent::NAMES`].
        #[derive(Clone, Copy)]
        enum Place { $($variant),* }

        impl ClientEvent {
            /// Every event's name.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The event's place in [`Self::NAMES`].
            pub fn index(&self) -> usize {
                (match self { $(Self::$variant(_) => Place::$variant,)* }) as usize
            }

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
                    reply: Some($reply),
                    schema: |generator| generator.subschema_for::<$payload>(),
                    example: include_str!(concat!("../../examples/client/", $name, ".json")),
                }),*]
            }
        }
    };
}

client_events! {
    /// Introduces the connection; must come first, within 10 seconds. `from` may propose a peer id. What is said right
    /// behind it, without waiting for the welcome, is acted on after it: who knows its rooms joins them a round trip sooner.
    "system.hello" => Hello(system::Hello), answered by "system.welcome";
    /// Asks for a sign of life.
    "system.ping" => Ping(system::Empty), answered by "system.pong";
    /// Renews the connection's credential with a newer access token of the same user, so that it outlives the first.
    "system.auth" => Auth(system::Auth), answered by "system.ack";
    /// From now on this connection receives the room's events. Joining a public room makes the caller a member.
    /// With `since_seq`, every change after it follows right behind the answer, in order, each exactly once.
    "room.join" => RoomJoin(room::Join), answered by "room.joined";
    /// Stops receiving; membership stays.
    "room.leave" => RoomLeave(room::Leave), answered by "room.left";
    /// Says something in a room. The same `client_id` (or else the event's `id`) from the same user in the same
    /// room is one message, however often it is sent.
    "chat.message.send" => MessageSend(chat::MessageSend), answered by "chat.message.created";
    /// Changes what one of the caller's own messages says. Where it says so already: `system.ack`.
    "chat.message.edit" => MessageEdit(chat::MessageEdit), answered by "chat.message.edited";
    /// Empties a message; it keeps its place. Authors may, and the room's owner and admins. Where it is deleted
    /// already: `system.ack`.
    "chat.message.delete" => MessageDelete(chat::MessageDelete), answered by "chat.message.deleted";
    /// Reacts to a message. Where the caller has so already: `system.ack`.
    "chat.reaction.add" => ReactionAdd(chat::ReactionAdd), answered by "chat.reaction.updated";
    /// Takes a reaction back. Where there is none: `system.ack`.
    "chat.reaction.remove" => ReactionRemove(chat::ReactionRemove), answered by "chat.reaction.updated";
    /// Tells the room's others that the caller writes, or has stopped. Never stored, dropped first under load.
    "chat.typing" => Typing(chat::Typing), answered by "system.ack";
    /// Up to where the caller has read. Where that moves nothing: `system.ack`.
    "chat.read" => Read(chat::Read), answered by "chat.read";
    /// Asks for what was said.
    "chat.history" => History(chat::History), answered by "chat.history";
    /// Tells how available this peer is. The rooms of its user hear it as `presence.update`.
    "presence.set" => PresenceSet(presence::Set), answered by "system.ack";
    /// Offers the peer in `to` a WebRTC session, or changes the one there is: opens the call `call_id` between the two.
    /// Needs a capability token with `call` or `screen` for the room, and for that peer where it names one. The answer is
    /// a receipt: the event stands in that peer's queue. Until it is answered, it may be made anew. Where the two make an offer at once, the second one to arrive is
    /// refused with `conflict`: its sender is the polite one.
    "rtc.offer" => RtcOffer(rtc::Signal), answered by "system.ack";
    /// Answers the offer that the peer in `to` made last, within a call.
    "rtc.answer" => RtcAnswer(rtc::Signal), answered by "system.ack";
    /// Gives the peer in `to` an ICE candidate, within a call.
    "rtc.ice" => RtcIce(rtc::Signal), answered by "system.ack";
    /// Ends the call with the peer in `to`.
    "rtc.bye" => RtcBye(rtc::Signal), answered by "system.ack";
    /// Asks another peer for a session, in which bytes go from peer to peer. The answer bears its `session_id` and says
    /// that the other has been asked; `p2p.session.created` or `p2p.session.closed` follows.
    "p2p.session.request" => P2pRequest(p2p::Request), answered by "system.ack";
    /// Takes a session that one was asked for. Both get `p2p.session.created`.
    "p2p.session.accept" => P2pAccept(p2p::Accept), answered by "p2p.session.created";
    /// Does not take a session that one was asked for. Both get `p2p.session.closed`.
    "p2p.session.reject" => P2pReject(p2p::Reject), answered by "p2p.session.closed";
    /// Closes one of the caller's sessions, or takes the question back. Both get `p2p.session.closed`.
    "p2p.session.close" => P2pClose(p2p::Close), answered by "p2p.session.closed";
    /// Announces a file that the caller has; nothing is uploaded. Announced again, it has changed.
    "file.share" => FileShare(file::Share), answered by "file.shared";
    /// Takes an announcement back. Where there is none: `system.ack`.
    "file.unshare" => FileUnshare(file::Unshare), answered by "file.unshared";
    /// Announces a terminal that others may look at. Announced again, it has changed.
    "terminal.share" => TerminalShare(terminal::Share), answered by "terminal.shared";
    /// Takes an announcement back. Where there is none: `system.ack`.
    "terminal.unshare" => TerminalUnshare(terminal::Unshare), answered by "terminal.unshared";
    /// Asks a terminal's owner to let the caller type. The answer says that the owner has been asked.
    "terminal.control.request" => ControlRequest(terminal::ControlRequest), answered by "system.ack";
    /// Lets a peer that has asked type. While another does: `conflict`, so revoke first. Where it does already: `system.ack`.
    "terminal.control.grant" => ControlGrant(terminal::ControlGrant), answered by "terminal.control.changed";
    /// Types no more.
    "terminal.control.release" => ControlRelease(terminal::ControlEnd), answered by "terminal.control.changed";
    /// Lets nobody else type any more. Where nobody does: `system.ack`.
    "terminal.control.revoke" => ControlRevoke(terminal::ControlEnd), answered by "terminal.control.changed";
    /// Rings the room's other members: on their connections, and by push where they have none. It rings until the caller
    /// takes it back or goes, everybody has answered (by an `rtc` event of that call) or declined, or a minute is over.
    /// A room of more than 200 others is not rung.
    "call.ring" => CallRing(call::Ring), answered by "system.ack";
    /// Takes an own ring back, on whichever device.
    "call.cancel" => CallCancel(call::About), answered by "system.ack";
    /// Does not want the call: it stops ringing on all devices of this person.
    "call.decline" => CallDecline(call::About), answered by "system.ack";
}
