//! The database behind one small interface: jobs that run on the store's own threads.
//!
//! A job is a plain function of a [`Tx`]. It is written once and runs on SQLite and PostgreSQL alike; it may run again
//! when the database asks for it (a deadlock, a lost connection before the commit), so it must not do anything but
//! work on the `Tx`. What it publishes is handed over after the commit, in commit order, or not at all.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

pub use super::row::Row;
use super::{postgres, sqlite};
use crate::{
    config::DatabaseUrl,
    domain::happening::Happening,
    error::{Error, Kind, Result},
    metrics,
    queue::{Receiver, Refused, Sender},
    trace::{self, Span},
};

/// Jobs that may wait for a thread; beyond it callers are told to try again.
pub(super) const QUEUE: usize = 8 * 1024;
/// Jobs that share one transaction and one disk flush at most.
pub(super) const BATCH: usize = 256;

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(&'a str),
}

/// Shows no text: the driver logs parameters, among them hashes of passwords and what people say.
impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Int(value) => write!(f, "Int({value})"),
            Self::Text(text) => write!(f, "Text of {} bytes", text.len()),
        }
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The connection inside a [`Tx`].
pub(super) enum Conn<'a> {
    Sqlite(&'a mut sqlite::Session),
    Postgres(&'a mut postgres::Session),
}

/// A transaction, or for a reader a connection outside any.
pub struct Tx<'a> {
    pub(super) conn: Conn<'a>,
    pub(super) published: Vec<Happening>,
}

impl Tx<'_> {
    /// Runs a statement; the number of rows that it changed.
    ///
    /// # Errors
    /// `internal`, with the database's own words as its source.
    pub fn exec(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.exec(sql, params),
            Conn::Postgres(session) => session.exec(sql, params),
        }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.rows(sql, params),
            Conn::Postgres(session) => session.rows(sql, params),
        }
    }

    /// Runs a query for one row at most.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub fn row(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// As [`Self::exec`], with a statement that is made from the database's own catalog.
    pub(super) fn exec_of(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.exec(sql, params),
            Conn::Postgres(session) => session.exec(sql, params),
        }
    }

    /// As [`Self::rows`], with a statement that is made from the database's own catalog.
    pub(super) fn rows_of(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.rows(sql, params),
            Conn::Postgres(session) => session.rows(sql, params),
        }
    }

    /// Tells the world of a change, once it is committed.
    pub fn publish(&mut self, happening: Happening) {
        self.published.push(happening);
    }

    /// Which database this is; only the store's own dialect pages may ask.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.conn, Conn::Postgres(_))
    }

    /// Runs a script of several statements without parameters: migrations.
    pub(super) fn script(&mut self, sql: &str) -> Result<()> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.script(sql),
            Conn::Postgres(session) => session.script(sql),
        }
    }

    /// Prepares a statement, without running it.
    pub(super) fn prepare(&mut self, sql: &'static str) -> Result<()> {
        match &mut self.conn {
            Conn::Sqlite(session) => session.prepare(sql),
            Conn::Postgres(session) => session.prepare(sql),
        }
    }
}

/// What takes the committed happenings; called on a store thread, so it must not wait for long.
pub type Sink = Arc<dyn Fn(Vec<Happening>) + Send + Sync>;

/// A unit of work, as the store's threads see it.
pub(super) trait Job: Send {
    /// When it was submitted.
    fn submitted(&self) -> Instant;
    /// Does the work; whether its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Decides the outcome without running.
    fn refuse_with(&mut self, error: Error);
    /// Tells the outcome: the work's own, unless the commit failed.
    fn done(self: Box<Self>, committed: Result<(), Arc<Error>>);
}

struct Work<F, D, T> {
    work: F,
    done: D,
    outcome: Option<Result<T>>,
    submitted: Instant,
    /// Over when the outcome is told.
    span: Option<Span>,
}

impl<F, D, T> Work<F, D, T> {
    fn new(name: &'static str, system: &'static str, work: F, done: D) -> Box<Self> {
        let mut span = trace::child(name, trace::Kind::Client);
        if let Some(span) = &mut span {
            span.note("db.system.name", trace::Value::Word(system));
        }
        Box::new(Self { work, done, outcome: None, submitted: Instant::now(), span })
    }
}

