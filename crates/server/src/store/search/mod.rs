//! Which messages hold which words. The one place, beside migrations, where the two databases have texts of their own:
//! FTS5, written a moment after the messages; and on PostgreSQL an index that goes with each row.

mod postgres;
mod sqlite;

use mesh_protocol::{RoomId, model::Message};

use super::db::Tx;
use crate::{domain::search::Wanted, error::Result};

/// Both pages' statements, for the database of `tx`.
pub(super) fn all(tx: &Tx<'_>) -> &'static [(&'static str, &'static str)] {
    if tx.is_postgres() { postgres::ALL } else { sqlite::ALL }
}

/// How many messages are not in the index yet; also how far their numbers reach, which only grows as they are sent.
pub fn behind(tx: &mut Tx<'_>) -> Result<(u64, u64)> {
    if tx.is_postgres() { Ok((0, 0)) } else { sqlite::behind(tx) }
}

/// Brings up to `limit` messages into the index, oldest first; how many.
pub fn catch_up(tx: &mut Tx<'_>, limit: usize) -> Result<usize> {
    if tx.is_postgres() { Ok(0) } else { sqlite::catch_up(tx, limit) }
}

/// A message says something else.
pub fn changed(tx: &mut Tx<'_>, room: &str, seq: u64, content: &str) -> Result<()> {
    if tx.is_postgres() { Ok(()) } else { sqlite::changed(tx, room, seq, content) }
}

/// A message says nothing any more. Its row may still be there.
pub fn removed(tx: &mut Tx<'_>, room: &str, seq: u64) -> Result<()> {
    if tx.is_postgres() { Ok(()) } else { sqlite::removed(tx, room, seq) }
}

/// Up to `upto`, the room's messages are about to be deleted.
pub fn purging(tx: &mut Tx<'_>, room: &str, upto: u64) -> Result<()> {
    if tx.is_postgres() { Ok(()) } else { sqlite::purging(tx, room, upto) }
}

/// Messages were deleted: their numbers may be given again.
pub fn purged(tx: &mut Tx<'_>) -> Result<()> {
    if tx.is_postgres() { Ok(()) } else { sqlite::purged(tx) }
}

/// The room's messages with these words, of those said before a number; newest first.
pub fn find(tx: &mut Tx<'_>, room: RoomId, wanted: &Wanted, before: u64, limit: usize) -> Result<Vec<Message>> {
    let mut found = if tx.is_postgres() {
        postgres::find(tx, room, wanted, before, limit)?
    } else {
        sqlite::find(tx, room, wanted, before, limit)?
    };
    super::messages::with_reactions(tx, &mut found)?;
    Ok(found)
}
