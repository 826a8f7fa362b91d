//! The database, without a server.

use std::sync::Arc;

use crate::{
    clock::Clock,
    config::{Config, DatabaseUrl},
    error::{Error, Kind, Result},
    ids::Ids,
    store::{Db, Tx, audit::Trail, migrate, users::Account},
};

use super::{failure, runtime};

/// What the audit log calls whoever works here.
const ACTOR: &str = "(command line)";

/// An open database, whose shape this binary knows.
pub(super) struct Database {
    pub(super) ids: Ids,
    pub(super) clock: Clock,
    pub(super) db: Db,
    pub(super) runtime: tokio::runtime::Runtime,
}

pub(super) fn absent(name: &str) -> Error {
    Error::new(Kind::NotFound, "not_found", format!("there is no user {name:?}"))
}

/// A new database gets its shape; one that a server of another version uses is left alone.
fn ready(tx: &mut Tx<'_>, now: i64) -> Result<()> {
    let status = migrate::status(tx)?;
    let missing = status.iter().filter(|(_, applied)| !applied).count();
    if missing == status.len() {
        return migrate::up(tx, now).map(drop);
    }
    if missing > 0 {
        let words = "the database is of an older version: start this version's server, or run `mesh-server migrate up`";
        return Err(Error::new(Kind::Conflict, "migration", words));
    }
    Ok(())
}

impl Database {
    pub(super) fn open(config: &Config) -> Result<Self, (u8, String)> {
        if config.database_url == DatabaseUrl::SqliteMemory {
            return Err(failure("DATABASE_URL names a database in memory: there is nobody in it"));
        }
        let clock = Clock::System;
        let db = Db::open(&config.database_url, Arc::new(|_| {})).map_err(failure)?;
        let database = Self { ids: Ids::new(clock.clone()), clock, db, runtime: runtime()? };
        let now = database.clock.now_ms();
        database.write(move |tx| ready(tx, now))?;
        Ok(database)
    }

    /// Runs a job in a transaction.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, (u8, String)> {
        self.runtime.block_on(self.db.write(0, work)).map_err(|e| failure(e.for_operator()))
    }

    /// Who acts here, and when.
    pub(super) fn trail(&self) -> Trail {
        let name = Some(Arc::from(ACTOR));
        Trail { ids: self.ids.clone(), now: self.clock.now_ms(), actor: None, name, ip: None }
    }

    /// The account of this name.
    pub(super) fn user(&self, name: &str) -> Result<Account, (u8, String)> {
        let name = name.to_owned();
        self.write(move |tx| crate::store::users::by_name(tx, &name)?.ok_or_else(|| absent(&name)))
    }
}
