//! The events of `call`: a ring reaches the connected members of a room, and stops in time.

use std::sync::Arc;

use bytes::Bytes;
use mesh_protocol::{
    CallId, RoomId, UserId,
    event::call::{About, Cancelled, Declined, Over as Reason, Ring as Ask, Ringing},
    model::Scope,
};

use super::{
    calls::refused,
    conn::Conn,
    dispatch::{Answer, Command},
    hub::{Hub, locked},
    relay::own_end,
};
use crate::{
    domain::{
        gone::{End, Gone},
        outqueue::Class,
        ring::{Over, Refused, Ring},
    },
    error::{Error, Kind, Result},
    service::{auth::Caller, calls, peers},
};

/// Acts on `call.ring`.
pub(super) fn ring(caller: Arc<Caller>, ask: Ask, answer: Answer) -> Option<Command> {
    Some(Box::pin(async move {
        match rung(&answer, &caller, ask).await {
            Ok(()) => answer.ack(),
            Err(e) => answer.refuse(refused(&e)),
        }
    }))
}

async fn rung(answer: &Answer, caller: &Caller, ask: Ask) -> Result<()> {
    let (hub, room, call) = (&answer.hub, ask.room_id, &ask.call_id);
    let Some(own) = own_end(&answer.conn) else { return Ok(()) };
    peers::must_be_in(hub.app(), caller.user_id, room)?;
    let mut media = ask.media;
    media.dedup();
    if media.is_empty() || media.len() > 2 {
        return Err(Error::invalid_field("media", "invalid", "must name audio, video or both"));
    }
    let now = hub.app().clock.now_ms();
    locked(&hub.rings).begin(room, call, &own, media, now).map_err(told_why)?;
    // Taken back where the connection ends meanwhile.
    let begun = Begun { hub, room, call, own: &own };
    let others = calls::ring(hub.app(), caller, room, call).await?;
    let still = hub.tell_ringing(room, call, &own, others);
    drop(begun);
    if still {
        hub.ticks.wake();
    } else {
        // It was over before it was told.
        calls::over(hub.app(), room, call, own.user, None);
    }
    Ok(())
}

/// A ring that is not told yet.
struct Begun<'a> {
    hub: &'a Hub,
    room: RoomId,
    call: &'a CallId,
    own: &'a End,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        locked(&self.hub.rings).abandon(self.room, self.call, self.own);
    }
}

/// Acts on `call.cancel`.
pub(super) fn cancel(caller: &Caller, ask: &About, answer: &Answer) {
    let hub = &answer.hub;
    let cancelled = peers::must_be_in(hub.app(), caller.user_id, ask.room_id)
        .and_then(|()| locked(&hub.rings).cancel(ask.room_id, &ask.call_id, caller.user_id).map_err(told_why));
    match cancelled {
        Ok(over) => {
            hub.ring_over(&over, answer.peer(), Some(answer.conn.number));
            answer.ack();
        }
        Err(e) => answer.refuse(refused(&e)),
    }
}

/// Acts on `call.decline`.
pub(super) fn decline(caller: &Caller, ask: About, answer: &Answer) {
    let (hub, user) = (&answer.hub, caller.user_id);
    let declined = peers::must_be_in(hub.app(), user, ask.room_id)
        .and_then(|()| locked(&hub.rings).decline(ask.room_id, &ask.call_id, user).map_err(told_why));
    match declined {
        Ok(over) => {
            let told = Declined { room_id: ask.room_id, call_id: ask.call_id, from_user: user };
            let frame = hub.encoder.event_from(&told, answer.peer(), &ask.room_id.to_string(), None);
            hub.tell_members(ask.room_id, &frame, |_, conn| conn != answer.conn.number);
            if let Some(over) = over {
                hub.ring_over(&over, answer.peer(), None);
            }
            answer.ack();
        }
        Err(e) => answer.refuse(refused(&e)),
    }
}

