//! FTS5. Its rows are written by a worker, so that a send costs nothing of it; `search_index.upto` says how far it is.

use mesh_protocol::{RoomId, model::Message};

use crate::{
    domain::search::{Wanted, document},
    error::Result,
    store::{
        db::Tx,
        messages::{message, message_cells, param},
        statements,
    },
};

statements! {
    BEHIND = "SELECT COALESCE(MAX(m.doc), 0), (SELECT upto FROM search_index) FROM messages m";
    NEXT = "SELECT doc, room_id, content FROM messages WHERE doc > (SELECT upto FROM search_index) ORDER BY doc LIMIT $1";
    // Replaces, so that a row which is there already, by whatever way, cannot stop the index for ever.
    ADD = "INSERT OR REPLACE INTO messages_fts (rowid, words) VALUES ($1, $2)";
    ADVANCE = "UPDATE search_index SET upto = $1";
    CHANGED = "INSERT OR REPLACE INTO messages_fts (rowid, words) SELECT doc, $1 FROM messages \
        WHERE room_id = $2 AND seq = $3 AND doc <= (SELECT upto FROM search_index)";
    REMOVED = "DELETE FROM messages_fts WHERE rowid IN (SELECT doc FROM messages \
        WHERE room_id = $1 AND seq = $2 AND doc <= (SELECT upto FROM search_index))";
    PURGING = "DELETE FROM messages_fts WHERE rowid IN (SELECT doc FROM messages \
        WHERE room_id = $1 AND seq <= $2 AND doc <= (SELECT upto FROM search_index))";
    PURGED = "UPDATE search_index SET upto = (SELECT COALESCE(MAX(doc), 0) FROM messages) \
        WHERE upto > (SELECT COALESCE(MAX(doc), 0) FROM messages)";
    BEFORE = "SELECT doc FROM messages WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1";
    // Within a room, docs grow with the numbers: the index gives the newest first by itself, and CROSS JOIN keeps it in
    // front. What another room with the same mark says is left out.
    FIND = concat!(message_cells!(), "FROM messages_fts f CROSS JOIN messages m ON m.doc = f.rowid \
        JOIN users u ON u.id = m.user_id \
        WHERE messages_fts MATCH $1 AND f.rowid <= $2 AND m.room_id = $3 ORDER BY f.rowid DESC LIMIT $4");
}

pub(super) fn behind(tx: &mut Tx<'_>) -> Result<(u64, u64)> {
    let Some(row) = tx.row(BEHIND, &[])? else { return Ok((0, 0)) };
    Ok((row.count(0)?.saturating_sub(row.count(1)?), row.count(0)?))
}

pub(super) fn catch_up(tx: &mut Tx<'_>, limit: usize) -> Result<usize> {
    let rows = tx.rows(NEXT, &[i64::try_from(limit).unwrap_or(i64::MAX).into()])?;
    let Some(last) = rows.last() else { return Ok(0) };
    for row in &rows {
        let words = document(row.text(1)?, row.text(2)?);
        // A deleted message says nothing.
        if !words.is_empty() {
            tx.exec(ADD, &[row.int(0)?.into(), (&words).into()])?;
        }
    }
    tx.exec(ADVANCE, &[last.int(0)?.into()])?;
    Ok(rows.len())
}

pub(super) fn changed(tx: &mut Tx<'_>, room: &str, seq: u64, content: &str) -> Result<()> {
    let words = document(room, content);
    tx.exec(CHANGED, &[(&words).into(), room.into(), param(seq).into()]).map(drop)
}

pub(super) fn removed(tx: &mut Tx<'_>, room: &str, seq: u64) -> Result<()> {
    tx.exec(REMOVED, &[room.into(), param(seq).into()]).map(drop)
}

pub(super) fn purging(tx: &mut Tx<'_>, room: &str, upto: u64) -> Result<()> {
    tx.exec(PURGING, &[room.into(), param(upto).into()]).map(drop)
}

pub(super) fn purged(tx: &mut Tx<'_>) -> Result<()> {
    tx.exec(PURGED, &[]).map(drop)
}

pub(super) fn find(tx: &mut Tx<'_>, room: RoomId, wanted: &Wanted, before: u64, limit: usize) -> Result<Vec<Message>> {
    let room_text = room.to_string();
    let Some(newest) = tx.row(BEFORE, &[(&room_text).into(), param(before).into()])? else { return Ok(Vec::new()) };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = wanted.fts5(room);
    let rows = tx.rows(FIND, &[(&query).into(), newest.int(0)?.into(), (&room_text).into(), limit.into()])?;
    rows.iter().map(message).collect()
}
