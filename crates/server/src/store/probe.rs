//! Whether a database can be worked with: its time, its shape, and a write that is taken back.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Db, Tx, migrate, statements};
use crate::error::{Error, Kind, Result};

statements! {
    MARK = "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)";
    MARKED = "SELECT COUNT(*) FROM schema_migrations WHERE version = $1";
}

/// The database's own time, Unix milliseconds.
const POSTGRES_NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A version that no migration has.
const NOWHERE: i64 = i64::MAX;

/// What was found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The database's time, Unix milliseconds; none where it has no clock of its own.
    pub now_ms: Option<i64>,
    /// How many migrations are applied.
    pub applied: usize,
    /// Those that are missing.
    pub missing: Vec<&'static str>,
}

fn look(tx: &mut Tx<'_>) -> Result<Probe> {
    let now_ms = match tx.is_postgres() {
        true => tx.row(POSTGRES_NOW, &[])?.map(|row| row.int(0)).transpose()?,
        false => None,
    };
    let status = migrate::status(tx)?;
    tx.exec(MARK, &[NOWHERE.into(), "doctor".into(), 0.into()])?;
    if tx.row(MARKED, &[NOWHERE.into()])?.map(|row| row.int(0)).transpose()? != Some(1) {
        return Err(Error::internal("what was written cannot be read"));
    }
    let missing: Vec<_> = status.iter().filter(|(_, applied)| !applied).map(|(m, _)| m.name).collect();
    Ok(Probe { now_ms, applied: status.len() - missing.len(), missing })
}

/// Writes a row, reads it, and takes the whole back.
///
/// # Errors
/// The database's own, for the operator.
pub async fn probe(db: &Db) -> Result<Probe> {
    let found = Arc::new(Mutex::new(None));
    let into = found.clone();
    let refusal = db
        .write(0, move |tx| {
            let probe = look(tx)?;
            *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(probe);
            // A job that fails has changed nothing.
            Err::<(), _>(Error::new(Kind::Conflict, "taken_back", "it was only a probe"))
        })
        .await;
    if let Err(e) = refusal
        && e.code != "taken_back"
    {
        return Err(e);
    }
    let taken = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.ok_or_else(|| Error::internal("the probe was never run"))
}
