//! Backups that are made by themselves.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use super::{Counter, Kind, Text};

/// What is known of them.
#[derive(Debug, Default)]
pub struct Backups {
    /// Attempts that failed.
    pub failed: Counter,
    made: Counter,
    /// When the newest was made, Unix milliseconds; 0 for none.
    last_ms: AtomicI64,
    took_ms: AtomicU64,
    bytes: AtomicU64,
}

impl Backups {
    /// There is one of that time, made by this process or an earlier one.
    pub fn found(&self, at_ms: i64) {
        self.last_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// One was made.
    pub fn made(&self, at_ms: i64, took: Duration, bytes: u64) {
        self.made.add(1);
        self.last_ms.store(at_ms, Ordering::Relaxed);
        self.took_ms.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Writes them; `every_seconds` is how often one is to be made, 0 for never.
    pub fn write(&self, text: &mut Text, every_seconds: u64) {
        let help = "How often a backup is to be made; 0 where that is not configured.";
        text.gauge("mesh_backup_interval_seconds", help, every_seconds);
        text.family("mesh_backups", Kind::Counter, "Backups made by the server itself, by outcome.");
        text.sample("_total", &[("outcome", "ok")], self.made.get());
        text.sample("_total", &[("outcome", "failed")], self.failed.get());
        #[allow(clippy::cast_precision_loss, reason = "a time of the page")]
        let seconds = |ms: u64| ms as f64 / 1e3;
        let last = u64::try_from(self.last_ms.load(Ordering::Relaxed)).unwrap_or(0);
        text.gauge("mesh_backup_last_timestamp_seconds", "When the newest backup was made; 0 for none.", seconds(last));
        let took = seconds(self.took_ms.load(Ordering::Relaxed));
        let help = "How long the newest backup took, its verification included.";
        text.gauge("mesh_backup_last_duration_seconds", help, took);
        text.gauge("mesh_backup_last_size_bytes", "The size of the newest backup.", self.bytes.load(Ordering::Relaxed));
    }
}
