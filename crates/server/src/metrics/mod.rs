//! Figures of the running server: counted where things happen, written out by `service::metrics`.
//!
//! Counting is one relaxed addition, for a whole batch where there is one, and keeps nothing for a connection. Every
//! label comes from a table of the program (event types, codes, routes): never from what a client sent.

mod backups;
mod http;
mod process;
mod push;
mod store;
mod text;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mesh_protocol::{
    CloseCode,
    code::ErrorCode,
    event::{ClientEvent, ServerEvent},
};

pub use backups::Backups;
pub use http::{Http, ROUTE_UNKNOWN};
pub use push::{ATTEMPTS, Push};
pub use store::{Store, Trouble};
pub use text::{Format, Kind, Text};

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// So many until now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is so many now.
    #[inline]
    pub fn set(&self, n: usize) {
        self.0.store(n as u64, Ordering::Relaxed);
    }

    /// One more.
    pub fn rise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn fall(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell into which range.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Times, nanoseconds: 100 µs to 10 s.
const TIMES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];
/// Jobs in a transaction.
const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

impl Histogram {
    /// Of times.
    pub fn of_times() -> Self {
        Self::new(TIMES)
    }

    /// Of the sizes of batches.
    pub fn of_sizes() -> Self {
        Self::new(SIZES)
    }

    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Notes a value.
    pub fn note(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Notes a time.
    pub fn note_time(&self, time: Duration) {
        self.note(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX >> 16));
    }

    /// Notes the time since then.
    pub fn since(&self, then: Instant) {
        self.note_time(then.elapsed());
    }

    /// For each bound how many were not above it, then how many in all; and their sum.
    pub(super) fn read(&self) -> (Vec<(Option<u64>, u64)>, u64) {
        let mut all = 0;
        let mut out = Vec::with_capacity(self.buckets.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            all += bucket.load(Ordering::Relaxed);
            out.push((self.bounds.get(index).copied(), all));
        }
        (out, self.sum.load(Ordering::Relaxed))
    }
}

/// A counter for each word of a table.
#[derive(Debug)]
pub struct Counters {
    names: &'static [&'static str],
    counters: Box<[Counter]>,
}

impl Counters {
    /// For these words.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, counters: names.iter().map(|_| Counter::default()).collect() }
    }

    /// Counts one at a place of the table.
    #[inline]
    pub fn count(&self, index: usize) {
        if let Some(counter) = self.counters.get(index) {
            counter.add(1);
        }
    }

    /// Counts one under a word; one that is not in the table counts as the table's last.
    pub fn count_word(&self, word: &str) {
        let last = self.names.len().saturating_sub(1);
        self.count(self.names.iter().position(|name| *name == word).unwrap_or(last));
    }

    /// Each word and its count.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().zip(&self.counters).map(|(name, counter)| (*name, counter.get()))
    }
}

/// How a resumed join ended.
pub const RESUMES: &[&str] = &["complete", "gap", "failed"];
/// How a login ended; the last stands for what a later reason would be called.
pub const LOGINS: &[&str] =
    &["ok", "unknown_user", "wrong_password", "disabled", "rate_limited", "wrong_code", "other"];

/// What becomes of a session between agents: asked for, made, or over for one of these reasons.
pub const P2P: &[&str] = &[
    "requested",
    "created",
    "closed",
    "rejected",
    "timeout",
    "peer_gone",
    "member_removed",
    "room_deleted",
    "role_changed",
];

/// The figures of one server.
pub struct Metrics {
    /// Open WebSockets with a valid credential.
    pub sockets: Gauge,
    /// Those of them that have said hello.
    pub peers: Gauge,
    /// Calls between two peers that are open.
    pub calls: Gauge,
    /// Sessions between agents that are asked for or stand.
    pub p2p_open: Gauge,
    /// What became of sessions between agents, see [`P2P`].
    pub p2p: Counters,
    /// Files that peers share.
    pub shared_files: Gauge,
    /// Terminals that peers share.
    pub shared_terminals: Gauge,
    /// WebSockets opened.
    pub opened: Counter,
    /// Rooms that a connection listens to, or is about to.
    pub rooms: Gauge,
    /// Clients' events, in the order of [`ClientEvent::NAMES`].
    pub events_in: Counters,
    /// Events refused, in the order of [`ErrorCode::ALL`].
    refused: Box<[Counter]>,
    /// Events made, in the order of [`ServerEvent::NAMES`]. One for a whole room counts once.
    pub events_out: Counters,
    /// Copies of rooms' numbered events given to connections that listen.
    pub deliveries: Counter,
    /// From a commit until what it told waits for every socket that it is for.
    pub delivery: Histogram,
    /// Transactions that wait to be told.
    pub bus_waiting: Gauge,
    /// Connections ended, in the order of [`CloseCode::ALL`]; the last are those that were lost.
    ended: Box<[Counter]>,
    /// Connections closed since they read too slowly.
    pub slow_readers: Counter,
    /// Joins with `since_seq`, see [`RESUMES`].
    pub resumes: Counters,
    /// Attempts to log in, see [`LOGINS`].
    pub logins: Counters,
    /// Times at which the wall clock was found to have been moved.
    pub clock_jumps: Counter,
    /// Spans of traces that the collector took.
    pub spans_sent: Counter,
    /// Spans that were dropped: too many waited, or the collector did not take them.
    pub spans_dropped: Counter,
    /// Backups that are made by themselves.
    pub backups: Backups,
    /// Notifications of whoever is away.
    pub push: Push,
    /// HTTP requests.
    pub http: Http,
}

