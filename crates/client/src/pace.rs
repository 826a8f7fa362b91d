//! Staying within the server's event limit, so that it never has to refuse.

use mesh_protocol::limits::EVENTS_BURST_FACTOR;
use tokio::time::{Duration, Instant};

/// A token bucket like the server's, a little smaller.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Instant,
    hold: Instant,
}

impl Pace {
    /// For `per_second` events; 0 means no limit.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let rate = if per_second == 0 { f64::INFINITY } else { f64::from(per_second) };
        // The hello is counted already, and clocks differ.
        let burst = (rate * f64::from(EVENTS_BURST_FACTOR) - 2.0).max(1.0);
        Self { per_second: rate * 0.98, burst, level: burst, at: now, hold: now }
    }

    /// How many events may follow a hello at once.
    pub(crate) fn burst(&self) -> usize {
        self.burst as usize
    }

    /// Takes one event, or tells when there is one to take.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if self.hold > now {
            return Err(self.hold);
        }
        if self.burst.is_infinite() {
            return Ok(());
        }
        self.level = self.burst.min(self.level + now.duration_since(self.at).as_secs_f64() * self.per_second);
        self.at = now;
        if self.level < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - self.level) / self.per_second);
            // Rounded up, or else the same instant would be asked again.
            return Err(now + wait + Duration::from_micros(1));
        }
        self.level -= 1.0;
        Ok(())
    }

    /// The server refused: nothing more until then.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.hold = self.hold.max(until);
        self.level = self.level.min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(50, start);
        let mut now = start;
        for _ in 0..198 {
            pace.take(now).unwrap();
        }
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            match pace.take(now) {
                Ok(()) => taken += 1,
                Err(next) => {
                    assert!(next > now);
                    now = next;
                }
            }
        }
        assert!((480..=500).contains(&taken), "{taken}");
        pace.hold(now + Duration::from_secs(1));
        assert_eq!(pace.take(now), Err(now + Duration::from_secs(1)));
        assert!(Pace::new(0, now).take(now).is_ok());
    }
}
