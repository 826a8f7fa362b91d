//! The database's shape: migrations, up and down, embedded in the binary.

use super::{db::Tx, statements};
use crate::error::{Error, Result};

/// Which databases a migration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Both.
    Common,
    /// SQLite alone.
    Sqlite,
    /// PostgreSQL alone.
    Postgres,
}

/// One step of the database's shape.
pub struct Migration {
    /// Its place in the order.
    pub version: i64,
    /// What it is called.
    pub name: &'static str,
    /// Which databases it is for.
    pub dialect: Dialect,
    /// The way there.
    pub up: &'static str,
    /// The way back.
    pub down: &'static str,
}

impl Migration {
    /// What going back loses, where the script says so on its first line (`-- loses: …`).
    pub fn loses(&self) -> Option<&'static str> {
        self.down.lines().next()?.strip_prefix("-- loses:").map(str::trim)
    }
}

/// Every migration of this binary.
pub const MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

statements! {
    CREATE = "CREATE TABLE IF NOT EXISTS schema_migrations \
        (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";
    APPLIED = "SELECT version, name FROM schema_migrations ORDER BY version";
    ADD = "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)";
    // To and fro by a millisecond: SQLite writes nothing where a row stays as it is, and a probe must reach the disk.
    TOUCH = "UPDATE schema_migrations SET applied_at = applied_at + 1 - 2 * (applied_at % 2) \
        WHERE version = (SELECT MIN(version) FROM schema_migrations)";
    REMOVE = "DELETE FROM schema_migrations WHERE version = $1";
}

/// Serialises servers that start at once; held until the transaction ends.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(5567219401)";

