//! PostgreSQL: writer threads, each with its own connection and rooms, and reader threads beside them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use postgres::{
    Client, Config, Statement,
    error::SqlState,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    db::{Conn, Param, QUEUE, Queues, Row, Sink, Tx, Waiting, batch, judge, thread, wrote},
    tls,
};
use crate::{
    domain::happening::Happening,
    error::{Error, Result},
    metrics::{self, Trouble},
    queue::{Receiver, queue},
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
    tls: MakeRustlsConnect,
    /// As SQLite's readers: what changes something is refused.
    read_only: bool,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    /// The running job has changed something.
    wrote: bool,
    /// A statement failed: PostgreSQL answers a later COMMIT with a rollback, and says so to nobody.
    spoiled: bool,
    /// The database asked to run the whole transaction again.
    repeat: bool,
    /// What keeps the running transaction from being written.
    trouble: Option<Trouble>,
    /// The running transaction has changed something.
    changed: bool,
    /// Whether it was committed is the database's to know: it must not run again.
    committing: bool,
}

/// What an error says of the database's state.
fn trouble_of(error: &postgres::Error) -> Option<Trouble> {
    let Some(code) = error.code() else {
        // Not the database's words: the connection is gone.
        return error.is_closed().then_some(Trouble::Unreachable).or_else(|| {
            std::error::Error::source(error).is_some_and(|e| e.is::<std::io::Error>()).then_some(Trouble::Unreachable)
        });
    };
    // Appendix A of PostgreSQL's manual; the first two characters are the class.
    Some(match code.code() {
        "53100" => Trouble::DiskFull,
        "25006" => Trouble::ReadOnly,
        "55P03" => Trouble::Locked,
        "58030" => Trouble::Io,
        "53300" => Trouble::Unreachable,
        other if other.starts_with("57P") || other.starts_with("08") => Trouble::Unreachable,
        other if other.starts_with("XX00") && other != "XX000" => Trouble::Corrupt,
        _ => return None,
    })
}

impl Session {
    fn new((config, tls): (Config, MakeRustlsConnect), read_only: bool) -> Self {
        let (client, statements) = (None, HashMap::new());
        let (wrote, spoiled, repeat, changed) = (false, false, false, false);
        Self {
            config,
            tls,
            read_only,
            client,
            statements,
            wrote,
            spoiled,
            repeat,
            trouble: None,
            changed,
            committing: false,
        }
    }

    /// A connection for work of its own, outside the store's threads.
    pub(super) fn alone(url: &str, read_only: bool) -> Result<Self, String> {
        let mut session = Self::new(settings(url)?, read_only);
        session.connect().map_err(|e| unreachable(&e))?;
        Ok(session)
    }

