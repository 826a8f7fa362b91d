//! Ringing: who is rung, who has done with it, and when it is over.

use std::collections::{HashMap, HashSet};

use mesh_protocol::{
    CallId, RoomId, UserId,
    event::call::{Media, Over as Reason},
};

use super::{
    gone::{End, Gone},
    push::RING_MS,
};

/// Rings that one person may begin within [`PACE_MS`]: whoever is rung is disturbed.
pub const MOST: usize = 10;
/// How far back begun rings are counted, milliseconds.
pub const PACE_MS: i64 = 60_000;
/// A ring reaches a room of at most this many others: who wants more of them writes.
pub const MAX_OTHERS: u64 = 200;

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// That call rings already.
    Rings,
    /// This person has begun [`MOST`] rings lately; the milliseconds until the next may.
    TooOften(i64),
    /// Nothing rings under that name.
    NoRing,
    /// It is the caller's to take back.
    NotYours,
    /// It is the caller's own ring, or this person has answered or declined it.
    Done,
}

/// A call that rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// In which room.
    pub room: RoomId,
    /// The call.
    pub call: CallId,
    /// Who rings.
    pub from: End,
    /// What for.
    pub media: Vec<Media>,
    /// Members beside the caller.
    others: u64,
    /// Those of them who have answered or declined.
    done: HashSet<UserId>,
    answered: bool,
    ends_at: i64,
    told: bool,
}

impl Ring {
    /// Whether it rings for this person.
    pub fn rings_for(&self, user: UserId) -> bool {
        self.told && user != self.from.user && !self.done.contains(&user)
    }

    /// Those who have answered or declined.
    pub fn done(&self) -> Vec<UserId> {
        self.done.iter().copied().collect()
    }

    fn all_done(&self) -> bool {
        self.done.len() as u64 >= self.others
    }
}

/// A ring that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub ring: Ring,
    /// Why; none where everybody knows: all have answered or declined, or the room is gone.
    pub reason: Option<Reason>,
}

impl Over {
    /// Whether it is a call that somebody has missed: nobody answered, and not all declined.
    pub fn is_missed(&self) -> bool {
        let ended = matches!(self.reason, Some(Reason::Cancelled | Reason::Timeout | Reason::PeerGone));
        ended && self.ring.told && !self.ring.answered
    }
}

type Key = (RoomId, CallId);

/// What rings now.
#[derive(Debug, Default)]
pub struct Rings {
    open: HashMap<Key, Ring>,
    /// When each person began rings lately.
    begun: HashMap<UserId, Vec<i64>>,
}

impl Rings {
    /// Begins a ring; nobody is told of it before [`Self::told`].
    ///
    /// # Errors
    /// [`Refused::Rings`], [`Refused::TooOften`].
    pub fn begin(
        &mut self,
        room: RoomId,
        call: &CallId,
        from: &End,
        media: Vec<Media>,
        now: i64,
    ) -> Result<(), Refused> {
        let key = (room, call.clone());
        if self.open.contains_key(&key) {
            return Err(Refused::Rings);
        }
        let begun = self.begun.entry(from.user).or_default();
        begun.retain(|at| (0..PACE_MS).contains(&(now - at)));
        if let Some(oldest) = begun.first().filter(|_| begun.len() >= MOST) {
            return Err(Refused::TooOften(oldest + PACE_MS - now));
        }
        begun.push(now);
        let ring = Ring {
            room,
            call: call.clone(),
            from: from.clone(),
            media,
            others: u64::MAX,
            done: HashSet::new(),
            answered: false,
            ends_at: now + RING_MS,
            told: false,
        };
        self.open.insert(key, ring);
        Ok(())
    }

    /// The ring may be told now, to `others` members; none where it is over already.
    pub fn told(&mut self, room: RoomId, call: &CallId, from: &End, others: u64) -> Option<&Ring> {
        let ring = self.open.get_mut(&(room, call.clone())).filter(|ring| ring.from == *from)?;
        (ring.told, ring.others) = (true, others);
        Some(ring)
    }

    /// A ring that came to nothing.
    pub fn abandon(&mut self, room: RoomId, call: &CallId, from: &End) {
        let key = (room, call.clone());
        if self.open.get(&key).is_some_and(|ring| ring.from == *from && !ring.told) {
            self.open.remove(&key);
        }
    }

