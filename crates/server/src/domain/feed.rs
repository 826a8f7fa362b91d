//! Per-room order: events come from a bus that may lose, repeat and reorder them; they leave in
//! order, once each, or the feed names the hole that the store has to fill.
//!
//! The feed is a pure value: it reads no clock and no store. Its owner (the hub, one feed per room)
//! offers what it hears and what it reads from the store through the same [`Feed::offer`], and
//! passes on what lands in `out`.

use std::collections::BTreeMap;

/// Most events that a feed holds back while it waits for an earlier one (a count, not bytes).
///
/// Beyond it the events farthest ahead are let go: filling the hole reads them from the store
/// anyway, so that a bus that lost one event never makes the server hold an unbounded number.
pub const PENDING_MAX: usize = 1024;

/// What became of an event given to [`Feed::offer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a hole is only ever filled if the verdict is looked at"]
pub enum Verdict {
    /// The event was the next one: it is in `out`, followed by those that had waited for it.
    ///
    /// A further hole may remain behind them; [`Feed::missing`] tells.
    Deliver,
    /// Events are missing: read those with `after < seq < until` from the store and offer them.
    ///
    /// The event itself is held back, or dropped if the feed is full, and then belongs to the next hole.
    NeedFill {
        /// Sequence number of the last delivered event: the hole begins behind it.
        after: u64,
        /// First sequence number that need not be read (exclusive end of the hole).
        until: u64,
    },
    /// Delivered before, or held back already: nothing changed.
    Duplicate,
    /// The feed doesn't know its position yet (see [`Feed::start`]); the event is held back.
    Waiting,
}

/// Restores the order of one room's events.
///
/// `E` is whatever is passed on, usually shared bytes. An idle feed holds no heap.
#[derive(Debug)]
pub struct Feed<E> {
    /// Last delivered sequence number; none until the store has told where the room stands.
    last: Option<u64>,
    /// Highest sequence number known to exist. At most `last` where nothing is missing: the fast
    /// path doesn't raise it.
    highest: u64,
    /// Events ahead of `last + 1`, never more than `bound`.
    pending: BTreeMap<u64, E>,
    bound: usize,
}

impl<E> Default for Feed<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Feed<E> {
    /// A feed that doesn't know its position yet: it holds back what it is offered until [`Feed::start`].
    #[must_use]
    pub const fn new() -> Self {
        Self::bounded(PENDING_MAX)
    }

    const fn bounded(bound: usize) -> Self {
        Self { last: None, highest: 0, pending: BTreeMap::new(), bound }
    }

    /// Tells the position, as read from the database *after* subscribing to the bus: everything up to
    /// `last_seq` counts as delivered.
    ///
    /// Appends to `out` the held-back events that follow without a hole and drops those that are not
    /// newer than `last_seq`. Returns the hole that remains, as [`Feed::missing`] does.
    ///
    /// On a feed that runs already it only ever skips forward; a lower `last_seq` changes nothing.
    pub fn start(&mut self, last_seq: u64, out: &mut Vec<(u64, E)>) -> Option<(u64, u64)> {
        let last = self.last.map_or(last_seq, |last| last.max(last_seq));
        self.last = Some(last);
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= last
        {
            entry.remove();
        }
        self.release(last, out);
        self.missing()
    }

