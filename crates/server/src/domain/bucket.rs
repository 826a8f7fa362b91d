//! Token bucket: how fast one connection, user or address may do something.

/// A token is counted in thousandths, so that a millisecond at `rate` per second is `rate` of them
/// and no rounding is ever lost.
const PER_TOKEN: u64 = 1_000;

/// A bucket that starts full, holds `burst` tokens and regains `rate_per_second`.
///
/// 24 bytes; it is refilled only when asked, so an idle one costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Thousandths of a token gained per millisecond, which is tokens per second.
    rate: u32,
    /// Capacity in tokens, at least 1.
    burst: u32,
    /// Thousandths of a token at `at_ms`.
    level: u64,
    /// When `level` was right (Unix ms, or any other clock in ms).
    at_ms: u64,
}

impl Bucket {
    /// A full bucket. `rate_per_second` is in tokens per second (0 never refills), `burst` in tokens
    /// (0 is taken as 1, since a bucket that can hold nothing would refuse for ever).
    #[must_use]
    pub const fn new(rate_per_second: u32, burst: u32, now_ms: u64) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        Self { rate: rate_per_second, burst, level: burst as u64 * PER_TOKEN, at_ms: now_ms }
    }

    /// Takes `n` tokens at `now_ms`. An `n` above the burst asks for a full bucket and empties it:
    /// refusing it for ever would be a limit that nobody set.
    ///
    /// A clock that steps back gives nothing and takes nothing; the refill goes on from the new time.
    ///
    /// # Errors
    /// The milliseconds (at least 1) after which the same call succeeds if nobody else takes
    /// anything; `u64::MAX` if it never will. A refusal takes nothing.
    pub fn take(&mut self, now_ms: u64, n: u32) -> Result<(), u64> {
        let full = u64::from(self.burst) * PER_TOKEN;
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(self.rate));
        self.level = self.level.saturating_add(gained).min(full);
        self.at_ms = now_ms;

        let price = u64::from(n.min(self.burst)) * PER_TOKEN;
        match price.checked_sub(self.level) {
            None | Some(0) => {
                self.level -= price;
                Ok(())
            }
            Some(_) if self.rate == 0 => Err(u64::MAX),
            Some(lacking) => Err(lacking.div_ceil(u64::from(self.rate))),
        }
    }

    /// Gives `n` tokens back, which were taken for something that does not count after all.
    pub fn give_back(&mut self, n: u32) {
        let full = u64::from(self.burst) * PER_TOKEN;
        self.level = self.level.saturating_add(u64::from(n.min(self.burst)) * PER_TOKEN).min(full);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_small() {
        assert_eq!(size_of::<Bucket>(), 24);
    }

    #[test]
    fn allows_a_burst_then_the_rate() {
        let mut bucket = Bucket::new(10, 3, 1_000);
        for _ in 0..3 {
            assert_eq!(bucket.take(1_000, 1), Ok(()));
        }
        assert_eq!(bucket.take(1_000, 1), Err(100));
        assert_eq!(bucket.take(1_099, 1), Err(1));
        assert_eq!(bucket.take(1_100, 1), Ok(()));
        assert_eq!(bucket.take(1_100, 1), Err(100));
        // A long pause fills it up to the burst and not beyond.
        assert_eq!(bucket.take(u64::MAX, 3), Ok(()));
        assert_eq!(bucket.take(u64::MAX, 1), Err(100));
    }

    #[test]
    fn counts_fractions() {
        let mut bucket = Bucket::new(3, 1, 0);
        assert_eq!(bucket.take(0, 1), Ok(()));
        assert_eq!(bucket.take(100, 1), Err(234));
        assert_eq!(bucket.take(333, 1), Err(1));
        assert_eq!(bucket.take(334, 1), Ok(()));
    }

    #[test]
    fn asks_above_the_burst_need_it_full() {
        let mut bucket = Bucket::new(1, 5, 0);
        assert_eq!(bucket.take(0, 9), Ok(()));
        assert_eq!(bucket.take(0, 9), Err(5_000));
        assert_eq!(bucket.take(5_000, 9), Ok(()));
        assert_eq!(bucket.take(5_000, 0), Ok(()));
    }

    #[test]
    fn odd_settings() {
        let mut none = Bucket::new(0, 0, 0);
        assert_eq!(none.take(0, 1), Ok(()));
        assert_eq!(none.take(u64::MAX, 1), Err(u64::MAX));
        let mut most = Bucket::new(u32::MAX, u32::MAX, 0);
        assert_eq!(most.take(0, u32::MAX), Ok(()));
        assert_eq!(most.take(0, u32::MAX), Err(1_000));
        assert_eq!(most.take(1_000, u32::MAX), Ok(()));
    }

    #[test]
    fn survives_a_clock_that_steps_back() {
        let mut bucket = Bucket::new(10, 1, 1_000_000);
        assert_eq!(bucket.take(1_000_000, 1), Ok(()));
        assert_eq!(bucket.take(500_000, 1), Err(100));
        assert_eq!(bucket.take(500_100, 1), Ok(()));
    }

    proptest! {
        #[test]
        fn keeps_its_word(
            rate in 0u32..500,
            burst in 0u32..50,
            asks in prop::collection::vec((0u64..400, 0u32..60), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, burst, 0);
            let burst = u64::from(burst.max(1));
            let (mut now, mut taken) = (0u64, 0u64);
            for (pause, n) in asks {
                now += pause;
                match bucket.take(now, n) {
                    Ok(()) => taken += u64::from(n).min(burst),
                    Err(u64::MAX) => prop_assert_eq!(rate, 0),
                    Err(wait) => {
                        prop_assert!(wait > 0);
                        let mut early = bucket;
                        prop_assert!(early.take(now + wait - 1, n).is_err());
                        let mut due = bucket;
                        prop_assert_eq!(due.take(now + wait, n), Ok(()));
                    }
                }
                prop_assert!(taken * 1_000 <= burst * 1_000 + now * u64::from(rate));
            }
        }
    }
}