fn told_why(refused: Refused) -> Error {
    let conflict = |code, message: &str| Error::new(Kind::Conflict, code, message);
    match refused {
        Refused::Rings => conflict("rings_already", "that call rings already"),
        Refused::TooOften(wait) => {
            let wait = std::time::Duration::from_millis(u64::try_from(wait).unwrap_or(0));
            Error::rate_limited("too many rings within a minute", wait)
        }
        Refused::NoRing => Error::new(Kind::NotFound, "not_found", "no call of that name rings in this room"),
        Refused::NotYours => Error::forbidden("whoever rings takes it back; you may decline it"),
        Refused::Done => conflict("done_already", "it does not ring for you, or not any more"),
    }
}

impl Hub {
    /// Tells the connected members of a room, as far as `whom` says yes of a user and a connection's number.
    fn tell_members(&self, room: RoomId, frame: &Bytes, whom: impl Fn(UserId, u64) -> bool) {
        let (_, users) = self.app().presence.online_in(room, usize::MAX);
        for user in users {
            for conn in self.connections_of(user) {
                if whom(user, conn.number) && conn.is_welcomed() && conn.caller().may(Scope::Rtc) {
                    conn.push(Class::Ordered, frame.clone());
                }
            }
        }
    }

    fn ringing(&self, ring: &Ring) -> Bytes {
        let told = Ringing {
            room_id: ring.room,
            call_id: ring.call.clone(),
            from_user: ring.from.user,
            media: ring.media.clone(),
        };
        self.encoder.event_from(&told, ring.from.peer.as_str(), &ring.room.to_string(), None)
    }

    /// Tells a ring, under the lock: nobody hears of its end before. False where it is over already.
    fn tell_ringing(&self, room: RoomId, call: &CallId, own: &End, others: u64) -> bool {
        let mut rings = locked(&self.rings);
        let Some(ring) = rings.told(room, call, own, others) else { return false };
        let frame = self.ringing(ring);
        self.tell_members(room, &frame, |user, _| ring.rings_for(user));
        true
    }

    /// A connection has come, woken by push perhaps: it hears what rings.
    pub(super) fn tell_what_rings(&self, user: UserId, conn: &Conn) {
        let rings = locked(&self.rings);
        for ring in rings.for_user(user).filter(|ring| peers::is_in(self.app(), user, ring.room)) {
            conn.push(Class::Ordered, self.ringing(ring));
        }
    }

    /// Somebody talks within a call: their other devices ring no more.
    pub(super) fn answered(&self, room: RoomId, call: &CallId, own: &End) {
        if locked(&self.rings).is_empty() {
            return;
        }
        let Some((_, over)) = locked(&self.rings).answer(room, call, own.user) else { return };
        let told = Cancelled { room_id: room, call_id: call.clone(), from_user: own.user, reason: Reason::Answered };
        let frame = self.encoder.event_from(&told, own.peer.as_str(), &room.to_string(), None);
        self.tell_members(room, &frame, |user, conn| user == own.user && conn != own.conn);
        if let Some(over) = over {
            self.ring_over(&over, own.peer.as_str(), None);
        }
    }

    /// Tells that it rings no more: those for whom it rang, and the caller's devices but for the connection `but`.
    fn ring_over(&self, over: &Over, from: &str, but: Option<u64>) {
        let ring = &over.ring;
        if let Some(reason) = over.reason {
            let told = Cancelled { room_id: ring.room, call_id: ring.call.clone(), from_user: ring.from.user, reason };
            let frame = self.encoder.event_from(&told, from, &ring.room.to_string(), None);
            let hears = |user, conn| (ring.rings_for(user) || user == ring.from.user) && Some(conn) != but;
            self.tell_members(ring.room, &frame, hears);
        }
        calls::over(self.app(), ring.room, &ring.call, ring.from.user, over.is_missed().then(|| ring.done()));
    }

    /// Ends what rings because of what is gone.
    pub(super) fn end_rings(&self, gone: &Gone<'_>) {
        let mut rings = locked(&self.rings);
        if rings.is_empty() {
            return;
        }
        let over = rings.gone(gone);
        drop(rings);
        over.iter().for_each(|over| self.ring_over(over, "server", None));
    }

    /// Ends what has rung long enough; when to look again, Unix milliseconds.
    pub(super) fn expire_rings(&self, now: i64) -> Option<i64> {
        let (over, next) = locked(&self.rings).expire(now);
        over.iter().for_each(|over| self.ring_over(over, "server", None));
        next
    }
}
