//! The one room of two people.

use mesh_protocol::{RoomId, UserId, model::Room};

use super::{db::Tx, statements};
use crate::error::Result;

statements! {
    INSERT = "INSERT INTO rooms (id, name, visibility, kind, owner_id, last_seq, member_count, activity_at, created_at, \
        updated_at, direct_key) VALUES ($1, $2, 'private', 'direct', $3, 0, 0, $4, $4, $4, $5) \
        ON CONFLICT (direct_key) WHERE direct_key IS NOT NULL DO NOTHING";
    FIND = "SELECT id FROM rooms WHERE direct_key = $1";
}

/// What names the room of these two, whoever asks.
pub fn key(one: UserId, other: UserId) -> String {
    let (one, other) = (one.to_string(), other.to_string());
    if one < other { format!("{one}:{other}") } else { format!("{other}:{one}") }
}

/// Adds the room of two people, without members; false where they have one.
pub fn insert(tx: &mut Tx<'_>, room: &Room, key: &str) -> Result<bool> {
    let added = tx.exec(
        INSERT,
        &[
            (&room.id.to_string()).into(),
            (&room.name).into(),
            (&room.owner_id.to_string()).into(),
            room.created_at.as_millis().into(),
            key.into(),
        ],
    )?;
    Ok(added == 1)
}

/// The room of two people, where they have one.
pub fn find(tx: &mut Tx<'_>, key: &str) -> Result<Option<RoomId>> {
    tx.row(FIND, &[key.into()])?.map(|row| Ok(RoomId::parse(row.text(0)?))).transpose()
}
