//! SQLite: one writer thread with group commit, and reader threads beside it (WAL).

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, types::ValueRef};

use super::db::{Conn, Param, QUEUE, Queues, Row, Sink, Tx, Waiting, batch, judge, thread, wrote};
use crate::{
    domain::happening::Happening,
    error::{Error, Result},
    metrics::{self, Trouble},
    queue::{Receiver, queue},
};

/// Where the database lies.
pub(super) enum Place {
    File(PathBuf),
    Memory,
}

/// One connection, used by one thread.
pub(super) struct Session {
    conn: Connection,
    /// A job of a transaction runs.
    in_job: bool,
    /// The running job has begun to change something.
    changed: bool,
    /// A savepoint is set before a job's first change, so that its failure takes back its own changes alone.
    savepoints: bool,
    /// A statement of the running job failed.
    spoiled: bool,
    /// What keeps the running transaction from being written.
    trouble: Option<Trouble>,
    /// The running transaction has changed something.
    wrote: bool,
}

/// What an error says of the database's state.
fn trouble_of(error: &Error) -> Option<Trouble> {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, ReadOnly, SystemIoFailure,
    };
    let source = std::error::Error::source(error)?.downcast_ref::<rusqlite::Error>()?;
    Some(match source.sqlite_error_code()? {
        DiskFull => Trouble::DiskFull,
        DatabaseBusy | DatabaseLocked => Trouble::Locked,
        ReadOnly => Trouble::ReadOnly,
        SystemIoFailure | CannotOpen => Trouble::Io,
        DatabaseCorrupt | NotADatabase => Trouble::Corrupt,
        _ => return None,
    })
}

fn failed(e: rusqlite::Error) -> Error {
    match e {
        // Its own words hold the whole script.
        rusqlite::Error::SqlInputError { error, msg, .. } => {
            Error::internal(rusqlite::Error::SqliteFailure(error, Some(msg)))
        }
        e => Error::internal(e),
    }
}

/// Until when a database that others hold is asked again.
const BUSY: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Switches to the write-ahead log. Servers that start at once on a new database stand in each other's way here, and
/// SQLite does not wait by itself, as two of them could wait for one another.
fn use_wal(conn: &Connection) -> Result<(), rusqlite::Error> {
    let mut waited = Duration::ZERO;
    loop {
        match conn.pragma_update(None, "journal_mode", "WAL") {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && waited < BUSY => {
                #[allow(clippy::disallowed_methods, reason = "opening happens on no thread of a runtime")]
                std::thread::sleep(ASK_AGAIN);
                waited += ASK_AGAIN;
            }
            outcome => return outcome,
        }
    }
}