    /// Whether [`Feed::start`] was called.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.last.is_some()
    }

    /// Sequence number of the last delivered event (0: none yet in this room); none before the start.
    #[must_use]
    pub const fn position(&self) -> Option<u64> {
        self.last
    }

    /// Takes an event from the bus or from the store; what can be passed on is appended to `out`, in order.
    ///
    /// The usual case, the next event while none is held back, touches neither tree nor heap of the
    /// feed's own.
    pub fn offer(&mut self, seq: u64, event: E, out: &mut Vec<(u64, E)>) -> Verdict {
        let Some(last) = self.last else {
            self.highest = self.highest.max(seq);
            self.hold(seq, event);
            return Verdict::Waiting;
        };
        if seq <= last {
            return Verdict::Duplicate;
        }
        if seq - last == 1 {
            self.last = Some(seq);
            out.push((seq, event));
            if !self.pending.is_empty() {
                self.release(seq, out);
            }
            return Verdict::Deliver;
        }
        self.highest = self.highest.max(seq);
        if !self.hold(seq, event) {
            return Verdict::Duplicate;
        }
        let (after, until) = self.missing().unwrap_or((last, seq));
        Verdict::NeedFill { after, until }
    }

    /// Tells that the store holds events up to `last_seq`, without having one of them at hand, and
    /// returns the hole that this reveals, as [`Feed::missing`] does.
    ///
    /// For whoever reads the room's `last_seq` anyway (a join, a sweep): without it the loss of the
    /// *last* event of a quiet room would only be noticed when the next one comes.
    pub fn learn(&mut self, last_seq: u64) -> Option<(u64, u64)> {
        self.highest = self.highest.max(last_seq);
        self.missing()
    }

    /// The first hole, as `(after, until)`, both exclusive: events with `after < seq < until` are to
    /// be read from the store. None if nothing is missing or the feed is not started.
    ///
    /// To be asked again after a fill (another hole may follow) and by a timer (a fill may have failed).
    #[must_use]
    pub fn missing(&self) -> Option<(u64, u64)> {
        let last = self.last?;
        if self.highest <= last {
            return None;
        }
        // Nothing held back although something newer was seen: it was dropped when the feed was full,
        // or `learn` told of it. Then the newest one belongs to the hole too.
        let until = match self.pending.first_key_value() {
            Some((&first, _)) => first,
            None => self.highest.saturating_add(1),
        };
        Some((last, until))
    }

    /// Keeps an event for later. False if it is there already.
    fn hold(&mut self, seq: u64, event: E) -> bool {
        use std::collections::btree_map::Entry;

        if self.pending.len() >= self.bound {
            match self.pending.last_key_value() {
                // Farther away than all that is held: `highest` remembers it, the store has it.
                Some((&farthest, _)) if seq > farthest => return true,
                Some((&farthest, _)) if seq == farthest => return false,
                _ => {}
            }
        }
        match self.pending.entry(seq) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(place) => {
                place.insert(event);
            }
        }
        if self.pending.len() > self.bound {
            self.pending.pop_last();
        }
        true
    }

    /// Moves to `out` the held-back events that follow `last` without a hole.
    fn release(&mut self, mut last: u64, out: &mut Vec<(u64, E)>) {
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() - last == 1
        {
            let ready = entry.remove_entry();
            last = ready.0;
            out.push(ready);
        }
        self.last = Some(last);
        if self.pending.is_empty() {
            // An emptied tree keeps a node; rooms are many and mostly quiet.
            self.pending = BTreeMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn seqs(out: &[(u64, u64)]) -> Vec<u64> {
        out.iter()
            .map(|&(seq, event)| {
                assert_eq!(seq, event, "an event kept its own number");
                seq
            })
            .collect()
    }

    #[test]
    fn in_order_is_delivered_at_once() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        assert_eq!(feed.start(0, &mut out), None);
        for seq in 1..=5 {
            assert_eq!(feed.offer(seq, seq, &mut out), Verdict::Deliver);
        }
        assert_eq!(seqs(&out), [1, 2, 3, 4, 5]);
        assert_eq!(feed.position(), Some(5));
        assert_eq!(feed.missing(), None);
    }

    #[test]
    fn waits_for_its_start() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        assert!(!feed.is_started());
        assert_eq!(feed.position(), None);
        for seq in [4, 2, 3, 6, 3] {
            assert_eq!(feed.offer(seq, seq, &mut out), Verdict::Waiting);
        }
        assert_eq!(feed.missing(), None);
        assert_eq!(feed.start(2, &mut out), Some((4, 6)));
        assert!(feed.is_started());
        assert_eq!(seqs(&out), [3, 4]);
        assert_eq!(feed.offer(5, 5, &mut out), Verdict::Deliver);
        assert_eq!(seqs(&out), [3, 4, 5, 6]);
        assert_eq!(feed.missing(), None);
    }

    #[test]
    fn names_each_hole() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        feed.start(10, &mut out);
        assert_eq!(feed.offer(13, 13, &mut out), Verdict::NeedFill { after: 10, until: 13 });
        assert_eq!(feed.offer(16, 16, &mut out), Verdict::NeedFill { after: 10, until: 13 });
        assert_eq!(feed.offer(16, 16, &mut out), Verdict::Duplicate);
        assert_eq!(feed.offer(10, 10, &mut out), Verdict::Duplicate);
        assert_eq!(feed.offer(11, 11, &mut out), Verdict::Deliver);
        assert_eq!(feed.missing(), Some((11, 13)));
        assert_eq!(feed.offer(12, 12, &mut out), Verdict::Deliver);
        assert_eq!(feed.missing(), Some((13, 16)));
        assert_eq!(feed.offer(14, 14, &mut out), Verdict::Deliver);
        assert_eq!(feed.offer(15, 15, &mut out), Verdict::Deliver);
        assert_eq!(feed.missing(), None);
        assert_eq!(seqs(&out), [11, 12, 13, 14, 15, 16]);
    }

    #[test]
    fn overflow_keeps_the_nearest_and_remembers_the_farthest() {
        let mut feed = Feed::bounded(3);
        let mut out = Vec::new();
        feed.start(0, &mut out);
        for seq in [9, 8, 7, 6, 5, 4, 3, 10] {
            assert!(matches!(feed.offer(seq, seq, &mut out), Verdict::NeedFill { after: 0, .. }));
        }
        assert_eq!(feed.missing(), Some((0, 3)));
        assert_eq!(feed.offer(1, 1, &mut out), Verdict::Deliver);
        assert_eq!(feed.offer(2, 2, &mut out), Verdict::Deliver);
        assert_eq!(seqs(&out), [1, 2, 3, 4, 5]);
        // 6 to 10 were let go, 10 included.
        assert_eq!(feed.missing(), Some((5, 11)));
        for seq in 6..=10 {
            assert_eq!(feed.offer(seq, seq, &mut out), Verdict::Deliver);
        }
        assert_eq!(feed.missing(), None);
    }

    #[test]
    fn a_flood_ahead_is_bounded() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        feed.start(0, &mut out);
        for seq in 2..10_000 {
            assert!(matches!(feed.offer(seq, seq, &mut out), Verdict::NeedFill { after: 0, until: 2 }));
        }
        assert_eq!(feed.pending.len(), PENDING_MAX);
        assert!(matches!(feed.offer(1, 1, &mut out), Verdict::Deliver));
        assert_eq!(feed.position(), Some(PENDING_MAX as u64 + 1));
        assert_eq!(feed.missing(), Some((PENDING_MAX as u64 + 1, 10_000)));
    }

    #[test]
    fn learns_of_a_lost_last_event() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        assert_eq!(feed.learn(5), None);
        assert_eq!(feed.start(5, &mut out), None);
        assert_eq!(feed.learn(4), None);
        assert_eq!(feed.learn(7), Some((5, 8)));
        assert_eq!(feed.offer(6, 6, &mut out), Verdict::Deliver);
        assert_eq!(feed.missing(), Some((6, 8)));
        assert_eq!(feed.offer(7, 7, &mut out), Verdict::Deliver);
        assert_eq!(feed.missing(), None);
    }

    #[test]
    fn a_second_start_only_skips_forward() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        feed.start(5, &mut out);
        assert!(matches!(feed.offer(8, 8, &mut out), Verdict::NeedFill { .. }));
        assert_eq!(feed.start(3, &mut out), Some((5, 8)));
        assert_eq!(feed.start(7, &mut out), None);
        assert_eq!(seqs(&out), [8]);
        assert_eq!(feed.start(u64::MAX, &mut out), None);
        assert_eq!(feed.offer(u64::MAX, u64::MAX, &mut out), Verdict::Duplicate);
    }

    #[test]
    fn the_ends_of_the_number_line_are_harmless() {
        let mut feed = Feed::new();
        let mut out = Vec::new();
        feed.start(0, &mut out);
        assert_eq!(feed.offer(0, 0, &mut out), Verdict::Duplicate);
        assert_eq!(feed.offer(u64::MAX, u64::MAX, &mut out), Verdict::NeedFill { after: 0, until: u64::MAX });
        assert_eq!(feed.start(u64::MAX - 1, &mut out), None);
        assert_eq!(feed.position(), Some(u64::MAX));
        assert_eq!(feed.learn(u64::MAX), None);
    }

    proptest! {
        /// Whatever the bus does, with the store's help each event leaves once, in order.
        #[test]
        fn delivers_each_event_once_in_order(
            total in 1u64..200,
            heard in prop::collection::vec((1u64..200, any::<bool>()), 0..400),
            started_at in 0usize..400,
            base in 0u64..50,
            page in 1u64..40,
            bound in 1usize..40,
        ) {
            let base = base.min(total);
            let mut feed = Feed::bounded(bound);
            let mut out = Vec::new();
            for (turn, (seq, fills)) in heard.iter().enumerate() {
                if turn == started_at {
                    let hole = feed.start(base, &mut out);
                    prop_assert_eq!(hole, feed.missing());
                }
                let seq = (*seq).min(total);
                let before = out.len();
                let position = feed.position();
                let verdict = feed.offer(seq, seq, &mut out);
                prop_assert!(feed.pending.len() <= bound);
                prop_assert_eq!(matches!(verdict, Verdict::Deliver), out.len() > before);
                prop_assert_eq!(matches!(verdict, Verdict::Waiting), position.is_none());
                if let Verdict::NeedFill { after, until } = verdict {
                    prop_assert_eq!(Some((after, until)), feed.missing());
                    prop_assert_eq!(Some(after), feed.position());
                    prop_assert!(after + 1 < until && until <= seq.max(feed.highest) + 1);
                    if *fills {
                        // One page of the store; the rest stays missing.
                        for seq in (after + 1..until).take(page as usize) {
                            let _ = feed.offer(seq, seq, &mut out);
                        }
                    }
                }
            }
            if !feed.is_started() {
                feed.start(base, &mut out);
            }
            feed.learn(total);
            let mut reads = 0;
            while let Some((after, until)) = feed.missing() {
                for seq in (after + 1..until).take(page as usize) {
                    let _ = feed.offer(seq, seq, &mut out);
                }
                reads += 1;
                prop_assert!(reads <= total, "a fill always moves the feed on");
            }
            prop_assert_eq!(feed.position(), Some(total));
            prop_assert!(feed.pending.is_empty());
            prop_assert_eq!(seqs(&out), (base + 1..=total).collect::<Vec<_>>());
        }
    }
}
