//! What the store's threads count, and whether they can do their work.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::{Counter, Histogram, Kind, Text};

/// What keeps the store from writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk, or a quota, is full.
    DiskFull,
    /// Another process holds the database.
    Locked,
    /// The file system, or the database, may not be written.
    ReadOnly,
    /// The disk fails to read or write.
    Io,
    /// The database is damaged.
    Corrupt,
    /// The database's server does not answer.
    Unreachable,
}

impl Trouble {
    /// Every trouble.
    pub const ALL: &'static [Self] =
        &[Self::DiskFull, Self::Locked, Self::ReadOnly, Self::Io, Self::Corrupt, Self::Unreachable];

    /// Its word: what `/ready` calls it, and the figures.
    pub const fn code(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Locked => "database_locked",
            Self::ReadOnly => "database_read_only",
            Self::Io => "disk_failing",
            Self::Corrupt => "database_corrupt",
            Self::Unreachable => "database_unreachable",
        }
    }

    /// A sentence for a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::DiskFull => "the disk is full: nothing can be written",
            Self::Locked => "another process holds the database: nothing can be written",
            Self::ReadOnly => "the file system or the database is read-only: nothing can be written",
            Self::Io => "the disk fails to read or write",
            Self::Corrupt => "the database is damaged",
            Self::Unreachable => "the database does not answer",
        }
    }
}

/// The store's figures.
#[derive(Debug)]
pub struct Store {
    /// Jobs in one transaction.
    pub batch: Histogram,
    /// How long the first job of a transaction had waited for a thread.
    pub wait: Histogram,
    /// From a transaction's begin to its commit, the flush to the disk included.
    pub commit: Histogram,
    /// How long a job that only reads took.
    pub read: Histogram,
    /// Transactions taken back by the database.
    pub failed: Counter,
    /// Jobs refused since too many waited.
    pub refused: Counter,
    /// Zero: none; else one more than the trouble's place.
    trouble: AtomicU8,
    probing: AtomicBool,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            batch: Histogram::of_sizes(),
            wait: Histogram::of_times(),
            commit: Histogram::of_times(),
            read: Histogram::of_times(),
            failed: Counter::default(),
            refused: Counter::default(),
            trouble: AtomicU8::new(0),
            probing: AtomicBool::new(false),
        }
    }
}

impl Store {
    /// What keeps it from writing, as far as the last transaction told.
    pub fn trouble(&self) -> Option<Trouble> {
        let at = usize::from(self.trouble.load(Ordering::Relaxed));
        at.checked_sub(1).and_then(|at| Trouble::ALL.get(at)).copied()
    }

    /// Notes what a transaction has met; whether that is news.
    pub fn note(&self, trouble: Option<Trouble>) -> bool {
        let at = trouble.and_then(|trouble| Trouble::ALL.iter().position(|known| *known == trouble));
        let now = at.map_or(0, |at| u8::try_from(at + 1).unwrap_or(0));
        // Most often there is none, and was none: reading is cheaper than writing.
        self.trouble.load(Ordering::Relaxed) != now && self.trouble.swap(now, Ordering::Relaxed) != now
    }

    /// Whether nobody is finding out yet if it can write again; from then on somebody is.
    pub fn begin_probe(&self) -> bool {
        !self.probing.swap(true, Ordering::Relaxed)
    }

    /// That is found out.
    pub fn end_probe(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }

    /// Writes them; `waiting` are the jobs that wait to write and to read.
    pub fn write(&self, text: &mut Text, waiting: (usize, usize)) {
        text.family("mesh_store_waiting", Kind::Gauge, "Jobs that wait for a thread of the store.");
        text.sample("", &[("queue", "write")], waiting.0);
        text.sample("", &[("queue", "read")], waiting.1);
        text.sizes("mesh_store_batch_jobs", "Jobs that shared a transaction.", &self.batch);
        let help = "How long the first job of a transaction had waited for a thread.";
        text.times("mesh_store_wait_seconds", help, &self.wait);
        let help = "From a transaction's begin to its commit, with the flush to the disk.";
        text.times("mesh_store_commit_seconds", help, &self.commit);
        text.times("mesh_store_read_seconds", "How long jobs that only read took.", &self.read);
        text.counter("mesh_store_transactions_failed", "Transactions that the database refused.", self.failed.get());
        text.counter("mesh_store_jobs_refused", "Jobs refused since too many waited.", self.refused.get());
        let help = "What keeps the store from writing: 1 where it is so.";
        text.family("mesh_store_trouble", Kind::Gauge, help);
        let now = self.trouble();
        for trouble in Trouble::ALL {
            text.sample("", &[("trouble", trouble.code())], u8::from(now == Some(*trouble)));
        }
    }
}