impl<F, D, T> Job for Work<F, D, T>
where
    F: Fn(&mut Tx<'_>) -> Result<T> + Send,
    D: FnOnce(Result<T>) + Send,
    T: Send,
{
    fn submitted(&self) -> Instant {
        self.submitted
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        if let Some(span) = &mut self.span {
            // A job may run again: each run leaves its mark.
            let waited = span.micros();
            span.note("mesh.store.began_us", trace::Value::Int(waited));
        }
        // A panic in one job must neither poison the thread nor the jobs that share its transaction.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(tx)))
            .unwrap_or_else(|_| Err(Error::internal("a job panicked; the log says where")));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn refuse_with(&mut self, error: Error) {
        self.outcome = Some(Err(error));
    }

    fn done(self: Box<Self>, committed: Result<(), Arc<Error>>) {
        let outcome = match (self.outcome, committed) {
            // The database can't be written now: no fault of the job's.
            (Some(Err(own)), Err(failed)) if own.kind == Kind::Internal && failed.kind == Kind::Unavailable => {
                Err(same(&failed))
            }
            (Some(Err(own)), _) => Err(own),
            (_, Err(failed)) if failed.kind == Kind::Unavailable => Err(same(&failed)),
            (_, Err(failed)) => Err(Error::internal(failed)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::internal("a job was never run")),
        };
        if let (Some(span), Err(e)) = (&self.span, &outcome) {
            span.fail(e.code);
        }
        drop(self.span);
        (self.done)(outcome);
    }
}

/// The queues to the store's threads.
pub(super) struct Queues {
    pub(super) writers: Vec<Sender<Waiting>>,
    pub(super) readers: Sender<Waiting>,
    pub(super) failed: Arc<AtomicBool>,
    pub(super) figures: Arc<metrics::Store>,
}

/// Jobs that are submitted together, so that they share a transaction where there is room: see [`Db::add`].
#[derive(Default)]
pub struct Batch {
    /// In order, each with the number of its queue.
    jobs: Vec<(usize, Waiting)>,
}

/// The way to the database. Cheap to clone; the threads end when the last clone is gone.
#[derive(Clone)]
pub struct Db {
    queues: Arc<Queues>,
    /// What traces call it.
    system: &'static str,
}

impl Db {
    /// Opens the database and starts the threads. `sink` gets what committed transactions publish.
    ///
    /// # Errors
    /// Where the database cannot be opened: a sentence for the operator.
    pub fn open(url: &DatabaseUrl, sink: Sink) -> Result<Self, String> {
        let queues = match url {
            DatabaseUrl::SqliteFile(path) => sqlite::open(sqlite::Place::File(path.clone()), sink)?,
            DatabaseUrl::SqliteMemory => sqlite::open(sqlite::Place::Memory, sink)?,
            DatabaseUrl::Postgres(url) => postgres::open(url, sink)?,
        };
        let system = if matches!(url, DatabaseUrl::Postgres(_)) { "postgresql" } else { "sqlite" };
        Ok(Self { queues: Arc::new(queues), system })
    }

    /// Runs a job that changes the database, in a transaction, and waits for the commit. Jobs with the same `key`
    /// commit in the order in which they were submitted.
    ///
    /// # Errors
    /// The job's own; `internal` where the commit failed; 503 where too many jobs wait.
    pub async fn write<T: Send + 'static>(
        &self,
        key: u128,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        self.submit(key, work, move |outcome| drop(tell.send(outcome)));
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The same without waiting: `done` is called on a store thread after the commit.
    pub fn submit<T: Send + 'static>(
        &self,
        key: u128,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        match self.queues.writers.get(self.queue_of(key)) {
            Some(queue) => self.enqueue(queue, Work::new("store.write", self.system, work, done)),
            None => done(Err(gone())),
        }
    }

    /// The queue in which the jobs with this key stand.
    #[allow(clippy::cast_possible_truncation)]
    fn queue_of(&self, key: u128) -> usize {
        (key % self.queues.writers.len().max(1) as u128) as usize
    }

    /// As [`Self::submit`], with the others of `batch`, when that is handed over.
    pub fn add<T: Send + 'static>(
        &self,
        batch: &mut Batch,
        key: u128,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        batch.jobs.push((self.queue_of(key), Work::new("store.write", self.system, work, done)));
    }

    /// Submits what was added, and leaves the batch empty.
    pub fn hand_over(&self, batch: &mut Batch) {
        let mut jobs = std::mem::take(&mut batch.jobs).into_iter().peekable();
        while let Some((index, first)) = jobs.next() {
            let mut run = vec![first];
            while let Some((_, next)) = jobs.next_if(|(other, _)| *other == index) {
                run.push(next);
            }
            let Some(queue) = self.queues.writers.get(index) else {
                run.into_iter().for_each(|job| refuse(job, gone()));
                continue;
            };
            match queue.send_all(run) {
                Ok(()) => {}
                Err(Refused::Full(rest)) => rest.into_iter().for_each(|job| self.refuse_as_full(job)),
                Err(Refused::Gone(rest)) => rest.into_iter().for_each(|job| refuse(job, gone())),
            }
        }
    }

    /// Runs a job that only reads, beside the writers.
    ///
    /// # Errors
    /// The job's own; 503 where too many jobs wait.
    pub async fn read<T: Send + 'static>(&self, work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let done = move |outcome| drop(tell.send(outcome));
        self.enqueue(&self.queues.readers, Work::new("store.read", self.system, work, done));
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Resolves when all that was submitted so far is committed or refused.
    pub async fn settled(&self) {
        for key in 0..self.queues.writers.len() {
            let _ = self.write(key as u128, |_| Ok(())).await;
        }
    }

    /// What the store's threads have counted, and what keeps them from writing.
    pub fn figures(&self) -> &metrics::Store {
        &self.queues.figures
    }

    /// Jobs that wait to write, and to read.
    pub fn waiting(&self) -> (usize, usize) {
        (self.queues.writers.iter().map(Sender::len).sum(), self.queues.readers.len())
    }

    /// Writes something that changes nothing, so that it is found out whether the database can be written again.
    pub fn probe(&self) {
        if self.queues.figures.begin_probe() {
            let figures = self.queues.figures.clone();
            self.submit(0, super::probe, move |_| figures.end_probe());
        }
    }

    /// Whether a store thread died: the house must stop.
    pub fn failed(&self) -> bool {
        self.queues.failed.load(Ordering::Relaxed)
    }

    fn enqueue(&self, queue: &Sender<Waiting>, job: Waiting) {
        match queue.send(job) {
            Ok(()) => {}
            Err(Refused::Full(job)) => self.refuse_as_full(job),
            Err(Refused::Gone(job)) => refuse(job, gone()),
        }
    }

    fn refuse_as_full(&self, job: Waiting) {
        self.queues.figures.refused.add(1);
        let wait = Duration::from_secs(1);
        refuse(job, Error::unavailable("busy", "the server has too much to do; try again", wait));
    }
}