impl Session {
    fn open(place: &Place, name: &str, read_only: bool) -> Result<Self, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = match place {
            Place::File(path) => Connection::open_with_flags(path, flags)?,
            // The memory file system is shared by all connections of this process that know the name.
            Place::Memory => {
                Connection::open_with_flags(format!("file:/{name}?vfs=memdb"), flags | OpenFlags::SQLITE_OPEN_URI)?
            }
        };
        conn.busy_timeout(BUSY)?;
        conn.set_prepared_statement_cache_capacity(256);
        // Else a statement is compiled anew whenever a number that it compares with changes, which costs more than it runs.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        if matches!(place, Place::File(_)) {
            use_wal(&conn)?;
        }
        // An acknowledged message survives a power cut.
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "cache_size", -4096)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        // Keeps the log from growing without end after one burst.
        conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        if read_only {
            conn.pragma_update(None, "query_only", true)?;
        }
        Ok(Self { conn, in_job: false, changed: false, savepoints: false, spoiled: false, trouble: None, wrote: false })
    }

    /// A connection for work of its own, outside the store's threads.
    pub(super) fn alone(path: &std::path::Path, read_only: bool) -> Result<Self, String> {
        Self::open(&Place::File(path.to_owned()), "", read_only)
            .map_err(|e| format!("cannot open the database {}: {e}", path.display()))
    }

    fn control(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn before_change(&mut self) -> Result<()> {
        if self.in_job && !self.changed {
            if self.savepoints {
                self.control("SAVEPOINT job").map_err(failed)?;
            }
            (self.changed, self.wrote) = (true, true);
        }
        Ok(())
    }

    /// Notes a failure, as PostgreSQL does: a job that takes no notice of it must not be kept by halves.
    fn noted<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            self.spoiled = true;
            let trouble = trouble_of(&error);
            self.trouble = trouble.or(self.trouble);
            // Whoever reads hears of it as it is; a write is judged with its transaction.
            match trouble {
                Some(trouble) => error.because(trouble),
                None => error,
            }
        })
    }

    pub(super) fn exec(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        let outcome = self.try_exec(sql, params);
        self.noted(outcome)
    }

    pub(super) fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let outcome = self.try_rows(sql, params);
        self.noted(outcome)
    }

    pub(super) fn script(&mut self, sql: &str) -> Result<()> {
        let outcome = self.before_change().and_then(|()| self.conn.execute_batch(sql).map_err(failed));
        self.noted(outcome)
    }

    fn try_exec(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.before_change()?;
        let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params)?;
        statement.raw_execute().map(|n| n as u64).map_err(failed)
    }

    fn try_rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        // `UPDATE … RETURNING` changes too.
        if !sql.starts_with("SELECT") {
            self.before_change()?;
        }
        let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut out: Vec<Row> = Vec::new();
        while let Some(found) = rows.next().map_err(failed)? {
            // Rows of an answer are alike.
            let mut row = Row::with_capacity(columns, out.last().map_or(0, Row::texts_len));
            for column in 0..columns {
                match found.get_ref(column).map_err(failed)? {
                    ValueRef::Null => row.push(Param::Null),
                    ValueRef::Integer(value) => row.push(Param::Int(value)),
                    // What is valid is found faster so than by the search for what is not.
                    ValueRef::Text(text) => match std::str::from_utf8(text) {
                        Ok(text) => row.push(Param::Text(text)),
                        Err(_) => row.push(Param::Text(&String::from_utf8_lossy(text))),
                    },
                    other => return Err(Error::internal(format!("column {column} is {}", other.data_type()))),
                }
            }
            out.push(row);
        }
        Ok(out)
    }

    pub(super) fn prepare(&mut self, sql: &'static str) -> Result<()> {
        let statement = self.conn.prepare_cached(sql).map_err(failed)?;
        for index in 1..=statement.parameter_count() {
            if statement.parameter_name(index) != Some(&format!("${index}")) {
                return Err(Error::internal(format!("${index} must be the {index}. parameter to appear in {sql}")));
            }
        }
        Ok(())
    }
}

/// SQLite numbers `$1`, `$2` … by first appearance, whatever they are called; `prepare` checks that the two agree.
fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Param<'_>]) -> Result<()> {
    if statement.parameter_count() != params.len() {
        return Err(Error::internal(format!("a statement takes {} parameters", statement.parameter_count())));
    }
    for (index, param) in params.iter().enumerate() {
        let index = index + 1;
        match param {
            Param::Null => statement.raw_bind_parameter(index, rusqlite::types::Null),
            Param::Int(value) => statement.raw_bind_parameter(index, value),
            Param::Text(text) => statement.raw_bind_parameter(index, text),
        }
        .map_err(failed)?;
    }
    Ok(())
}

fn read_only(path: &std::path::Path) -> String {
    format!("cannot write the database {}: the file or its file system is read-only", path.display())
}