/// The migrations for the database of `tx`, in order.
pub fn known(tx: &Tx<'_>) -> Vec<&'static Migration> {
    let other = if tx.is_postgres() { Dialect::Sqlite } else { Dialect::Postgres };
    let mut list: Vec<_> = MIGRATIONS.iter().filter(|m| m.dialect != other).collect();
    list.sort_by_key(|m| m.version);
    list
}

/// How many migrations an SQLite database lacks that has these.
///
/// # Errors
/// Where it is newer than the binary or half migrated: a sentence for the operator.
pub(super) fn missing_in_sqlite(applied: &[(i64, String)]) -> Result<usize, String> {
    let mut known: Vec<_> = MIGRATIONS.iter().filter(|m| m.dialect != Dialect::Postgres).collect();
    known.sort_by_key(|m| m.version);
    check(&known, applied)?;
    Ok(known.len() - applied.len())
}

/// Locks the list of migrations and reads what is applied. SQLite's write lock is held already.
fn lock(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>> {
    if tx.is_postgres() {
        tx.script(POSTGRES_LOCK)?;
    }
    tx.script(CREATE)?;
    applied(tx)
}

fn applied(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>> {
    tx.rows(APPLIED, &[])?.iter().map(|row| Ok((row.int(0)?, row.text(1)?.to_owned()))).collect()
}

/// Refuses a database that this binary does not understand.
fn check(known: &[&Migration], applied: &[(i64, String)]) -> Result<(), String> {
    let newest = known.last().map_or(0, |m| m.version);
    if let Some((version, name)) = applied.iter().find(|(version, _)| *version > newest) {
        return Err(format!(
            "the database is newer than this binary: it has migration {version} ({name}), this binary knows up to \
             {newest}; start the newer mesh-server, or take it back with that one's `mesh-server migrate down`"
        ));
    }
    for (index, (version, name)) in applied.iter().enumerate() {
        match known.get(index) {
            Some(m) if m.version == *version && m.name == name => {}
            Some(m) => {
                return Err(format!(
                    "the database is half migrated: in the place of migration {} ({}) it has {version} ({name}); \
                     restore a backup, or repair the table schema_migrations by hand",
                    m.version, m.name
                ));
            }
            None => return Err(format!("the database has migration {version} ({name}), which this binary lacks")),
        }
    }
    Ok(())
}

fn refused(sentence: String) -> Error {
    Error::new(crate::error::Kind::Conflict, "migration", sentence)
}

/// Applies what is missing, all or nothing; the names of what was applied.
///
/// # Errors
/// Where the database is newer than the binary or half migrated: a sentence for the operator.
pub fn up(tx: &mut Tx<'_>, now: i64) -> Result<Vec<&'static str>> {
    let applied = lock(tx)?;
    let known = known(tx);
    check(&known, &applied).map_err(refused)?;
    let mut done = Vec::new();
    for migration in known.iter().skip(applied.len()) {
        tx.script(migration.up).map_err(|e| {
            let (version, name) = (migration.version, migration.name);
            refused(format!("migration {version} ({name}) cannot be applied: {}", e.for_operator()))
        })?;
        tx.exec(ADD, &[migration.version.into(), migration.name.into(), now.into()])?;
        done.push(migration.name);
    }
    Ok(done)
}

/// Takes back the newest `steps` migrations; their names.
///
/// # Errors
/// Where the database cannot be understood, or data would be lost and `lose` does not say that it may.
pub fn down(tx: &mut Tx<'_>, steps: usize, lose: bool) -> Result<Vec<&'static str>> {
    let applied = lock(tx)?;
    let known = known(tx);
    check(&known, &applied).map_err(refused)?;
    let mut done = Vec::new();
    for migration in known.iter().take(applied.len()).rev().take(steps) {
        if let Some(what) = migration.loses()
            && !lose
        {
            let name = migration.name;
            return Err(refused(format!("taking back {name} loses {what}; say --yes if that may be")));
        }
        tx.script(migration.down)?;
        tx.exec(REMOVE, &[migration.version.into()])?;
        done.push(migration.name);
    }
    Ok(done)
}

/// Each migration of this binary, and whether it is applied.
///
/// # Errors
/// Where the database cannot be understood.
pub fn status(tx: &mut Tx<'_>) -> Result<Vec<(&'static Migration, bool)>> {
    let applied = lock(tx)?;
    let known = known(tx);
    check(&known, &applied).map_err(refused)?;
    Ok(known.into_iter().enumerate().map(|(index, m)| (m, index < applied.len())).collect())
}

/// How many migrations are missing, without changing anything.
///
/// # Errors
/// Where the database cannot be understood: a sentence for the operator.
pub(super) fn missing(tx: &mut Tx<'_>) -> Result<usize> {
    let applied = applied(tx).map_err(|_| refused("this is no database of Mesh Server".to_owned()))?;
    let known = known(tx);
    check(&known, &applied).map_err(refused)?;
    Ok(known.len() - applied.len())
}

/// Writes the list of what is applied; the first one's time moves by a millisecond, and back the next time.
///
/// # Errors
/// Where nothing can be written.
pub fn touch(tx: &mut Tx<'_>) -> Result<()> {
    tx.exec(TOUCH, &[]).map(drop)
}

/// The newest applied version.
///
/// # Errors
/// `internal` where the database does not answer.
pub fn version(tx: &mut Tx<'_>) -> Result<i64> {
    Ok(applied(tx)?.last().map_or(0, |(version, _)| *version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_with_a_sentence() {
        let m = |version, name| Migration { version, name, dialect: Dialect::Common, up: "", down: "" };
        let (a, b) = (m(1, "a"), m(2, "b"));
        let known = [&a, &b];
        let row = |version: i64, name: &str| (version, name.to_owned());
        assert!(check(&known, &[]).is_ok());
        assert!(check(&known, &[row(1, "a"), row(2, "b")]).is_ok());
        assert!(check(&known, &[row(1, "a"), row(2, "b"), row(3, "c")]).unwrap_err().contains("newer"));
        assert!(check(&known, &[row(2, "b")]).unwrap_err().contains("half migrated"));
        assert!(check(&known, &[row(1, "x")]).unwrap_err().contains("half migrated"));
    }
}
