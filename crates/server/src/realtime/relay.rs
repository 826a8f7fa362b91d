//! From one peer to another: whom somebody may name, the receipt, and what is told to those who keep something open
//! between two.

use std::sync::Arc;

use bytes::Bytes;
use mesh_protocol::{PeerId, RoomId, event::Payload};

use super::{conn::Conn, hub::Hub};
use crate::{
    domain::{
        gone::{End, Gone},
        happening::{Ending, Happening, RoomEvent},
        outqueue::Class,
    },
    error::{Error, Result},
    service::{auth::Caller, peers},
};

/// The peer that somebody has named.
pub(super) struct Counterpart {
    pub(super) conn: Arc<Conn>,
    pub(super) end: End,
}

impl Hub {
    /// The peer that `caller` names in `field`, to say something to it in `room`: both are members, and it is there.
    ///
    /// # Errors
    /// `not_found` where the caller is not a member; `invalid_payload` where no other peer is named; `peer_offline` where
    /// that peer is not there, or is nobody's who is a member.
    pub(super) fn counterpart(
        &self,
        caller: &Caller,
        own: &PeerId,
        field: &str,
        named: Option<&str>,
        room: RoomId,
    ) -> Result<Counterpart> {
        let app = self.app();
        peers::must_be_in(app, caller.user_id, room)?;
        let named = named.ok_or_else(|| Error::invalid_field(field, "required", "must name a peer"))?;
        let peer: PeerId = named.parse().map_err(|_| Error::invalid_field(field, "invalid", "must be a peer id"))?;
        if peer == *own {
            return Err(Error::invalid_field(field, "invalid", "must be another peer"));
        }
        let found = self.held(&peer).filter(|(conn, user)| conn.is_welcomed() && peers::is_in(app, *user, room));
        let (conn, user) = found.ok_or_else(|| peers::offline(&peer))?;
        Ok(Counterpart { end: End { conn: conn.number, user, peer }, conn })
    }

    /// Hands something that `from` caused on to a peer; whether it stands in that peer's queue now. A queue that is
    /// loaded takes nothing more of it: nobody ends another one's connection by talking.
    #[must_use]
    pub(super) fn relay<P: Payload>(&self, payload: &P, from: &PeerId, to: &Conn) -> bool {
        let name = to.peer().map_or("server", PeerId::as_str);
        to.offer(self.encoder.event_from(payload, from.as_str(), name, None))
    }

    /// Whether both connections still hold their names, and both users are members still. Asked where something opens
    /// between two, under the lock of whatever it is kept in: what is gone later finds it there.
    pub(super) fn still_there(&self, room: RoomId, ends: [&End; 2]) -> bool {
        let app = self.app();
        ends.iter().all(|end| {
            self.held(&end.peer).is_some_and(|(conn, _)| conn.number == end.conn) && peers::is_in(app, end.user, room)
        })
    }

    /// Tells a connection something from the server, where it is there still.
    pub(super) fn tell_end<P: Payload>(&self, payload: &P, end: &End) {
        if let Some((conn, _)) = self.held(&end.peer).filter(|(conn, _)| conn.number == end.conn) {
            conn.push(Class::Reply, self.encoder.event(payload, end.peer.as_str(), None));
        }
    }

    /// Something is over: whoever keeps something that stands on it hears it here, at once. Called without a lock held,
    /// on a store's thread or a connection's task: it takes short locks only.
    pub(super) fn gone(&self, gone: &Gone<'_>) {
        self.end_calls(gone);
        self.end_rings(gone);
        self.end_sessions(gone);
        self.end_shares(gone);
        // A connection whose login is over has up to its parting words; what it takes part in ends now.
        for end in self.standing_on(gone) {
            self.end_rings(&Gone::Peer(&end));
            self.end_sessions(&Gone::Peer(&end));
            self.end_shares(&Gone::Peer(&end));
        }
    }

    /// What a commit ends.
    pub(super) fn gone_with(&self, happening: &Happening) {
        match happening {
            Happening::Room { room, event: RoomEvent::MemberRemoved { user, reason }, .. } => {
                self.gone(&Gone::Member { user: *user, room: *room, reason: *reason });
            }
            Happening::Room { room, event: RoomEvent::MemberUpdated(member), .. } => {
                self.gone(&Gone::Role { user: member.user_id, room: *room, role: member.role });
            }
            Happening::Room { room, event: RoomEvent::Deleted, .. } => self.gone(&Gone::Room(*room)),
            Happening::Ended { user, sessions, why } => match why {
                Ending::Disabled => self.gone(&Gone::Account(*user)),
                Ending::LoggedOut | Ending::TokenReused => self.gone(&Gone::Logins { user: *user, sessions }),
            },
            _ => {}
        }
    }
}

impl Conn {
    /// Queues a frame that may be refused; whether it was taken.
    #[must_use]
    pub(super) fn offer(&self, frame: Bytes) -> bool {
        use crate::domain::outqueue::Push;
        let mut outbox = self.outbox();
        if outbox.close.is_some() {
            return false;
        }
        let pushed = outbox.queue.push(Class::Ephemeral, self.packed(frame));
        drop(outbox);
        match pushed {
            Push::Pushed { was_empty } => {
                if was_empty {
                    self.waker.wake();
                }
                true
            }
            Push::Dropped | Push::TooSlow => false,
        }
    }
}

/// The connection's own end; none before its welcome.
pub(super) fn own_end(conn: &Conn) -> Option<End> {
    let peer = conn.peer()?.clone();
    Some(End { conn: conn.number, user: conn.user, peer })
}