/// SQLite has no word for a file system that is read-only where its log is not there yet: it says that it cannot open.
fn cannot_be_written(path: &std::path::Path) -> bool {
    let opened = std::fs::OpenOptions::new().write(true).open(path);
    opened.is_err_and(|e| e.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

/// Opens the database; the threads end when the queues' senders are gone.
pub(super) fn open(place: Place, sink: Sink) -> Result<Queues, String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "a name for this process's memory database, not an id of the protocol"
    )]
    let name = format!("mesh-{:p}-{}", Arc::as_ptr(&sink), std::process::id());
    let say = |e: rusqlite::Error| match &place {
        Place::File(path) if cannot_be_written(path) => read_only(path),
        Place::File(path) => format!("cannot open the database {}: {e}", path.display()),
        Place::Memory => format!("cannot open a database in memory: {e}"),
    };
    let dead = Arc::new(AtomicBool::new(false));
    let figures: Arc<metrics::Store> = Arc::default();
    let (writer, jobs) = queue(QUEUE);
    if let Place::File(path) = &place {
        // SQLite would let the umask say who may read it; its log gets the database's permissions. What is wrong with
        // the place, SQLite tells.
        let _ = super::backup::make(path);
    }
    let mut session = Session::open(&place, &name, false).map_err(say)?;
    // SQLite opens it all the same, for reading, and would stay so when the cause is gone.
    if session.conn.is_readonly("main").map_err(say)?
        && let Place::File(path) = &place
    {
        return Err(read_only(path));
    }
    // In memory, readers would hold the writer up: there is one connection for all.
    let readers = match place {
        Place::File(_) => {
            let (sender, jobs) = queue(QUEUE);
            for index in 0..std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) {
                let mut session = Session::open(&place, &name, true).map_err(say)?;
                let (jobs, figures) = (jobs.clone(), figures.clone());
                thread(&format!("sqlite-read-{index}"), dead.clone(), move || {
                    read_loop(&mut session, &jobs, &figures)
                })?;
            }
            sender
        }
        Place::Memory => writer.clone(),
    };
    let counted = figures.clone();
    thread("sqlite-write", dead.clone(), move || write_loop(&mut session, &jobs, &sink, &counted))?;
    Ok(Queues { writers: vec![writer], readers, failed: dead, figures })
}

/// Runs jobs that read. One sees one state of the database; those that wait when it begins see the same, since that costs
/// SQLite less than a state for each statement.
fn read_loop(session: &mut Session, jobs: &Receiver<Waiting>, figures: &metrics::Store) {
    while let Some(first) = jobs.next() {
        let mut next = Some(first);
        while let Some(job) = next {
            let began = Instant::now();
            // Where it fails, each statement reads for itself, and says why it can't.
            let _ = session.control("BEGIN");
            read(session, job, figures);
            // Whoever came later may know of something that was committed since.
            next = jobs.next_now();
            while let Some(job) = next.take_if(|job| job.submitted() <= began) {
                read(session, job, figures);
                next = jobs.next_now();
            }
            if !session.conn.is_autocommit() && session.control("COMMIT").is_err() {
                let _ = session.control("ROLLBACK");
            }
        }
    }
}

fn read(session: &mut Session, mut job: Waiting, figures: &metrics::Store) {
    let began = Instant::now();
    session.trouble = None;
    job.run(&mut Tx { conn: Conn::Sqlite(session), published: Vec::new() });
    if let Some(trouble) = session.trouble {
        tracing::error!(trouble = trouble.code(), "something could not be read: {}", trouble.meaning());
    }
    figures.read.since(began);
    job.done(Ok(()));
}

fn write_loop(session: &mut Session, jobs: &Receiver<Waiting>, sink: &Sink, figures: &metrics::Store) {
    let mut waiting = Vec::new();
    while batch(jobs, &mut waiting, figures) {
        match transaction(session, &mut waiting, sink, figures) {
            Ok(()) => waiting.drain(..).for_each(|job| job.done(Ok(()))),
            // One of them may be what does not fit, or made SQLite take all of it back: the others need not suffer.
            Err((None | Some(Trouble::DiskFull), error)) if waiting.len() > 1 => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a transaction failed; its jobs run one by one"
                );
                for job in waiting.drain(..) {
                    let mut alone = [job];
                    let outcome = transaction(session, &mut alone, sink, figures);
                    let [job] = alone;
                    job.done(outcome.map_err(|(trouble, error)| given_up(figures, trouble, error)));
                }
            }
            Err((trouble, error)) => {
                let outcome = Err(given_up(figures, trouble, error));
                waiting.drain(..).for_each(|job| job.done(outcome.clone()));
            }
        }
    }
}