impl Default for Metrics {
    fn default() -> Self {
        let counters = |n: usize| (0..n).map(|_| Counter::default()).collect();
        Self {
            sockets: Gauge::default(),
            peers: Gauge::default(),
            calls: Gauge::default(),
            p2p_open: Gauge::default(),
            p2p: Counters::new(P2P),
            shared_files: Gauge::default(),
            shared_terminals: Gauge::default(),
            opened: Counter::default(),
            rooms: Gauge::default(),
            events_in: Counters::new(ClientEvent::NAMES),
            refused: counters(ErrorCode::ALL.len()),
            events_out: Counters::new(ServerEvent::NAMES),
            deliveries: Counter::default(),
            delivery: Histogram::of_times(),
            bus_waiting: Gauge::default(),
            ended: counters(CloseCode::ALL.len() + 1),
            slow_readers: Counter::default(),
            resumes: Counters::new(RESUMES),
            logins: Counters::new(LOGINS),
            clock_jumps: Counter::default(),
            spans_sent: Counter::default(),
            spans_dropped: Counter::default(),
            backups: Backups::default(),
            push: Push::default(),
            http: Http::default(),
        }
    }
}

impl Metrics {
    /// No figures yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An event was refused.
    pub fn refuse(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        if let Some(counter) = at.and_then(|at| self.refused.get(at)) {
            counter.add(1);
        }
    }

    /// A connection ended: with this code, or it was lost.
    pub fn end(&self, code: Option<CloseCode>) {
        let lost = CloseCode::ALL.len();
        let at = code.and_then(|code| CloseCode::ALL.iter().position(|known| *known == code)).unwrap_or(lost);
        if let Some(counter) = self.ended.get(at) {
            counter.add(1);
        }
    }

    /// Writes them.
    pub fn write(&self, text: &mut Text) {
        text.gauge("mesh_websockets", "Open WebSockets with a valid credential.", self.sockets.get());
        text.gauge("mesh_peers", "Connections that have said hello.", self.peers.get());
        text.gauge("mesh_calls", "Calls that are open, each between two peers.", self.calls.get());
        let help = "Sessions between agents that are asked for or stand.";
        text.gauge("mesh_p2p_sessions", help, self.p2p_open.get());
        let help = "Sessions between agents: asked for, made, and over for a reason.";
        text.counters("mesh_p2p_steps", help, "outcome", self.p2p.read());
        text.gauge("mesh_shared_files", "Files that peers share.", self.shared_files.get());
        text.gauge("mesh_shared_terminals", "Terminals that peers share.", self.shared_terminals.get());
        text.gauge("mesh_rooms_listened", "Rooms that a connection listens to.", self.rooms.get());
        text.counter("mesh_websockets_opened", "WebSockets opened.", self.opened.get());
        text.family("mesh_websockets_ended", Kind::Counter, "WebSockets ended, by close code.");
        for (at, counter) in self.ended.iter().enumerate() {
            let code = CloseCode::ALL.get(at).map_or_else(|| "lost".to_owned(), |code| code.number().to_string());
            text.sample("_total", &[("code", &code)], counter.get());
        }
        text.counter("mesh_slow_readers_closed", "Connections closed for reading too slowly.", self.slow_readers.get());
        text.counters("mesh_events_in", "Events from clients, by type.", "type", self.events_in.read());
        let refused = ErrorCode::ALL.iter().zip(&self.refused).map(|(code, n)| (code.as_str(), n.get()));
        text.counters("mesh_events_refused", "Events from clients that were refused, by code.", "code", refused);
        let help = "Events made for clients, by type; one for a whole room counts once.";
        text.counters("mesh_events_out", help, "type", self.events_out.read());
        let help = "Copies of rooms' numbered events given to connections that listen.";
        text.counter("mesh_deliveries", help, self.deliveries.get());
        let help = "From a commit until what it told waits for every socket that it is for.";
        text.times("mesh_delivery_seconds", help, &self.delivery);
        let help = "Transactions that wait to be told to connections.";
        text.gauge("mesh_bus_waiting", help, self.bus_waiting.get());
        text.counters("mesh_resumes", "Joins with since_seq, by outcome.", "outcome", self.resumes.read());
        text.counters("mesh_logins", "Attempts to log in, by outcome.", "outcome", self.logins.read());
        let help = "Times at which the wall clock was found to have been moved.";
        text.counter("mesh_clock_jumps", help, self.clock_jumps.get());
        text.family("mesh_trace_spans", Kind::Counter, "Spans of traces, by what became of them.");
        text.sample("_total", &[("outcome", "sent")], self.spans_sent.get());
        text.sample("_total", &[("outcome", "dropped")], self.spans_dropped.get());
        self.push.write(text);
        self.http.write(text);
    }
}

/// Writes the process's figures, where the system tells them.
pub fn write_process(text: &mut Text, started_ms: i64) {
    process::write(text, started_ms);
}

#[cfg(test)]
mod tests;