    /// The caller takes it back, on whichever device.
    ///
    /// # Errors
    /// [`Refused::NoRing`], [`Refused::NotYours`].
    pub fn cancel(&mut self, room: RoomId, call: &CallId, user: UserId) -> Result<Over, Refused> {
        let key = (room, call.clone());
        match self.open.get(&key) {
            None => Err(Refused::NoRing),
            Some(ring) if ring.from.user != user => Err(Refused::NotYours),
            Some(_) => self.over(&key, Some(Reason::Cancelled)).ok_or(Refused::NoRing),
        }
    }

    /// Somebody does not want it. The ring, and whether it is over with that.
    ///
    /// # Errors
    /// [`Refused::NoRing`], [`Refused::Done`].
    pub fn decline(&mut self, room: RoomId, call: &CallId, user: UserId) -> Result<Option<Over>, Refused> {
        let key = (room, call.clone());
        let ring = self.open.get_mut(&key).filter(|ring| ring.told).ok_or(Refused::NoRing)?;
        if !ring.rings_for(user) {
            return Err(Refused::Done);
        }
        ring.done.insert(user);
        let all = ring.all_done();
        Ok(if all { self.over(&key, None) } else { None })
    }

    /// Somebody talks within that call: where it rang for them, who called, and whether it is over with that.
    pub fn answer(&mut self, room: RoomId, call: &CallId, user: UserId) -> Option<(End, Option<Over>)> {
        let key = (room, call.clone());
        let ring = self.open.get_mut(&key).filter(|ring| ring.rings_for(user))?;
        ring.done.insert(user);
        ring.answered = true;
        let (from, all) = (ring.from.clone(), ring.all_done());
        Some((from, if all { self.over(&key, None) } else { None }))
    }

    /// Ends what falls with what is gone.
    pub fn gone(&mut self, gone: &Gone<'_>) -> Vec<Over> {
        let falls = |ring: &Ring| match gone {
            Gone::Peer(end) => (ring.from.conn == end.conn).then_some(Some(Reason::PeerGone)),
            Gone::Member { user, room, .. } => {
                (ring.from.user == *user && ring.room == *room).then_some(Some(Reason::PeerGone))
            }
            Gone::Account(user) => (ring.from.user == *user).then_some(Some(Reason::PeerGone)),
            Gone::Room(room) => (ring.room == *room).then_some(None),
            // Its connection is closed.
            Gone::Logins { .. } | Gone::Role { .. } => None,
        };
        let falling: Vec<_> = self.open.iter().filter_map(|(key, ring)| Some((key.clone(), falls(ring)?))).collect();
        falling.into_iter().filter_map(|(key, reason)| self.over(&key, reason)).collect()
    }

    /// Ends what has rung long enough at `now`, and says when to look again.
    pub fn expire(&mut self, now: i64) -> (Vec<Over>, Option<i64>) {
        let late: Vec<_> = self.open.iter().filter(|(_, r)| r.ends_at <= now).map(|(key, _)| key.clone()).collect();
        let over = late.iter().filter_map(|key| self.over(key, Some(Reason::Timeout))).collect();
        self.begun.retain(|_, begun| begun.last().is_some_and(|at| (0..PACE_MS).contains(&(now - at))));
        (over, self.open.values().map(|ring| ring.ends_at).min())
    }

    /// What rings for somebody who has just come.
    pub fn for_user(&self, user: UserId) -> impl Iterator<Item = &Ring> {
        self.open.values().filter(move |ring| ring.rings_for(user))
    }