    /// Connects where it is not connected.
    fn connect(&mut self) -> Result<(), postgres::Error> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.statements.clear();
            self.client = None;
            let mut client = self.config.connect(self.tls.clone())?;
            if self.read_only {
                client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")?;
            }
            self.client = Some(client);
        }
        Ok(())
    }

    fn failed(&mut self, e: postgres::Error) -> Error {
        self.spoiled = true;
        let trouble = trouble_of(&e);
        self.trouble = trouble.or(self.trouble);
        if matches!(e.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE)) {
            self.repeat = true;
        }
        // "cached plan must not change result type": a newer server beside this one has migrated, and each statement that
        // was prepared before would be refused until the connection ends.
        if e.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) {
            self.statements.clear();
            self.repeat = true;
        }
        // Whoever reads hears of it as it is; a write is judged with its transaction.
        match trouble {
            Some(trouble) => Error::internal(e).because(trouble),
            None => Error::internal(e),
        }
    }

    fn client(&mut self) -> Result<&mut Client> {
        self.client.as_mut().ok_or_else(|| Error::internal("not connected to the database"))
    }

    fn control(&mut self, sql: &str) -> Result<()> {
        self.client()?.batch_execute(sql).map_err(|e| self.failed(e))
    }

    fn statement(&mut self, sql: &str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client()?.prepare(sql).map_err(|e| self.failed(e))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn exec(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.wrote = true;
        let statement = self.statement(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        self.client()?.execute(&statement, &params).map_err(|e| self.failed(e))
    }

    pub(super) fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
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
    let mut out = Row::with_capacity(row.len(), 0);
    for (index, column) in row.columns().iter().enumerate() {
        out.push(if *column.type_() == Type::INT8 {
            row.try_get::<_, Option<i64>>(index)?.into()
        } else {
            row.try_get::<_, Option<&str>>(index)?.into()
        });
    }
    Ok(out)
}

/// How to reach the database of a URL.
fn settings(url: &str) -> Result<(Config, MakeRustlsConnect), String> {
    let mut way = tls::read(url)?;
    way.0.application_name("mesh-server").connect_timeout(Duration::from_secs(10));
    Ok(way)
}

fn unreachable(e: &postgres::Error) -> String {
    let cause = std::error::Error::source(e).map(|s| format!(": {s}")).unwrap_or_default();
    format!("cannot connect to PostgreSQL: {e}{cause}")
}

/// Opens the database; the threads end when the queues' senders are gone.
pub(super) fn open(url: &str, sink: Sink) -> Result<Queues, String> {
    let way = settings(url)?;
    let mut first = Session::new(way.clone(), false);
    first.connect().map_err(|e| unreachable(&e))?;
    drop(first);
    let dead = Arc::new(AtomicBool::new(false));
    let figures: Arc<metrics::Store> = Arc::default();
    let mut writers = Vec::new();
    for index in 0..WRITERS {
        let (sender, jobs) = queue(QUEUE);
        let mut session = Session::new(way.clone(), false);
        let (sink, figures) = (sink.clone(), figures.clone());
        thread(&format!("pg-write-{index}"), dead.clone(), move || write_loop(&mut session, &jobs, &sink, &figures))?;
        writers.push(sender);
    }
    let (readers, jobs) = queue(QUEUE);
    for index in 0..READERS {
        let mut session = Session::new(way.clone(), true);
        let (jobs, figures) = (jobs.clone(), figures.clone());
        thread(&format!("pg-read-{index}"), dead.clone(), move || read_loop(&mut session, &jobs, &figures))?;
    }
    Ok(Queues { writers, readers, failed: dead, figures })
}

fn read_loop(session: &mut Session, jobs: &Receiver<Waiting>, figures: &metrics::Store) {
    while let Some(mut job) = jobs.next() {
        let began = Instant::now();
        if let Err(e) = session.connect() {
            job.refuse_with(judge(figures, Some(Trouble::Unreachable), Error::internal(e)));
        } else {
            (session.trouble, session.repeat) = (None, false);
            job.run(&mut Tx { conn: Conn::Postgres(session), published: Vec::new() });
            // The connection was lost, or the statements are stale; reading may be done again.
            let lost = session.trouble == Some(Trouble::Unreachable);
            if lost || session.repeat {
                if lost {
                    session.client = None;
                }
                if session.connect().is_ok() {
                    job.run(&mut Tx { conn: Conn::Postgres(session), published: Vec::new() });
                }
            }
        }
        figures.read.since(began);
        job.done(Ok(()));
    }
}

fn write_loop(session: &mut Session, jobs: &Receiver<Waiting>, sink: &Sink, figures: &metrics::Store) {
    let mut waiting = Vec::new();
    while batch(jobs, &mut waiting, figures) {
        // Savepoints cost a third of the throughput: a group runs without, and job by job where one of them failed
        // after it had changed something.
        let together = waiting.len() > 1 && {
            let outcome = transaction(session, &mut waiting, sink, figures);
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
                match transaction(session, &mut alone, sink, figures) {
                    Err(Spoiled { repeat: true, .. }) if tries < TRIES => tries += 1,
                    Err(spoiled) => break Err(spoiled.error),
                    Ok(()) => break Ok(()),
                }
            };
            let [job] = alone;
            match outcome {
                Ok(()) => job.done(Ok(())),
                // The job's own error is the outcome.
                Err(None) if session.trouble.is_none() => job.done(Ok(())),
                Err(error) => {
                    let error = error.unwrap_or_else(|| Error::internal("a statement failed"));
                    tracing::error!(error = &error as &dyn std::error::Error, "a transaction failed");
                    job.done(Err(Arc::new(judge(figures, session.trouble, error))));
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
fn transaction(
    session: &mut Session,
    jobs: &mut [Waiting],
    sink: &Sink,
    figures: &metrics::Store,
) -> Result<(), Spoiled> {
    (session.repeat, session.trouble, session.changed, session.committing) = (false, None, false, false);
    let began = Instant::now();
    let outcome = run_all(session, jobs);
    figures.commit.since(began);
    figures.batch.note(jobs.len() as u64);
    if outcome.is_ok() && session.changed {
        wrote(figures);
    }
    match outcome {
        Ok(published) => {
            if !published.is_empty() {
                sink(published);
            }
            Ok(())
        }
        Err(error) => {
            // The connection went while it stood idle: most often the database was started again.
            let lost = session.client.is_some() && session.trouble == Some(Trouble::Unreachable);
            session.repeat |= lost && !session.committing;
            // A connection in doubt is never used again.
            if session.client.as_mut().is_some_and(|client| client.batch_execute("ROLLBACK").is_err()) {
                session.client = None;
            }
            Err(Spoiled { error, repeat: session.repeat })
        }
    }
}

fn run_all(session: &mut Session, jobs: &mut [Waiting]) -> Result<Vec<Happening>, Option<Error>> {
    session.connect().map_err(|e| {
        session.trouble = Some(Trouble::Unreachable);
        Error::internal(e)
    })?;
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
        session.changed |= session.wrote;
        if session.spoiled || (!keep && session.wrote) {
            return Err(keep.then(|| Error::internal("a statement failed, and the job took no notice")));
        }
    }
    session.committing = true;
    session.control("COMMIT")?;
    Ok(published)
}
