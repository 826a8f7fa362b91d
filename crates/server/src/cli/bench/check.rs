//! Whether every delivery came, once and in order.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::Serialize;

/// Holes that one connection remembers: further ones are lost at once.
const HOLES: usize = 1_024;

/// Deliveries that were not as they must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Never came.
    pub(super) lost: u64,
    /// Came once more.
    pub(super) repeated: u64,
    /// Came after a later one.
    pub(super) out_of_order: u64,
}

impl Faults {
    pub(super) fn none(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
    }
}

/// Follows the numbers of one room on one connection.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    next: u64,
    faults: Faults,
    /// What has been passed over: the first number of each hole, and the one behind it.
    holes: BTreeMap<u64, u64>,
}

impl Follow {
    /// Everything up to `seen` is known.
    pub(super) fn after(seen: u64) -> Self {
        Self { next: seen + 1, faults: Faults::default(), holes: BTreeMap::new() }
    }

    /// The highest number that has come.
    pub(super) fn position(&self) -> u64 {
        self.next - 1
    }

    /// A change has come.
    pub(super) fn hear(&mut self, seq: u64) {
        if seq == self.next {
            self.next += 1;
        } else if seq > self.next {
            if self.holes.len() < HOLES {
                self.holes.insert(self.next, seq);
            } else {
                self.faults.lost += seq - self.next;
            }
            self.next = seq + 1;
        } else {
            self.hear_late(seq);
        }
    }

    fn hear_late(&mut self, seq: u64) {
        let hole =
            self.holes.range(..=seq).next_back().map(|(first, end)| (*first, *end)).filter(|(_, end)| seq < *end);
        let Some((first, end)) = hole else {
            self.faults.repeated += 1;
            return;
        };
        self.faults.out_of_order += 1;
        self.holes.remove(&first);
        if first < seq {
            self.holes.insert(first, seq);
        }
        if seq + 1 < end {
            self.holes.insert(seq + 1, end);
        }
    }

    /// What was wrong, where the room's last number is `last`.
    pub(super) fn finish(mut self, last: u64) -> Faults {
        self.faults.lost += self.holes.iter().map(|(first, end)| end - first).sum::<u64>();
        self.faults.lost += (last + 1).saturating_sub(self.next);
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(seqs: &[u64], last: u64) -> Faults {
        let mut follow = Follow::after(0);
        seqs.iter().for_each(|seq| follow.hear(*seq));
        follow.finish(last)
    }

    #[test]
    fn what_is_whole_and_in_order_is_faultless() {
        assert!(heard(&[1, 2, 3, 4], 4).none());
        assert!(heard(&[], 0).none());
    }

    #[test]
    fn each_fault_is_told_by_its_name() {
        assert_eq!(heard(&[1, 2, 4], 4), Faults { lost: 1, ..Faults::default() });
        assert_eq!(heard(&[1, 2], 4), Faults { lost: 2, ..Faults::default() });
        assert_eq!(heard(&[1, 2, 2, 3], 3), Faults { repeated: 1, ..Faults::default() });
        assert_eq!(heard(&[1, 3, 2, 4], 4), Faults { out_of_order: 1, ..Faults::default() });
        assert_eq!(heard(&[1, 5, 3, 3, 6], 6), Faults { lost: 2, repeated: 1, out_of_order: 1 });
        assert_eq!(heard(&[2, 1, 2], 2), Faults { lost: 0, repeated: 1, out_of_order: 1 });
    }

    #[test]
    fn holes_without_end_are_counted_all_the_same() {
        let every_other: Vec<u64> = (1..=2 * HOLES as u64 + 100).filter(|seq| seq % 2 == 0).collect();
        assert_eq!(heard(&every_other, 2 * HOLES as u64 + 100).lost, HOLES as u64 + 50);
    }

    proptest! {
        #[test]
        fn any_fault_is_found(mut seqs in proptest::collection::vec(1_u64..40, 0..60)) {
            let faults = heard(&seqs, 40);
            let distinct: std::collections::BTreeSet<u64> = seqs.iter().copied().collect();
            prop_assert_eq!(faults.lost, 40 - distinct.len() as u64);
            prop_assert_eq!(faults.repeated, (seqs.len() - distinct.len()) as u64);
            seqs.dedup();
            let in_order = seqs.windows(2).all(|pair| pair[0] < pair[1]);
            prop_assert!(faults.out_of_order > 0 || faults.repeated > 0 || in_order);
        }
    }
}
