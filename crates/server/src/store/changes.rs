//! What became of messages after they were said, and the room's log of it all.

use mesh_protocol::RoomId;

use super::{
    db::Tx,
    messages::{self, param},
    search, statements,
};
use crate::{
    domain::happening::Change,
    error::{Error, Result},
};

statements! {
    EDIT = "UPDATE messages SET content = $1, edited_at = $2, mentions = $3 WHERE room_id = $4 AND seq = $5";
    DELETE = "UPDATE messages SET content = '', mentions = NULL, deleted_at = $1 WHERE room_id = $2 AND seq = $3";
    FORGET_MENTIONS = "DELETE FROM message_mentions WHERE room_id = $1 AND seq = $2";
    REACT = "INSERT INTO message_reactions (room_id, message_seq, emoji, user_id, seq) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (room_id, message_seq, emoji, user_id) DO NOTHING";
    UNREACT = "DELETE FROM message_reactions WHERE room_id = $1 AND message_seq = $2 AND emoji = $3 AND user_id = $4";
    FORGET_REACTIONS = "DELETE FROM message_reactions WHERE room_id = $1 AND message_seq = $2";
    LOG = "INSERT INTO room_changes (room_id, seq, message_seq, kind) VALUES ($1, $2, $3, $4)";
    AFTER = "SELECT seq, kind, message_seq FROM room_changes WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
}

/// Makes a message say something else; `mentions` as [`messages::mentions_text`] writes them.
pub fn edit(tx: &mut Tx<'_>, room: &str, seq: u64, content: &str, mentions: Option<&str>, now: i64) -> Result<()> {
    tx.exec(EDIT, &[content.into(), now.into(), mentions.into(), room.into(), param(seq).into()])?;
    search::changed(tx, room, seq, content)?;
    tx.exec(FORGET_MENTIONS, &[room.into(), param(seq).into()]).map(drop)
}

/// Empties a message; its place stays.
pub fn delete(tx: &mut Tx<'_>, room: &str, seq: u64, now: i64) -> Result<()> {
    tx.exec(DELETE, &[now.into(), room.into(), param(seq).into()])?;
    search::removed(tx, room, seq)?;
    tx.exec(FORGET_MENTIONS, &[room.into(), param(seq).into()])?;
    tx.exec(FORGET_REACTIONS, &[room.into(), param(seq).into()]).map(drop)
}

/// Adds a reaction under the change's number; false where it is there already.
pub fn react(tx: &mut Tx<'_>, room: &str, message: u64, emoji: &str, user: &str, seq: u64) -> Result<bool> {
    let params = [room.into(), param(message).into(), emoji.into(), user.into(), param(seq).into()];
    Ok(tx.exec(REACT, &params)? == 1)
}

/// Takes a reaction back; false where there is none.
pub fn unreact(tx: &mut Tx<'_>, room: &str, message: u64, emoji: &str, user: &str) -> Result<bool> {
    Ok(tx.exec(UNREACT, &[room.into(), param(message).into(), emoji.into(), user.into()])? == 1)
}

/// Writes a change of a message into the room's log.
pub fn log(tx: &mut Tx<'_>, room: &str, seq: u64, message: u64, change: &Change) -> Result<()> {
    let kind = match change {
        // A message stands for its own beginning.
        Change::Created(_) => return Ok(()),
        Change::Edited(_) => "edited",
        Change::Deleted(_) => "deleted",
        Change::Reacted(_) => "reacted",
    };
    log_kind(tx, room, seq, message, kind)
}

pub(super) fn log_kind(tx: &mut Tx<'_>, room: &str, seq: u64, message: u64, kind: &str) -> Result<()> {
    tx.exec(LOG, &[room.into(), param(seq).into(), param(message).into(), kind.into()]).map(drop)
}

/// The room's log after a number: at most `limit` changes without a hole, each with its message as it is now. None at
/// all where the next one is not there.
pub fn after(tx: &mut Tx<'_>, room: RoomId, after: u64, limit: usize) -> Result<Vec<(u64, Change)>> {
    let room_text = room.to_string();
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let changed = tx.rows(AFTER, &[(&room_text).into(), param(after).into(), most.into()])?;
    let said = messages::after(tx, room, after, limit)?;
    let (mut changed, mut said) = (changed.iter().peekable(), said.into_iter().peekable());
    let mut log = Vec::new();
    let mut last = after;
    // Read one after the other, the two may not show the same moment: what would be a hole is left to the next page.
    while log.len() < limit {
        let next = last.saturating_add(1);
        if let Some(message) = said.next_if(|message| message.seq == next) {
            log.push((next, Change::Created(Box::new(message))));
        } else if let Some(row) = changed.peek()
            && row.count(0)? == next
        {
            let Some(message) = messages::by_seq(tx, &room_text, row.count(2)?)?.map(Box::new) else { break };
            let change = match row.text(1)? {
                "edited" => Change::Edited(message),
                "deleted" => Change::Deleted(message),
                "reacted" => Change::Reacted(message),
                _ => return Err(Error::internal("an unknown kind in room_changes")),
            };
            log.push((next, change));
            changed.next();
        } else {
            break;
        }
        last = next;
    }
    Ok(log)
}
