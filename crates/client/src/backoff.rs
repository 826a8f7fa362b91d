//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubles from `min` to `max`; each delay lies at random between half of that and all of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), attempt: 0 }
    }

    /// The next delay; `random` spreads it.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let delay = delay(self.min, self.max, self.attempt, random);
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// The delay before attempt number `attempt` (from 0).
pub(crate) fn delay(min: Duration, max: Duration, attempt: u32, random: u32) -> Duration {
    let full = min.saturating_mul(1_u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX)).min(max);
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_again() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        let delays: Vec<_> = (0..10).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.next(0), min / 2);
        for _ in 0..100 {
            let delay = backoff.next(u32::MAX / 2);
            assert!(delay >= min / 2 && delay <= max);
        }
    }
}
