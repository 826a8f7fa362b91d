//! What is said in rooms.

use std::{collections::BTreeMap, sync::Arc};

use mesh_protocol::{
    MessageId, RoomId, Timestamp, UserId,
    model::Message,
    rest::PostMessageRequest,
    text::{ClientId, Content},
};

use super::rooms::authorise;
use crate::{
    app::App,
    domain::{
        happening::{Change, Happening, Origin, RoomEvent},
        mentions::mentioned,
        policy::RoomAction,
    },
    error::{Error, Fields, Kind, Result},
    service::auth::Caller,
    store::{
        self, Tx,
        messages::{Appended, NewMessage},
    },
};

/// Which part of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest.
    Latest,
    /// The newest before a sequence number.
    Before(u64),
    /// The oldest after a sequence number.
    After(u64),
}

/// Something to be said, checked.
struct Send {
    room: RoomId,
    room_text: String,
    user: UserId,
    user_text: String,
    username: Arc<str>,
    id: MessageId,
    content: String,
    names: Vec<String>,
    client_id: Option<String>,
    reply_to: Option<MessageId>,
    now: i64,
    origin: Option<Origin>,
    /// Whether whoever is away is to be told.
    push: bool,
}

impl Send {
    fn new(
        app: &App,
        caller: &Caller,
        room: RoomId,
        request: PostMessageRequest,
        origin: Option<Origin>,
    ) -> Result<Self> {
        let mut fields = Fields::default();
        let max = app.config.max_message_chars as usize;
        let content = fields.take("content", Content::parse(&request.content, max));
        let client_id = fields.take_opt("client_id", request.client_id.as_deref().map(ClientId::parse));
        let Some(content) = content else { return Err(fields.into_error()) };
        fields.check()?;
        Ok(Self {
            room,
            room_text: room.to_string(),
            user: caller.user_id,
            user_text: caller.user_id.to_string(),
            username: caller.username.clone(),
            id: MessageId::new(app.ids.uuid()),
            names: mentioned(content.as_str()),
            content: content.into_string(),
            client_id: client_id.map(ClientId::into_string),
            reply_to: request.reply_to_id,
            now: app.clock.now_ms(),
            origin,
            push: app.push.is_on(),
        })
    }

    /// Authorises, appends and publishes; the message, and whether it is new.
    fn run(&self, tx: &mut Tx<'_>) -> Result<(Message, bool)> {
        authorise(tx, &self.room_text, &self.user_text, RoomAction::Send)?;
        let reply_to = self.reply_to.map(|id| id.to_string());
        if let Some(id) = &reply_to
            && !store::messages::is_in_room(tx, id, &self.room_text)?
        {
            let message = "reply_to_id: this room has no such message";
            return Err(Error::new(Kind::NotFound, "unknown_message", message));
        }
        let mentions = store::messages::named(tx, &self.room_text, &self.names)?;
        let mentions_text = store::messages::mentions_text(&mentions);
        let new = NewMessage {
            id: self.id,
            room: &self.room_text,
            user: &self.user_text,
            content: &self.content,
            reply_to: reply_to.as_deref(),
            client_id: self.client_id.as_deref(),
            mentions: mentions_text.as_deref(),
            now: self.now,
        };
        let seq = match store::messages::append(tx, &new)? {
            Appended::Created(seq) => seq,
            Appended::Repeated(first) => {
                if let Some(origin) = &self.origin {
                    let (room, origin) = (self.room, origin.clone());
                    tx.publish(Happening::Repeat { room, message: first.clone(), origin });
                }
                return Ok((*first, false));
            }
        };
        store::messages::mention(tx, &self.room_text, seq, &mentions, self.user)?;
        if self.push {
            let id = self.id.to_string();
            super::outbox::message(tx, &id, &self.room_text, seq, &self.user_text, self.now)?;
        }
        let message = self.message(seq, mentions);
        tx.publish(Happening::Change {
            room: self.room,
            seq,
            change: Change::Created(Box::new(message.clone())),
            origin: self.origin.clone(),
        });
        Ok((message, true))
    }

    fn message(&self, seq: u64, mentions: Vec<UserId>) -> Message {
        Message {
            id: self.id,
            room_id: self.room,
            seq,
            user_id: self.user,
            username: self.username.as_ref().to_owned(),
            content: self.content.clone(),
            created_at: Timestamp::from_millis(self.now),
            edited_at: None,
            deleted_at: None,
            reply_to_id: self.reply_to,
            client_id: self.client_id.clone(),
            reactions: BTreeMap::new(),
            mentions,
        }
    }
}

/// Says something; the message, and whether it is new (the same `client_id` again is the first message).
///
/// # Errors
/// 404, 403 as the room says; 422 with every field that is not allowed.
pub async fn post(app: &App, caller: &Caller, room: RoomId, request: PostMessageRequest) -> Result<(Message, bool)> {
    let send = Send::new(app, caller, room, request, None)?;
    app.db.write(room.uuid().as_u128(), move |tx| send.run(tx)).await
}

/// What a connection says in one breath: it is given to the store together, and shares a transaction where it can.
#[derive(Default)]
pub struct Sends(store::Batch);

impl Sends {
    /// Gives the store what was said so far.
    pub fn hand_over(&mut self, app: &App) {
        app.db.hand_over(&mut self.0);
    }
}

