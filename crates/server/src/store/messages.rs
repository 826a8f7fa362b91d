//! What was said.

use std::collections::BTreeMap;

use mesh_protocol::{MessageId, RoomId, Timestamp, UserId, model::Message};

use super::{
    db::{Row, Tx},
    rooms, statements,
};
use crate::error::{Error, Result};

/// What [`message`] reads, of `messages m` and `users u`.
macro_rules! message_cells {
    () => {
        "SELECT m.id, m.room_id, m.seq, m.user_id, u.username, m.content, m.created_at, m.edited_at, m.deleted_at, \
         m.reply_to_id, m.client_id, m.mentions "
    };
}
pub(super) use message_cells;

macro_rules! message_columns {
    () => {
        concat!(crate::store::messages::message_cells!(), "FROM messages m JOIN users u ON u.id = m.user_id ")
    };
}
pub(super) use message_columns;

statements! {
    INSERT = "INSERT INTO messages (room_id, seq, id, user_id, content, created_at, reply_to_id, client_id, mentions) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
        ON CONFLICT (room_id, user_id, client_id) WHERE client_id IS NOT NULL DO NOTHING";
    BY_CLIENT_ID = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.user_id = $2 AND m.client_id = $3");
    IN_ROOM = "SELECT seq FROM messages WHERE id = $1 AND room_id = $2";
    BEFORE = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3");
    AFTER = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3");
    BY_ID = concat!(message_columns!(), "WHERE m.id = $1 AND m.room_id = $2");
    BY_SEQ = concat!(message_columns!(), "WHERE m.room_id = $1 AND m.seq = $2");
    REACTIONS = "SELECT message_seq, emoji, user_id FROM message_reactions \
        WHERE room_id = $1 AND message_seq >= $2 AND message_seq <= $3 ORDER BY message_seq, seq";
    NAMED = "SELECT user_id FROM room_members WHERE room_id = $1 AND name_key = $2";
    MENTION = "INSERT INTO message_mentions (room_id, user_id, seq) VALUES ($1, $2, $3) \
        ON CONFLICT (room_id, user_id, seq) DO NOTHING";
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
    /// Whom it names: ids with a space between.
    pub mentions: Option<&'a str>,
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

pub(super) fn message(row: &Row) -> Result<Message> {
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
        mentions: row.opt_text(11)?.map_or_else(Vec::new, |ids| ids.split(' ').map(UserId::parse).collect()),
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
            new.mentions.into(),
        ],
    )?;
    if inserted == 1 {
        return Ok(Appended::Created(seq));
    }
    rooms::give_back_seq(tx, new.room)?;
    let first = tx.row(BY_CLIENT_ID, &[new.room.into(), new.user.into(), new.client_id.into()])?;
    let first = one(tx, first)?.ok_or_else(|| Error::internal("a message conflicts with none"))?;
    Ok(Appended::Repeated(Box::new(first)))
}

/// The members of the room with these names' keys, each once.
pub fn named(tx: &mut Tx<'_>, room: &str, name_keys: &[String]) -> Result<Vec<UserId>> {
    let mut users = Vec::new();
    for key in name_keys {
        if let Some(row) = tx.row(NAMED, &[room.into(), key.into()])? {
            let user = UserId::parse(row.text(0)?);
            if !users.contains(&user) {
                users.push(user);
            }
        }
    }
    Ok(users)
}

/// Ids as the column `mentions` holds them.
pub fn mentions_text(users: &[UserId]) -> Option<String> {
    (!users.is_empty()).then(|| users.iter().map(UserId::to_string).collect::<Vec<_>>().join(" "))
}

/// Remembers that the message with this number names these members, so that they can be counted; its author counts
/// for nothing.
pub fn mention(tx: &mut Tx<'_>, room: &str, seq: u64, users: &[UserId], author: UserId) -> Result<()> {
    for user in users.iter().filter(|user| **user != author) {
        tx.exec(MENTION, &[room.into(), (&user.to_string()).into(), param(seq).into()])?;
    }
    Ok(())
}

/// Whether the room has a message with this id.
pub fn is_in_room(tx: &mut Tx<'_>, id: &str, room: &str) -> Result<bool> {
    Ok(tx.row(IN_ROOM, &[id.into(), room.into()])?.is_some())
}

/// One message of the room, as it is now.
pub fn by_id(tx: &mut Tx<'_>, id: &str, room: &str) -> Result<Option<Message>> {
    let found = tx.row(BY_ID, &[id.into(), room.into()])?;
    one(tx, found)
}

/// The same by the number at which it was said.
pub fn by_seq(tx: &mut Tx<'_>, room: &str, seq: u64) -> Result<Option<Message>> {
    let found = tx.row(BY_SEQ, &[room.into(), param(seq).into()])?;
    one(tx, found)
}

fn one(tx: &mut Tx<'_>, row: Option<Row>) -> Result<Option<Message>> {
    let mut found = row.iter().map(message).collect::<Result<Vec<_>>>()?;
    with_reactions(tx, &mut found)?;
    Ok(found.pop())
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
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.rows(sql, &[(&room.to_string()).into(), param(seq).into(), limit.into()])?;
    let mut messages = rows.iter().map(message).collect::<Result<Vec<_>>>()?;
    with_reactions(tx, &mut messages)?;
    Ok(messages)
}

/// Fills in who reacted to these messages of one room.
pub(super) fn with_reactions(tx: &mut Tx<'_>, messages: &mut [Message]) -> Result<()> {
    let Some(room) = messages.first().map(|message| message.room_id.to_string()) else { return Ok(()) };
    let first = messages.iter().map(|message| message.seq).min().unwrap_or(0);
    let last = messages.iter().map(|message| message.seq).max().unwrap_or(0);
    for row in tx.rows(REACTIONS, &[(&room).into(), param(first).into(), param(last).into()])? {
        let seq = row.count(0)?;
        if let Some(message) = messages.iter_mut().find(|message| message.seq == seq) {
            message.reactions.entry(row.text(1)?.to_owned()).or_default().push(UserId::parse(row.text(2)?));
        }
    }
    Ok(())
}

/// A sequence number as a parameter.
pub(super) fn param(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