    /// Whether nothing rings.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn over(&mut self, key: &Key, reason: Option<Reason>) -> Option<Over> {
        self.open.remove(key).map(|ring| Over { ring, reason })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(Uuid::from_u128(u128::from(n)))
    }

    fn end(n: u64) -> End {
        End { conn: n, user: user(n), peer: format!("p{n}").parse().unwrap() }
    }

    fn room() -> RoomId {
        RoomId::new(Uuid::from_u128(1))
    }

    fn id(n: usize) -> CallId {
        format!("c{n}").parse().unwrap()
    }

    fn rung(others: u64) -> Rings {
        let mut rings = Rings::default();
        rings.begin(room(), &id(1), &end(1), vec![Media::Audio], 0).unwrap();
        assert!(rings.for_user(user(2)).next().is_none(), "not told yet");
        rings.told(room(), &id(1), &end(1), others).unwrap();
        rings
    }

    #[test]
    fn it_is_over_when_all_have_answered_or_declined() {
        let mut rings = rung(2);
        assert!(rings.for_user(user(2)).next().is_some() && rings.for_user(user(1)).next().is_none());
        assert_eq!(rings.decline(room(), &id(1), user(2)), Ok(None));
        assert_eq!(rings.decline(room(), &id(1), user(2)), Err(Refused::Done));
        assert_eq!(rings.decline(room(), &id(1), user(1)), Err(Refused::Done), "the caller's own");
        assert_eq!(rings.answer(room(), &id(1), user(2)), None, "it rang no more");
        let (from, over) = rings.answer(room(), &id(1), user(3)).unwrap();
        assert_eq!((from, over.unwrap().is_missed()), (end(1), false));
        assert!(rings.is_empty());
    }

    #[test]
    fn a_call_that_nobody_took_is_missed() {
        let mut rings = rung(1);
        assert_eq!(rings.expire(RING_MS - 1), (vec![], Some(RING_MS)));
        let (over, next) = rings.expire(RING_MS);
        assert!(over[0].is_missed() && over[0].reason == Some(Reason::Timeout) && next.is_none());
        assert!(rung(1).cancel(room(), &id(1), user(1)).unwrap().is_missed());
        assert_eq!(rung(1).cancel(room(), &id(1), user(2)), Err(Refused::NotYours));
        assert!(rung(1).gone(&Gone::Peer(&end(1)))[0].is_missed());
        assert!(!rung(1).gone(&Gone::Room(room()))[0].is_missed());
        assert!(rung(1).gone(&Gone::Peer(&end(2))).is_empty());
        let mut rings = rung(2);
        rings.answer(room(), &id(1), user(2)).unwrap();
        assert!(!rings.cancel(room(), &id(1), user(1)).unwrap().is_missed(), "somebody took it");
        assert!(!rung(1).decline(room(), &id(1), user(2)).unwrap().unwrap().is_missed(), "it was declined");
    }

    #[test]
    fn rings_are_paced() {
        let mut rings = Rings::default();
        let mut begin = |n: usize, at: i64| {
            let begun = rings.begin(room(), &id(n), &end(1), vec![], at);
            rings.abandon(room(), &id(n), &end(1));
            begun
        };
        for n in 0..MOST {
            begin(n, 10).unwrap();
        }
        assert_eq!(begin(99, 1_010), Err(Refused::TooOften(PACE_MS - 1_000)));
        begin(99, 10 + PACE_MS).unwrap();
        rings.expire(i64::MAX);
        assert!(rings.begun.is_empty());
    }

    proptest! {
        /// However it goes, a ring ends once, and nobody is rung who has done with it.
        #[test]
        fn every_ring_ends_once(moves in prop::collection::vec((0usize..6, 1u64..5, 0usize..3, 0i64..20_000), 1..80)) {
            let mut rings = Rings::default();
            let (mut begun, mut ended, mut now) = (0, 0, 0);
            for (what, who, call, pause) in moves {
                now += pause;
                match what {
                    0 => {
                        if rings.begin(room(), &id(call), &end(who), vec![], now).is_ok() {
                            begun += 1;
                            rings.told(room(), &id(call), &end(who), 3).unwrap();
                        }
                    }
                    1 => ended += usize::from(rings.cancel(room(), &id(call), user(who)).is_ok()),
                    2 => {
                        let declined = rings.decline(room(), &id(call), user(who));
                        ended += usize::from(matches!(declined, Ok(Some(_))));
                        prop_assert!(rings.for_user(user(who)).all(|ring| ring.call != id(call)));
                    }
                    3 => {
                        let answered = rings.answer(room(), &id(call), user(who));
                        ended += usize::from(answered.is_some_and(|(_, over)| over.is_some()));
                        prop_assert!(rings.for_user(user(who)).all(|ring| ring.call != id(call)));
                    }
                    4 => ended += rings.gone(&Gone::Peer(&end(who))).len(),
                    _ => ended += rings.expire(now).0.len(),
                }
                prop_assert_eq!(begun - ended, rings.open.len());
                prop_assert!(rings.begun.values().all(|begun| begun.len() <= MOST));
            }
            ended += rings.expire(i64::MAX).0.len();
            prop_assert_eq!(begun, ended);
        }
    }
}