/// The same refusal for another job.
fn same(error: &Error) -> Error {
    let wait = error.retry_after.unwrap_or(Duration::from_secs(1));
    Error::unavailable(error.code, error.message.clone(), wait)
}

/// Notes what a transaction has met, for `/ready` and the figures; what its jobs are to hear of it.
pub(super) fn judge(figures: &metrics::Store, trouble: Option<metrics::Trouble>, error: Error) -> Error {
    figures.failed.add(1);
    let Some(trouble) = trouble else { return error };
    if figures.note(Some(trouble)) {
        tracing::error!(trouble = trouble.code(), "the database cannot be written: {}", trouble.meaning());
    }
    Error::unavailable(trouble.code(), trouble.meaning(), Duration::from_secs(1))
}

/// Notes that a transaction has written.
pub(super) fn wrote(figures: &metrics::Store) {
    if figures.note(None) {
        tracing::info!("the database can be written again");
    }
}

fn refuse(mut job: Waiting, error: Error) {
    job.refuse_with(error);
    job.done(Ok(()));
}

fn gone() -> Error {
    Error::unavailable("stopping", "the server is stopping", Duration::from_secs(1))
}

/// A job on its way to a thread.
pub(super) type Waiting = Box<dyn Job>;

/// Starts a store thread. One that panics marks the store as failed.
pub(super) fn thread(name: &str, failed: Arc<AtomicBool>, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        })
        .map(drop)
        .map_err(|e| format!("cannot start the thread {name}: {e}"))
}

/// Takes the jobs that wait, at least one; false when every sender is gone.
pub(super) fn batch(queue: &Receiver<Waiting>, into: &mut Vec<Waiting>, figures: &metrics::Store) -> bool {
    let taken = queue.take(into, BATCH);
    if let Some(first) = into.first() {
        figures.wait.since(first.submitted());
    }
    taken
}