/// Says something from a connection, without waiting: the answer is the room's own event, told after the commit.
/// It goes to the store when `sends` are handed over. `done` hears, on a thread of the store, whether it failed.
///
/// # Errors
/// 422 with every field that is not allowed; `done` is not called then.
pub fn submit(
    app: &App,
    caller: &Caller,
    room: RoomId,
    request: PostMessageRequest,
    origin: Origin,
    sends: &mut Sends,
    done: impl FnOnce(Result<()>) + std::marker::Send + 'static,
) -> Result<()> {
    let send = Send::new(app, caller, room, request, Some(origin))?;
    app.db.add(&mut sends.0, room.uuid().as_u128(), move |tx| send.run(tx).map(drop), done);
    Ok(())
}

/// What was said, oldest first.
///
/// # Errors
/// 404, 403 as the room says.
pub async fn history(app: &App, caller: &Caller, room: RoomId, range: Range, limit: usize) -> Result<Vec<Message>> {
    let user = caller.user_id;
    app.db
        .read(move |tx| {
            authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Read)?;
            match range {
                Range::Latest => store::messages::before(tx, room, u64::MAX, limit),
                Range::Before(seq) => store::messages::before(tx, room, seq, limit),
                Range::After(seq) => store::messages::after(tx, room, seq, limit),
            }
        })
        .await
}

/// Where a connection's question for history is cut, so that the answer fits into what may wait to be written.
const HISTORY_BYTES: usize = 256 * 1024;

/// The same for a connection, whose answers are bounded in bytes; and whether there is more in that direction.
///
/// # Errors
/// As [`history`].
pub async fn history_page(
    app: &App,
    caller: &Caller,
    room: RoomId,
    range: Range,
    limit: usize,
) -> Result<(Vec<Message>, bool)> {
    let mut messages = history(app, caller, room, range, limit + 1).await?;
    let backwards = !matches!(range, Range::After(_));
    // From here on, what is nearest to the place that was asked for comes first.
    if backwards {
        messages.reverse();
    }
    let mut bytes = 0;
    let fits = messages.iter().take(limit).take_while(|message| {
        bytes += 512 + message.content.len() + 40 * message.reactions.values().map(Vec::len).sum::<usize>();
        bytes <= HISTORY_BYTES
    });
    let kept = fits.count().max(1);
    let more = messages.len() > kept;
    messages.truncate(kept);
    if backwards {
        messages.reverse();
    }
    Ok((messages, more))
}

/// Moves the caller's read marker, never back; whether it moved.
///
/// # Errors
/// 404, 403 as the room says.
pub async fn read(app: &App, caller: &Caller, room: RoomId, seq: u64) -> Result<bool> {
    let work = mark(caller, room, seq, None);
    app.db.write(room.uuid().as_u128(), work).await
}

/// The same from a connection, without waiting: the answer is the room's own event. `done` hears, on a thread of the
/// store, whether anything moved.
pub fn submit_read(
    app: &App,
    caller: &Caller,
    room: RoomId,
    seq: u64,
    origin: Origin,
    done: impl FnOnce(Result<bool>) + std::marker::Send + 'static,
) {
    app.db.submit(room.uuid().as_u128(), mark(caller, room, seq, Some(origin)), done);
}

fn mark(
    caller: &Caller,
    room: RoomId,
    seq: u64,
    origin: Option<Origin>,
) -> impl Fn(&mut Tx<'_>) -> Result<bool> + std::marker::Send + 'static {
    let user = caller.user_id;
    let (room_text, user_text) = (room.to_string(), user.to_string());
    move |tx| {
        authorise(tx, &room_text, &user_text, RoomAction::Read)?;
        let Some(seq) = store::members::read(tx, &room_text, &user_text, seq)? else { return Ok(false) };
        tx.publish(Happening::Room { room, event: RoomEvent::Read { user, seq }, origin: origin.clone() });
        Ok(true)
    }
}

/// Whether the caller may say something in the room: for what is told without being stored.
///
/// # Errors
/// 404, 403 as the room says.
pub async fn may_send(app: &App, caller: &Caller, room: RoomId) -> Result<()> {
    let user = caller.user_id;
    app.db.read(move |tx| authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Send).map(drop)).await
}

/// The room's changes after a sequence number, in order: what fills holes. Whoever hears them is
/// a listener, which ends with their membership. None where the next change was purged.
///
/// # Errors
/// As the store says.
pub async fn changes_after(app: &App, room: RoomId, after: u64, limit: usize) -> Result<Option<Vec<(u64, Change)>>> {
    app.db.read(move |tx| read_changes(tx, room, after, limit)).await
}

/// The same for one reader, who may have been put out meanwhile: 404 then. What was said before that is read, what
/// comes after is not.
///
/// # Errors
/// 404; as the store says.
pub async fn changes_for(
    app: &App,
    caller: &Caller,
    room: RoomId,
    after: u64,
    limit: usize,
) -> Result<Option<Vec<(u64, Change)>>> {
    let user = caller.user_id;
    app.db
        .read(move |tx| {
            let changes = read_changes(tx, room, after, limit)?;
            // Asked last: whoever is a member now was one when each of these was committed.
            authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Read)?;
            Ok(changes)
        })
        .await
}

fn read_changes(tx: &mut Tx<'_>, room: RoomId, after: u64, limit: usize) -> Result<Option<Vec<(u64, Change)>>> {
    let changes = store::changes::after(tx, room, after, limit)?;
    let purged = changes.is_empty() && store::rooms::purged_seq(tx, room)? > after;
    Ok((!purged).then_some(changes))
}
