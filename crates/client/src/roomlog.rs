//! One room's order: every change once, by rising `seq`, holes filled from history. Pure.

use std::collections::BTreeMap;

use mesh_protocol::{event::chat::MessageCreated, model::Message};

/// Changes held back in one room at most, while a hole before them is filled or the application reads too slowly;
/// with more they are let go, and history gives them.
const HELD: usize = 256;

/// A change of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The event's name; none for a new message.
    pub(crate) kind: Option<String>,
    /// The number, and the message as it is now.
    pub(crate) change: MessageCreated,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "handed through at once, never stored")]
pub(crate) enum Out {
    Change(Change),
    Gap { after_seq: u64, to_seq: u64 },
}

/// Where a room stands.
#[derive(Debug)]
pub(crate) struct RoomLog {
    /// All up to here has been given.
    given: u64,
    /// What came after a hole, or could not be given yet.
    held: BTreeMap<u64, Change>,
    /// All up to here (where greater than `given`) must be read from history.
    missing_to: u64,
    /// Where the gap that is being filled began.
    gap_after: Option<u64>,
}

impl RoomLog {
    /// A room of which all up to `given` is known.
    pub(crate) fn new(given: u64) -> Self {
        Self { given, held: BTreeMap::new(), missing_to: 0, gap_after: None }
    }

    /// The newest number that has been given.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// A change came.
    pub(crate) fn push(&mut self, change: Change) {
        let seq = change.change.seq;
        if seq <= self.given || seq <= self.missing_to {
            return;
        }
        self.held.insert(seq, change);
        if self.held.len() > HELD {
            self.missing_to = self.held.last_key_value().map_or(self.missing_to, |(&seq, _)| seq.max(self.missing_to));
            self.held.clear();
        }
    }

    /// All up to `seq` must be read from history.
    pub(crate) fn miss(&mut self, seq: u64) {
        self.missing_to = self.missing_to.max(seq);
        self.held = self.held.split_off(&seq.saturating_add(1));
    }

    /// What is to be given now.
    pub(crate) fn pop(&mut self) -> Option<Out> {
        if self.missing().is_none()
            && let Some(after_seq) = self.gap_after.take()
        {
            return Some(Out::Gap { after_seq, to_seq: self.given });
        }
        let first = self.held.first_entry()?;
        if *first.key() != self.given.checked_add(1)? || self.missing_to > self.given {
            return None;
        }
        self.given += 1;
        Some(Out::Change(first.remove()))
    }

    /// What must be read from history: all after the first number, up to the second.
    pub(crate) fn missing(&self) -> Option<(u64, u64)> {
        let before_held = self.held.first_key_value().map_or(0, |(&seq, _)| seq - 1);
        let to = self.missing_to.max(before_held);
        (to > self.given).then_some((self.given, to))
    }

    /// History answered with its messages after `after`: all of them where `complete`. At most `room` are given now;
    /// the rest is asked for again.
    pub(crate) fn page(&mut self, after: u64, page: Vec<Message>, complete: bool, room: usize) -> Vec<Change> {
        let Some((given, to)) = self.missing() else { return vec![] };
        if given != after {
            return vec![];
        }
        self.gap_after.get_or_insert(given);
        let mut out = vec![];
        let mut beyond = complete;
        for message in page {
            if message.seq <= self.given {
                continue;
            }
            if message.seq > to {
                beyond = true;
                break;
            }
            if out.len() >= room {
                return out;
            }
            self.given = message.seq;
            let (room_id, seq) = (message.room_id, message.seq);
            out.push(Change { kind: None, change: MessageCreated { room_id, seq, message } });
        }
        if beyond {
            // The rest of the numbers are changes of messages: history has no rows for them.
            self.given = to;
        }
        out
    }

    /// The connection is gone: what was held comes again.
    pub(crate) fn disconnected(&mut self) {
        self.held.clear();
        self.missing_to = 0;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mesh_protocol::{MessageId, RoomId, Timestamp, UserId};

    use super::*;

    pub(crate) fn message(room_id: RoomId, seq: u64) -> Message {
        Message {
            id: MessageId::new(uuid::Uuid::from_u128(u128::from(seq))),
            room_id,
            seq,
            user_id: UserId::NOTHING,
            username: "ben".to_owned(),
            content: format!("number {seq}"),
            created_at: Timestamp::from_millis(0),
            edited_at: None,
            deleted_at: None,
            reply_to_id: None,
            client_id: None,
            reactions: BTreeMap::new(),
            mentions: vec![],
        }
    }

    fn change(seq: u64) -> Change {
        let message = message(RoomId::NOTHING, seq);
        Change { kind: None, change: MessageCreated { room_id: RoomId::NOTHING, seq, message } }
    }

    fn pops(log: &mut RoomLog) -> Vec<u64> {
        std::iter::from_fn(|| log.pop())
            .map(|out| match out {
                Out::Change(change) => change.change.seq,
                Out::Gap { to_seq, .. } => 1000 + to_seq,
            })
            .collect()
    }

    fn page(log: &mut RoomLog, after: u64, seqs: &[u64], complete: bool, room: usize) -> Vec<u64> {
        let page = seqs.iter().map(|&seq| message(RoomId::NOTHING, seq)).collect();
        log.page(after, page, complete, room).into_iter().map(|change| change.change.seq).collect()
    }

    #[test]
    fn in_order_and_once() {
        let mut log = RoomLog::new(5);
        for seq in [6, 6, 5, 7, 1, 7] {
            log.push(change(seq));
        }
        assert_eq!(pops(&mut log), [6, 7]);
        assert_eq!((log.given(), log.missing()), (7, None));
    }

    #[test]
    fn a_hole_is_filled_before_what_follows() {
        let mut log = RoomLog::new(5);
        log.push(change(9));
        log.push(change(10));
        assert_eq!(pops(&mut log), [0; 0]);
        assert_eq!(log.missing(), Some((5, 8)));
        // 7 was an edit: history has no row for it; 9 is held already.
        assert_eq!(page(&mut log, 5, &[6, 8, 9], false, 100), [6, 8]);
        assert_eq!(pops(&mut log), [1008, 9, 10]);
    }

    #[test]
    fn a_gap_of_edits_alone_ends_too() {
        let mut log = RoomLog::new(5);
        log.miss(8);
        assert_eq!(page(&mut log, 5, &[], true, 100), [0; 0]);
        assert_eq!(pops(&mut log), [1008]);
        assert_eq!((log.given(), log.missing()), (8, None));
    }

    #[test]
    fn pages_until_the_end() {
        let mut log = RoomLog::new(0);
        log.miss(5);
        assert_eq!(page(&mut log, 0, &[1, 2], false, 100), [1, 2]);
        assert_eq!(log.missing(), Some((2, 5)));
        // A page that answers an older question is nothing.
        assert_eq!(page(&mut log, 0, &[1, 2], false, 100), [0; 0]);
        // Only one more fits: the rest is asked for again.
        assert_eq!(page(&mut log, 2, &[3, 4], false, 1), [3]);
        log.push(change(6));
        assert_eq!(pops(&mut log), [0; 0]);
        assert_eq!(page(&mut log, 3, &[4, 5, 6], true, 100), [4, 5]);
        assert_eq!(pops(&mut log), [1005, 6]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut log = RoomLog::new(0);
        for seq in 2..10_000 {
            log.push(change(seq));
            assert!(log.held.len() <= HELD);
        }
        let (after, to) = log.missing().unwrap();
        assert!(after == 0 && to > 9_000, "{to}");
        log.disconnected();
        assert_eq!(log.missing(), None);
    }
}
