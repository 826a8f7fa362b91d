//! Joining a room in its middle: what is replayed from the store, and when a connection may go over
//! to live events so that it sees each sequence number exactly once, in order.
//!
//! The decision is pure; the connection's task reads the pages and the hub holds the ring. Every
//! join goes the same way, also one that replays nothing, since the room moves on between reading
//! its `last_seq` and subscribing:
//!
//! 1. read `last_seq` from the database, [`plan`], begin a [`CatchUp`] at [`Plan::position`];
//! 2. while the hub's lock on the room is held, ask [`CatchUp::try_live`];
//! 3. on [`Step::ReadMore`] let go of the lock, read one page, [`CatchUp::advance`], go to 2;
//!    otherwise subscribe under the same lock.

/// What a joining connection gets of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is missing: only what comes after the room's `last_seq`.
    Live,
    /// Replay every change with `seq > after`, then go live.
    Replay {
        /// Last sequence number that the client has.
        after: u64,
    },
    /// Too much is missing, or the client knows a future that this database doesn't (a restored
    /// backup): replay nothing, say `gap: true`, go on after the room's `last_seq`.
    Gap,
}

impl Plan {
    /// Where the connection's [`CatchUp`] begins: the last sequence number that it needs no more.
    #[must_use]
    pub const fn position(self, last_seq: u64) -> u64 {
        match self {
            Self::Replay { after } => after,
            Self::Live | Self::Gap => last_seq,
        }
    }
}

/// Decides what a join replays.
///
/// `since_seq` is the client's claim, `last_seq` the room's number as the *database* tells it (a
/// node's own feed may lag behind what another node has already shown to the client, and would turn
/// an honest claim into a gap), `purged_seq` the number up to which the log may have holes, `limit` the most changes to replay, usually [`mesh_protocol::limits::RECOVERY_LIMIT`].
#[must_use]
pub const fn plan(since_seq: Option<u64>, last_seq: u64, purged_seq: u64, limit: u64) -> Plan {
    let Some(since) = since_seq else {
        return Plan::Live;
    };
    match last_seq.checked_sub(since) {
        None => Plan::Gap,
        Some(0) => Plan::Live,
        Some(missing) if missing > limit || since < purged_seq => Plan::Gap,
        Some(_) => Plan::Replay { after: since },
    }
}

/// What a connection that catches up does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Subscribe now: all that was delivered to the room is replayed.
    ///
    /// The store may have been ahead of the room's feed, so live events with `seq <= after` were
    /// seen already and must be skipped ([`CatchUp::admit`]).
    Live {
        /// Last sequence number that the connection has.
        after: u64,
    },
    /// Queue the ring's events with `seq > after` and subscribe, under the same lock.
    FromRing {
        /// Last sequence number that the connection has.
        after: u64,
    },
    /// Read the next page after this number from the store, then ask again.
    ReadMore {
        /// Last sequence number that the connection has.
        after: u64,
    },
}

/// State of one connection that catches up with one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    position: u64,
}

