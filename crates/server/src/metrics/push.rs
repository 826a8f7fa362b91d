//! What becomes of notifications.

use super::{Counters, Gauge, Histogram, Kind, Text};

/// How an attempt to hand one over ended.
pub const ATTEMPTS: &[&str] = &["delivered", "failed", "too_large", "refused"];
/// Where one may stand: it happened and nobody was looked up for it; it waits for its time, its window or another attempt;
/// it was given up.
const STATES: [&str; 3] = ["new", "waiting", "dead"];

/// Push in figures.
#[derive(Debug)]
pub struct Push {
    /// How many stand where, in the order `new`, `waiting`, `dead`; counted each second at most.
    pub outbox: [Gauge; 3],
    /// Attempts, see [`ATTEMPTS`].
    pub attempts: Counters,
    /// How long the push server took to answer, or not to.
    pub exchange: Histogram,
}

impl Default for Push {
    fn default() -> Self {
        Self { outbox: Default::default(), attempts: Counters::new(ATTEMPTS), exchange: Histogram::of_times() }
    }
}

impl Push {
    /// Writes them.
    pub fn write(&self, text: &mut Text) {
        let help = "Notifications by state: not looked at yet, waiting to be sent, given up.";
        text.family("mesh_push_outbox", Kind::Gauge, help);
        for (state, gauge) in STATES.iter().zip(&self.outbox) {
            text.sample("", &[("state", state)], gauge.get());
        }
        let help = "Attempts to hand a notification to the push server, by outcome.";
        text.counters("mesh_push_attempts", help, "outcome", self.attempts.read());
        text.times("mesh_push_exchange_seconds", "How long the push server took for one.", &self.exchange);
    }
}
