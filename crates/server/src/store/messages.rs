//! What was said.

use std::collections::BTreeMap;

use mesh_protocol::{MessageId, RoomId, Timestamp, UserId, model::Message};

use super::{
    db::{Row, Tx},
    rooms, statements,
};
use crate::error::{Error, Result};

macro_rules! message_columns {
    () => {
        "SELECT m.id, m.room_id, m.seq, m.user_id, u.username, m.content, m.created_at, m.edited_at, m.deleted_at, \
         m.reply_to_id, m.client_id FROM messages m JOIN users u ON u.id = m.user_id "
    };
}

statements! {
    INSERT = "INSERT INTO messages (room_id, seq, id, user_id, content, created_at, reply_to_id, client_id) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
        ON CONFLICT (room_id, user_id, client_id) WHERE client_id IS NOT NULL DO NOTHING";
    BY_CLIENT_ID = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.user_id = $2 AND m.client_id = $3");
    IN_ROOM = "SELECT seq FROM messages WHERE id = $1 AND room_id = $2";
    BEFORE = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3");
    AFTER = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3");
    MENTION = "INSERT INTO message_mentions (room_id, user_id, seq) SELECT m.room_id, u.id, $1 \
        FROM users u JOIN room_members m ON m.user_id = u.id AND m.room_id = $2 \
        WHERE u.username_key = $3 AND u.id <> $4 ON CONFLICT (room_id, user_id, seq) DO NOTHING";
}

/// Something to be said.
pub struct NewMessage<'a> {
    /// Its id, if it is new.
    pub id: MessageId,
    /// Where.
    pub room: &'a str,
    /// By whom.
    pub user: &'a str,
    /// What.
    pub content: &'a str,
    /// Which message it answers.
    pub reply_to: Option<&'a str>,
    /// The sender's own name for it.
    pub client_id: Option<&'a str>,
    /// Now, Unix milliseconds.
    pub now: i64,
}

/// What became of a [`NewMessage`].
pub enum Appended {
    /// It is in the log with this number.
    Created(u64),
    /// The same user said it before under the same `client_id`.
    Repeated(Box<Message>),
}

fn message(row: &Row) -> Result<Message> {
    Ok(Message {
        id: MessageId::parse(row.text(0)?),
        room_id: RoomId::parse(row.text(1)?),
        seq: row.count(2)?,
        user_id: UserId::parse(row.text(3)?),
        username: row.text(4)?.to_owned(),
        content: row.text(5)?.to_owned(),
        created_at: Timestamp::from_millis(row.int(6)?),
        edited_at: row.opt_int(7)?.map(Timestamp::from_millis),
        deleted_at: row.opt_int(8)?.map(Timestamp::from_millis),
        reply_to_id: row.opt_text(9)?.map(MessageId::parse),
        client_id: row.opt_text(10)?.map(str::to_owned),
        reactions: BTreeMap::new(),
    })
}

/// Appends to the room's log.
///
/// # Errors
/// 404 where there is no such room.
pub fn append(tx: &mut Tx<'_>, new: &NewMessage<'_>) -> Result<Appended> {
    let seq = rooms::next_seq(tx, new.room, new.now)?.ok_or_else(Error::room_not_found)?;
    #[allow(clippy::cast_possible_wrap)]
    let number = seq as i64;
    let id = new.id.to_string();
    let inserted = tx.exec(
        INSERT,
        &[
            new.room.into(),
            number.into(),
            (&id).into(),
            new.user.into(),
            new.content.into(),
            new.now.into(),
            new.reply_to.into(),
            new.client_id.into(),
        ],
    )?;
    if inserted == 1 {
        return Ok(Appended::Created(seq));
    }
    rooms::give_back_seq(tx, new.room)?;
    let first = tx.row(BY_CLIENT_ID, &[new.room.into(), new.user.into(), new.client_id.into()])?;
    let first = first.ok_or_else(|| Error::internal("a message conflicts with none"))?;
    Ok(Appended::Repeated(Box::new(message(&first)?)))
}

/// Remembers that the message with this number names a member of the room, where there is one of that name.
pub fn mention(tx: &mut Tx<'_>, room: &str, seq: u64, name_key: &str, author: &str) -> Result<()> {
    #[allow(clippy::cast_possible_wrap)]
    let seq = seq as i64;
    tx.exec(MENTION, &[seq.into(), room.into(), name_key.into(), author.into()]).map(drop)
}

/// Whether the room has a message with this id.
pub fn is_in_room(tx: &mut Tx<'_>, id: &str, room: &str) -> Result<bool> {
    Ok(tx.row(IN_ROOM, &[id.into(), room.into()])?.is_some())
}

/// The newest messages before a number, oldest first.
pub fn before(tx: &mut Tx<'_>, room: RoomId, seq: u64, limit: usize) -> Result<Vec<Message>> {
    let mut messages = page(tx, BEFORE, room, seq, limit)?;
    messages.reverse();
    Ok(messages)
}

/// The oldest messages after a number, oldest first.
pub fn after(tx: &mut Tx<'_>, room: RoomId, seq: u64, limit: usize) -> Result<Vec<Message>> {
    page(tx, AFTER, room, seq, limit)
}

fn page(tx: &mut Tx<'_>, sql: &'static str, room: RoomId, seq: u64, limit: usize) -> Result<Vec<Message>> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(sql, &[(&room.to_string()).into(), seq.into(), limit.into()])?.iter().map(message).collect()
}