impl CatchUp {
    /// Begins after `position`, the last sequence number that the connection has or doesn't want
    /// (see [`Plan::position`]).
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self { position }
    }

    /// Last sequence number that was queued for the connection.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.position
    }

    /// Tells that everything up to `to` was queued, a page from the store or a stretch of the ring.
    /// Never moves backwards.
    pub const fn advance(&mut self, to: u64) {
        if to > self.position {
            self.position = to;
        }
    }

    /// Decides how to go on. Call it, and act on [`Step::Live`] and [`Step::FromRing`], while no
    /// event can be delivered to the room, else one could slip between the two.
    ///
    /// `feed_position` is the last sequence number that was delivered to the room's connections,
    /// `ring_first` the lowest one that the ring of recent events still holds, none if it is empty.
    /// The ring holds everything from there up to `feed_position`.
    #[must_use]
    pub const fn try_live(&self, feed_position: u64, ring_first: Option<u64>) -> Step {
        let after = self.position;
        if feed_position <= after {
            return Step::Live { after };
        }
        match ring_first {
            // `first <= after + 1`, written so that it can't overflow.
            Some(first) if first <= after || first - after == 1 => Step::FromRing { after },
            _ => Step::ReadMore { after },
        }
    }

    /// Whether a live event is new to the connection; remembers it if so.
    ///
    /// Needed while the feed is behind what was replayed: false for events up to the position.
    #[must_use]
    pub const fn admit(&mut self, seq: u64) -> bool {
        let new = seq > self.position;
        if new {
            self.position = seq;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::VecDeque;

    use proptest::prelude::*;

    use mesh_protocol::limits::RECOVERY_LIMIT;

    use super::*;

    #[test]
    fn plans() {
        for (since, last, expected) in [
            (None, 0, Plan::Live),
            (None, 5_000, Plan::Live),
            (Some(0), 0, Plan::Live),
            (Some(7), 7, Plan::Live),
            (Some(8), 7, Plan::Gap),
            (Some(u64::MAX), 7, Plan::Gap),
            (Some(6), 7, Plan::Replay { after: 6 }),
            (Some(0), 1_000, Plan::Replay { after: 0 }),
            (Some(0), 1_001, Plan::Gap),
            (Some(1), 1_001, Plan::Replay { after: 1 }),
            (Some(0), u64::MAX, Plan::Gap),
        ] {
            assert_eq!(plan(since, last, 0, RECOVERY_LIMIT), expected, "{since:?} {last}");
        }
        assert_eq!(plan(Some(6), 7, 0, 0), Plan::Gap);
        assert_eq!(plan(Some(6), 9, 7, RECOVERY_LIMIT), Plan::Gap);
        assert_eq!(plan(Some(7), 9, 7, RECOVERY_LIMIT), Plan::Replay { after: 7 });
        assert_eq!(plan(Some(9), 9, 9, RECOVERY_LIMIT), Plan::Live);
    }

    #[test]
    fn positions() {
        assert_eq!(Plan::Live.position(9), 9);
        assert_eq!(Plan::Gap.position(9), 9);
        assert_eq!(Plan::Replay { after: 4 }.position(9), 4);
    }

    #[test]
    fn steps() {
        let at = CatchUp::new(10);
        assert_eq!(at.try_live(10, None), Step::Live { after: 10 });
        assert_eq!(at.try_live(3, Some(1)), Step::Live { after: 10 });
        assert_eq!(at.try_live(11, None), Step::ReadMore { after: 10 });
        assert_eq!(at.try_live(15, Some(12)), Step::ReadMore { after: 10 });
        assert_eq!(at.try_live(15, Some(11)), Step::FromRing { after: 10 });
        assert_eq!(at.try_live(15, Some(2)), Step::FromRing { after: 10 });
        let end = CatchUp::new(u64::MAX);
        assert_eq!(end.try_live(u64::MAX, Some(1)), Step::Live { after: u64::MAX });
    }

    #[test]
    fn admits_each_once() {
        let mut at = CatchUp::new(2);
        at.advance(1);
        assert_eq!(at.position(), 2);
        assert!(!at.admit(2));
        assert!(at.admit(3));
        assert!(!at.admit(3));
        at.advance(9);
        assert!(!at.admit(9));
        assert!(at.admit(10));
    }

    /// A room as the hub sees it: a store that is ahead of the feed, and a ring of what the feed delivered.
    struct Room {
        stored: u64,
        fed: u64,
        ring: VecDeque<u64>,
        ring_size: usize,
    }

    struct Connection {
        catch_up: CatchUp,
        live: bool,
        seen: Vec<u64>,
    }

    impl Room {
        fn deliver(&mut self, connection: &mut Connection) {
            if self.fed == self.stored {
                return;
            }
            self.fed += 1;
            self.ring.push_back(self.fed);
            if self.ring.len() > self.ring_size {
                self.ring.pop_front();
            }
            if connection.live && connection.catch_up.admit(self.fed) {
                connection.seen.push(self.fed);
            }
        }

        fn page(&self, connection: &mut Connection, size: u64) {
            let after = connection.catch_up.position();
            let to = self.stored.min(after + size);
            connection.seen.extend(after + 1..=to);
            connection.catch_up.advance(to);
        }

        /// Returns whether the store has to be read before anything else can happen.
        fn try_live(&self, connection: &mut Connection) -> bool {
            match connection.catch_up.try_live(self.fed, self.ring.front().copied()) {
                Step::Live { .. } => connection.live = true,
                Step::FromRing { after } => {
                    connection.seen.extend(self.ring.iter().filter(|&&seq| seq > after));
                    connection.catch_up.advance(self.fed);
                    connection.live = true;
                }
                Step::ReadMore { .. } => return true,
            }
            false
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Append,
        Deliver,
        Page(u64),
        TryLive,
    }

    proptest! {
        #[test]
        fn sees_each_number_once_in_order(
            past in 0u64..60,
            lag in 0u64..20,
            since in prop::option::of(0u64..70),
            limit in 1u64..50,
            ring_size in 0usize..12,
            acts in prop::collection::vec(
                prop_oneof![
                    Just(Act::Append),
                    Just(Act::Deliver),
                    (1u64..8).prop_map(Act::Page),
                    Just(Act::TryLive),
                ],
                0..120,
            ),
        ) {
            let mut room = Room { stored: past, fed: 0, ring: VecDeque::new(), ring_size };
            let mut nobody = Connection { catch_up: CatchUp::new(0), live: false, seen: vec![] };
            for _ in lag..past {
                room.deliver(&mut nobody);
            }

            let chosen = plan(since, room.stored, 0, limit);
            let start = chosen.position(room.stored);
            prop_assert!(chosen == Plan::Gap || start >= since.unwrap_or(0));
            prop_assert!(room.stored - start <= limit);
            let mut connection =
                Connection { catch_up: CatchUp::new(start), live: false, seen: vec![] };

            for act in acts {
                match act {
                    Act::Append => room.stored += 1,
                    Act::Deliver => room.deliver(&mut connection),
                    Act::Page(size) if !connection.live => room.page(&mut connection, size),
                    Act::TryLive if !connection.live => {
                        room.try_live(&mut connection);
                    }
                    Act::Page(_) | Act::TryLive => {}
                }
            }
            while !connection.live {
                if room.try_live(&mut connection) {
                    let before = connection.catch_up.position();
                    room.page(&mut connection, 3);
                    prop_assert!(connection.catch_up.position() > before, "a page always moves on");
                }
            }
            while room.fed < room.stored {
                room.deliver(&mut connection);
            }
            prop_assert_eq!(connection.seen, (start + 1..=room.stored).collect::<Vec<_>>());
        }
    }
}
