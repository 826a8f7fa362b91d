//! PostgreSQL: writer threads, each with its own connection and rooms, and reader threads beside them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crossbeam_channel::Receiver;
use postgres::{
    Client, Config, NoTls, Statement,
    error::SqlState,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};

use super::db::{Cell, Conn, Job, Param, QUEUE, Queues, Row, Sink, Tx, batch, thread};
use crate::{
    domain::happening::Happening,
    error::{Error, Result},
};

const WRITERS: usize = 4;
const READERS: usize = 4;
/// Runs of a batch that the database asks to repeat (deadlock, serialisation) before its callers hear of it.
const TRIES: u32 = 3;

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => value.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT8 || *ty == Type::TEXT
    }

    to_sql_checked!();
}

/// One connection, used by one thread.
pub(super) struct Session {
    config: Config,
    /// As SQLite's readers: what changes something is refused.
    read_only: bool,
    client: Option<Client>,
    statements: HashMap<&'static str, Statement>,
    /// The running job has changed something.
    wrote: bool,
    /// A statement failed: PostgreSQL answers a later COMMIT with a rollback, and says so to nobody.
    spoiled: bool,
    /// The database asked to run the whole transaction again.
    repeat: bool,
}

impl Session {
    fn new(config: Config, read_only: bool) -> Self {
        let (client, statements) = (None, HashMap::new());
        Self { config, read_only, client, statements, wrote: false, spoiled: false, repeat: false }
    }

    /// Connects where it is not connected.
    fn connect(&mut self) -> Result<(), postgres::Error> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.statements.clear();
            self.client = None;
            let mut client = self.config.connect(NoTls)?;
            if self.read_only {
                client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")?;
            }
            self.client = Some(client);
        }
        Ok(())
    }

    fn failed(&mut self, e: postgres::Error) -> Error {
        self.spoiled = true;
        if matches!(e.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE)) {
            self.repeat = true;
        }
        Error::internal(e)
    }

    fn client(&mut self) -> Result<&mut Client> {
        self.client.as_mut().ok_or_else(|| Error::internal("not connected to the database"))
    }

    fn control(&mut self, sql: &str) -> Result<()> {
        self.client()?.batch_execute(sql).map_err(|e| self.failed(e))
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client()?.prepare(sql).map_err(|e| self.failed(e))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) fn exec(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
        self.wrote = true;
        let statement = self.statement(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        self.client()?.execute(&statement, &params).map_err(|e| self.failed(e))
    }

    pub(super) fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        // `UPDATE … RETURNING` changes too.
        self.wrote |= !sql.starts_with("SELECT");
        let statement = self.statement(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        let rows = self.client()?.query(&statement, &params).map_err(|e| self.failed(e))?;
        rows.iter().map(|row| read_row(row).map_err(Error::internal)).collect()
    }

    pub(super) fn script(&mut self, sql: &str) -> Result<()> {
        self.wrote = true;
        self.control(sql)
    }

    pub(super) fn prepare(&mut self, sql: &'static str) -> Result<()> {
        self.statement(sql).map(drop)
    }
}

fn read_row(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let mut cells = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        cells.push(if *column.type_() == Type::INT8 {
            row.try_get::<_, Option<i64>>(index)?.map_or(Cell::Null, Cell::Int)
        } else {
            row.try_get::<_, Option<String>>(index)?.map_or(Cell::Null, Cell::Text)
        });
    }
    Ok(Row(cells))
}

