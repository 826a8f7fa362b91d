//! A GIN index over `mesh_search_words`, which folds and splits as `domain::search` does. A question is split by the
//! same function: whatever the cluster's locale takes for a letter, both sides agree.

use mesh_protocol::{RoomId, model::Message};

use crate::{
    domain::search::Wanted,
    error::Result,
    store::{
        db::Tx,
        messages::{message, message_columns, param},
        statements,
    },
};

statements! {
    FOLD = "SELECT array_to_string(tsvector_to_array(mesh_search_words($1, $2)), ' '), \
        array_to_string(tsvector_to_array(mesh_search_words($1, $3)), ' ')";
    FIND = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq < $2 \
        AND mesh_search_words(m.room_id, m.content) @@ CAST(CAST($3 AS TEXT) AS tsquery) ORDER BY m.seq DESC LIMIT $4");
}

pub(super) fn find(tx: &mut Tx<'_>, room: RoomId, wanted: &Wanted, before: u64, limit: usize) -> Result<Vec<Message>> {
    let room = room.to_string();
    let (whole, last) = wanted.parts();
    let Some(folded) = tx.row(FOLD, &[(&room).into(), (&whole).into(), last.into()])? else { return Ok(Vec::new()) };
    // Letters and digits only: nothing here needs an escape.
    let whole = folded.text(0)?.split_whitespace().map(|word| format!("'{word}'"));
    let beginnings = folded.text(1)?.split_whitespace().map(|word| format!("'{word}':*"));
    let query = whole.chain(beginnings).collect::<Vec<_>>().join(" & ");
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.rows(FIND, &[(&room).into(), param(before).into(), (&query).into(), limit.into()])?;
    rows.iter().map(message).collect()
}
