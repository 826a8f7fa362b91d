//! The only place with SQL. Each statement is one text that both databases run.

pub mod admin;
pub mod audit;
pub mod backup;
pub mod bans;
pub mod changes;
pub mod copy;
pub mod db;
pub mod direct;
pub mod farewell;
pub mod invites;
pub mod members;
pub mod messages;
pub mod migrate;
mod postgres;
pub mod probe;
pub mod purge;
pub mod push;
pub mod room_invites;
pub mod rooms;
pub mod row;
pub mod search;
pub mod seed;
pub mod sessions;
mod sqlite;
pub mod tickets;
mod tls;
pub mod tokens;
pub mod totp;
pub mod users;

pub use db::{Batch, Db, Tx};

use crate::error::Result;

/// Names a page's statements and lists them, so that a test can prepare each on both databases.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* const $name: &str = $sql;)*
        /// This page's statements, with their names.
        pub(super) const ALL: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use statements;

/// Every statement of the house that the database of `tx` runs, behind its name: `mesh_server::store::rooms::INSERT`.
pub fn all_statements(tx: &Tx<'_>) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let pages = [
        admin::ALL,
        audit::ALL,
        bans::ALL,
        changes::ALL,
        direct::ALL,
        farewell::ALL,
        invites::ALL,
        members::ALL,
        messages::ALL,
        migrate::ALL,
        probe::ALL,
        room_invites::ALL,
        purge::ALL,
        push::ALL,
        rooms::ALL,
        seed::ALL,
        sessions::ALL,
        tickets::ALL,
        tokens::ALL,
        totp::ALL,
        users::ALL,
        search::all(tx),
    ];
    pages.into_iter().chain(push::PAGES).flatten().copied()
}

/// Prepares every statement of the house, without running any: proof that this database understands them all.
///
/// # Errors
/// The first one that it does not.
pub fn prepare_all(tx: &mut Tx<'_>) -> Result<()> {
    all_statements(tx).try_for_each(|(_, sql)| tx.prepare(sql))
}

/// Writes what means nothing, and reaches the disk.
///
/// # Errors
/// Where nothing can be written.
pub fn probe(tx: &mut Tx<'_>) -> Result<()> {
    migrate::touch(tx)
}

/// Asks the database for a sign of life.
///
/// # Errors
/// `internal` where it gives none.
pub fn ping(tx: &mut Tx<'_>) -> Result<()> {
    migrate::version(tx).map(drop)
}