/// Opens the database; the threads end when the queues' senders are gone.
pub(super) fn open(url: &str, sink: Sink) -> Result<Queues, String> {
    let mut config: Config = url.parse().map_err(|e| format!("DATABASE_URL cannot be read: {e}"))?;
    config.application_name("mesh-server").connect_timeout(Duration::from_secs(10));
    let mut first = Session::new(config.clone(), false);
    first.connect().map_err(|e| {
        let cause = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        format!("cannot connect to PostgreSQL: {e}{cause}")
    })?;
    drop(first);
    let dead = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for index in 0..WRITERS {
        let (sender, jobs) = crossbeam_channel::bounded(QUEUE);
        let mut session = Session::new(config.clone(), false);
        let sink = sink.clone();
        thread(&format!("pg-write-{index}"), dead.clone(), move || write_loop(&mut session, &jobs, &sink))?;
        writers.push(sender);
    }
    let (readers, jobs) = crossbeam_channel::bounded(QUEUE);
    for index in 0..READERS {
        let mut session = Session::new(config.clone(), true);
        let jobs = jobs.clone();
        thread(&format!("pg-read-{index}"), dead.clone(), move || read_loop(&mut session, &jobs))?;
    }
    Ok(Queues { writers, readers, failed: dead })
}

fn read_loop(session: &mut Session, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(mut job) = jobs.recv() {
        if let Err(e) = session.connect() {
            job.refuse_with(Error::internal(e));
        } else {
            job.run(&mut Tx { conn: Conn::Postgres(session), published: Vec::new() });
        }
        job.done(Ok(()));
    }
}

fn write_loop(session: &mut Session, jobs: &Receiver<Box<dyn Job>>, sink: &Sink) {
    let mut waiting = Vec::new();
    while batch(jobs, &mut waiting) {
        // Savepoints cost a third of the throughput: a group runs without, and job by job where one of them failed
        // after it had changed something.
        let together = waiting.len() > 1 && {
            let outcome = transaction(session, &mut waiting, sink);
            if outcome.is_ok() {
                waiting.drain(..).for_each(|job| job.done(Ok(())));
            }
            outcome.is_ok()
        };
        if together {
            continue;
        }
        for job in waiting.drain(..) {
            let mut alone = [job];
            let mut tries = 1;
            let outcome = loop {
                match transaction(session, &mut alone, sink) {
                    Err(Spoiled { repeat: true, .. }) if tries < TRIES => tries += 1,
                    Err(spoiled) => break Err(spoiled.error),
                    Ok(()) => break Ok(()),
                }
            };
            let [job] = alone;
            match outcome {
                // The job's own error is the outcome.
                Ok(()) | Err(None) => job.done(Ok(())),
                Err(Some(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a transaction failed");
                    job.done(Err(Arc::new(error)));
                }
            }
        }
    }
}

/// Why a transaction was taken back.
struct Spoiled {
    /// None where a job failed by itself, and knows why.
    error: Option<Error>,
    /// The database asks for a repetition.
    repeat: bool,
}

/// Runs jobs in one transaction, commits it and tells what they published; or takes all of it back.
fn transaction(session: &mut Session, jobs: &mut [Box<dyn Job>], sink: &Sink) -> Result<(), Spoiled> {
    session.repeat = false;
    let outcome = run_all(session, jobs);
    match outcome {
        Ok(published) => {
            if !published.is_empty() {
                sink(published);
            }
            Ok(())
        }
        Err(error) => {
            // A connection in doubt is never used again.
            if session.client.as_mut().is_some_and(|client| client.batch_execute("ROLLBACK").is_err()) {
                session.client = None;
            }
            Err(Spoiled { error, repeat: session.repeat })
        }
    }
}

fn run_all(session: &mut Session, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Happening>, Option<Error>> {
    session.connect().map_err(Error::internal)?;
    session.spoiled = false;
    session.control("BEGIN")?;
    let mut published = Vec::new();
    for job in jobs {
        session.wrote = false;
        let mut tx = Tx { conn: Conn::Postgres(session), published: std::mem::take(&mut published) };
        let told = tx.published.len();
        let keep = job.run(&mut tx);
        if !keep {
            tx.published.truncate(told);
        }
        published = tx.published;
        if session.spoiled || (!keep && session.wrote) {
            return Err(keep.then(|| Error::internal("a statement failed, and the job took no notice")));
        }
    }
    session.control("COMMIT")?;
    Ok(published)
}
