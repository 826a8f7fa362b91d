//! What is known of a peer's presence, and how often others are told of it.
//!
//! A report is a fact about one connection of a peer. Facts may come late, twice and in any order (from another node,
//! one day); whoever has heard the same ones knows the same.

use mesh_protocol::model::PeerStatus;

/// Milliseconds between two tellings of one peer.
pub const PEER_PACE_MS: u64 = 200;
/// Milliseconds between two tellings of one room with so many connected peers: what changes meanwhile is told together,
/// so that a hundred who come back at once are a write or two to each who is there, not a hundred. Up to ten peers wait no
/// longer than [`PEER_PACE_MS`]. What all tellings cost grows with the square of who is there, and so does the pause, up to
/// that of rooms that hear of numbers only.
pub fn room_pause_ms(peers: usize) -> u64 {
    let peers = peers as u64;
    peers.saturating_mul(peers).saturating_mul(2).clamp(20, ROOM_PACE_MS)
}

/// Milliseconds between two summaries of one room.
pub const ROOM_PACE_MS: u64 = 1_000;
/// A room with more connected peers than this hears of their numbers only.
pub const TOLD_PEERS: usize = 200;
/// A lease that does not end: the connection is in this process, and its end is seen.
pub const HERE: u64 = u64::MAX;

/// One fact about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which of the peer's connections: a later one has a higher number.
    pub session: u64,
    /// Which of that connection's reports.
    pub revision: u32,
    /// What it says. [`PeerStatus::Offline`] is a connection's last word, whatever its revision.
    pub status: PeerStatus,
    /// Until when it holds unless it is said again, milliseconds.
    pub lease_until: u64,
}

impl Report {
    /// Later facts are greater; equal ones differ in their lease alone.
    fn rank(&self) -> (u64, bool, u32) {
        (self.session, self.status == PeerStatus::Offline, self.revision)
    }
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(Report);

impl Standing {
    /// The first that is heard.
    pub const fn new(report: Report) -> Self {
        Self(report)
    }

    /// Takes a report in; false where something newer is known already, so that a late "offline" of an earlier
    /// connection never hides the one that is there now.
    pub fn hear(&mut self, report: Report) -> bool {
        if report.rank() > self.0.rank() {
            self.0 = report;
            return true;
        }
        if report.rank() == self.0.rank() {
            self.0.lease_until = self.0.lease_until.max(report.lease_until);
        }
        false
    }

    /// The peer's status at `now`: whoever has not been heard of in time is gone.
    pub fn status(&self, now: u64) -> PeerStatus {
        if self.is_over(now) { PeerStatus::Offline } else { self.0.status }
    }

    /// Whether its lease is over: it can be forgotten, since nothing of that connection will come any more.
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.0.lease_until
    }

    /// The connection that it is about.
    pub fn session(&self) -> u64 {
        self.0.session
    }

    /// The report that follows with another status.
    pub fn next(&self, status: PeerStatus) -> Report {
        Report { revision: self.0.revision.saturating_add(1), status, ..self.0 }
    }
}

/// How a peer's changes are told: the first at once, further ones with a pause, the last one always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    told: PeerStatus,
}

/// What is to be done with a peer whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Tell this, and look again after [`PEER_PACE_MS`].
    Tell(PeerStatus),
    /// All is told: forget the pace.
    Rest,
}

impl Pace {
    /// A peer of which others last heard `told` begins to change. Its turn is now.
    pub const fn new(told: PeerStatus) -> Self {
        Self { told }
    }

    /// Its turn has come, and this is how it is.
    pub fn turn(&mut self, status: PeerStatus) -> Turn {
        if status == self.told {
            return Turn::Rest;
        }
        self.told = status;
        Turn::Tell(status)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn report() -> impl Strategy<Value = Report> {
        (0u64..4, 0u32..4, 0usize..4, 1u64..100).prop_map(|(session, revision, status, lease_until)| Report {
            session,
            revision,
            // A report's number decides what it says, as it does in life.
            status: if status == 3 {
                PeerStatus::Offline
            } else {
                [PeerStatus::Online, PeerStatus::Away, PeerStatus::Busy][revision as usize % 3]
            },
            lease_until,
        })
    }

    fn heard(reports: &[Report]) -> Standing {
        let mut standing = Standing::new(reports[0]);
        for report in reports {
            standing.hear(*report);
        }
        standing
    }

    proptest! {
        #[test]
        fn the_same_facts_in_any_order_say_the_same(
            reports in prop::collection::vec(report(), 1..20).prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
            now in 0u64..120,
        ) {
            let (one, other) = (heard(&reports.0), heard(&reports.1));
            prop_assert_eq!(one, other);
            prop_assert_eq!(one.status(now), other.status(now));
        }

        #[test]
        fn a_late_offline_hides_nothing_newer(reports in prop::collection::vec(report(), 1..20), session in 5u64..9) {
            let online = Report { session, revision: 0, status: PeerStatus::Online, lease_until: HERE };
            let mut standing = Standing::new(online);
            for report in reports {
                prop_assert!(!standing.hear(report));
                prop_assert_eq!(standing.status(1_000_000), PeerStatus::Online);
            }
            prop_assert!(standing.hear(standing.next(PeerStatus::Offline)));
            prop_assert!(!standing.hear(Report { revision: 9, ..online }), "offline is the last word");
            prop_assert_eq!(standing.status(0), PeerStatus::Offline);
        }

        #[test]
        fn nobody_outlives_their_lease(reports in prop::collection::vec(report(), 1..20)) {
            prop_assert_eq!(heard(&reports).status(100), PeerStatus::Offline);
        }

        #[test]
        fn the_last_word_is_always_told(changes in prop::collection::vec((0u64..300, 0usize..4), 0..60)) {
            let (mut status, mut told) = (PeerStatus::Offline, PeerStatus::Offline);
            let mut pace: Option<(Pace, u64)> = None;
            let mut tellings: Vec<u64> = Vec::new();
            let mut now = 0;
            let mut turn = |pace: &mut Option<(Pace, u64)>, status, at: u64, told: &mut PeerStatus| {
                let Some((mut p, _)) = pace.take() else { return };
                if let Turn::Tell(word) = p.turn(status) {
                    *told = word;
                    tellings.push(at);
                    *pace = Some((p, at + PEER_PACE_MS));
                }
            };
            for (pause, word) in changes {
                now += pause;
                while let Some((_, due)) = pace && due <= now {
                    turn(&mut pace, status, due, &mut told);
                }
                let before = status;
                status = PeerStatus::ALL[word];
                if pace.is_none() && status != before {
                    pace = Some((Pace::new(before), now));
                    turn(&mut pace, status, now, &mut told);
                }
            }
            while let Some((_, due)) = pace {
                turn(&mut pace, status, due, &mut told);
            }
            prop_assert_eq!(told, status);
            prop_assert!(tellings.windows(2).all(|two| two[1] - two[0] >= PEER_PACE_MS));
        }
    }
}