/// What the jobs of a failed transaction hear.
fn given_up(figures: &metrics::Store, trouble: Option<Trouble>, error: Error) -> Arc<Error> {
    tracing::error!(error = &error as &dyn std::error::Error, "a transaction failed");
    Arc::new(judge(figures, trouble, error))
}

/// Runs jobs in one transaction, commits it and tells what they published; or takes all of it back.
fn transaction(
    session: &mut Session,
    jobs: &mut [Waiting],
    sink: &Sink,
    figures: &metrics::Store,
) -> Result<(), (Option<Trouble>, Error)> {
    let began = Instant::now();
    let outcome = commit(session, jobs);
    figures.commit.since(began);
    figures.batch.note(jobs.len() as u64);
    match outcome {
        Ok(published) => {
            if session.wrote {
                wrote(figures);
            }
            // Told in commit order, and before the callers hear: whoever has an answer finds it told.
            if !published.is_empty() {
                sink(published);
            }
            Ok(())
        }
        Err(error) => {
            let _ = session.control("ROLLBACK");
            Err((session.trouble.or(trouble_of(&error)), error))
        }
    }
}

/// Runs jobs in one transaction with one flush; what they published.
fn commit(session: &mut Session, jobs: &mut [Waiting]) -> Result<Vec<Happening>> {
    // A savepoint has SQLite copy each page that its job changes: they are set where one has failed after a change.
    if let Some(published) = run_all(session, jobs, false)? {
        return Ok(published);
    }
    session.control("ROLLBACK").map_err(failed)?;
    run_all(session, jobs, true)?.ok_or_else(|| Error::internal("a job was neither kept nor taken back"))
}

/// Begins a transaction, runs the jobs and commits; what they published. None, before the commit, where the changes of one
/// are to be taken back and there are no `savepoints` for it.
fn run_all(session: &mut Session, jobs: &mut [Waiting], savepoints: bool) -> Result<Option<Vec<Happening>>> {
    (session.trouble, session.wrote, session.savepoints) = (None, false, savepoints);
    let changes = session.conn.total_changes();
    session.control("BEGIN IMMEDIATE").map_err(failed)?;
    let mut published = Vec::new();
    for job in jobs {
        (session.in_job, session.changed, session.spoiled) = (true, false, false);
        let mut tx = Tx { conn: Conn::Sqlite(session), published: std::mem::take(&mut published) };
        let told = tx.published.len();
        let mut keep = job.run(&mut tx);
        if keep && matches!(&tx.conn, Conn::Sqlite(session) if session.spoiled) {
            job.refuse_with(Error::internal("a statement failed, and the job took no notice"));
            keep = false;
        }
        if !keep {
            tx.published.truncate(told);
        }
        published = tx.published;
        session.in_job = false;
        // A full disk, or a failed read or write: SQLite takes all of it back, and what followed would commit by itself.
        if session.conn.is_autocommit() {
            return Err(Error::internal("SQLite took the transaction back"));
        }
        // The job is not to blame, and the others would fare no better.
        if !keep && session.trouble.is_some() {
            return Err(Error::internal("the database takes no writes"));
        }
        if session.changed && savepoints {
            if !keep {
                session.control("ROLLBACK TO job").map_err(failed)?;
            }
            session.control("RELEASE job").map_err(failed)?;
        } else if session.changed && !keep {
            return Ok(None);
        }
    }
    session.control("COMMIT").map_err(failed)?;
    // A statement that found no rows has not shown that the disk takes any.
    session.wrote &= session.conn.total_changes() != changes;
    Ok(Some(published))
}
