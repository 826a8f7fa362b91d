//! What becomes of messages after they were said: edited, deleted, reacted to.

use mesh_protocol::{
    MessageId, RoomId, Timestamp, UserId,
    model::Message,
    text::{Content, Emoji},
};

use super::rooms::authorise;
use crate::{
    app::App,
    domain::{
        happening::{Change, Happening, Origin},
        mentions::mentioned,
        policy::RoomAction,
    },
    error::{Error, Fields, Kind, Result},
    service::auth::Caller,
    store::{self, Tx},
};

/// Different reactions of one message.
const MAX_EMOJI: usize = 32;
/// Reactions of one message, so that a message stays a bounded piece of bytes.
const MAX_REACTIONS: usize = 1_000;

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It says this from now on.
    Edit(String),
    /// It says nothing any more.
    Delete,
    /// The caller reacts so.
    React(String),
    /// The caller takes that reaction back.
    Unreact(String),
}

/// Which change it was.
type Made = fn(Box<Message>) -> Change;

/// A change of a message, checked.
struct Amendment {
    room: RoomId,
    room_text: String,
    user: UserId,
    user_text: String,
    message_text: String,
    what: What,
    names: Vec<String>,
    now: Timestamp,
    origin: Option<Origin>,
}

impl Amendment {
    fn new(
        app: &App,
        caller: &Caller,
        room: RoomId,
        message: MessageId,
        what: What,
        origin: Option<Origin>,
    ) -> Result<Self> {
        let mut fields = Fields::default();
        let max = app.config.max_message_chars as usize;
        let mut names = Vec::new();
        let what = match what {
            What::Edit(content) => fields.take("content", Content::parse(&content, max)).map(|content| {
                names = mentioned(content.as_str());
                What::Edit(content.into_string())
            }),
            What::Delete => Some(What::Delete),
            What::React(emoji) => fields.take("emoji", Emoji::parse(&emoji)).map(|e| What::React(e.into_string())),
            What::Unreact(emoji) => fields.take("emoji", Emoji::parse(&emoji)).map(|e| What::Unreact(e.into_string())),
        };
        let Some(what) = what else { return Err(fields.into_error()) };
        Ok(Self {
            room,
            room_text: room.to_string(),
            user: caller.user_id,
            user_text: caller.user_id.to_string(),
            message_text: message.to_string(),
            what,
            names,
            now: app.clock.now(),
            origin,
        })
    }

    /// Authorises, changes and publishes; the message as it is now, and whether that is any different.
    fn run(&self, tx: &mut Tx<'_>) -> Result<(Message, bool)> {
        let room = self.room_text.as_str();
        authorise(tx, room, &self.user_text, RoomAction::Send)?;
        // The number first: it locks the room, so that what is read next cannot change under us.
        let seq = store::rooms::next_change(tx, room)?.ok_or_else(Error::room_not_found)?;
        let mut message = store::messages::by_id(tx, &self.message_text, room)?.ok_or_else(message_not_found)?;
        let Some(change) = self.change(tx, &mut message, seq)? else {
            store::rooms::give_back_seq(tx, room)?;
            return Ok((message, false));
        };
        let change = change(Box::new(message.clone()));
        store::changes::log(tx, room, seq, message.seq, &change)?;
        tx.publish(Happening::Change { room: self.room, seq, change, origin: self.origin.clone() });
        Ok((message, true))
    }

    /// Makes the change; none where there is nothing to do.
    fn change(&self, tx: &mut Tx<'_>, message: &mut Message, seq: u64) -> Result<Option<Made>> {
        let room = self.room_text.as_str();
        let deleted = message.deleted_at.is_some();
        match &self.what {
            What::Edit(content) => {
                if message.user_id != self.user {
                    return Err(Error::forbidden("only its author changes a message"));
                }
                if deleted {
                    return Err(message_deleted());
                }
                if *content == message.content {
                    return Ok(None);
                }
                message.mentions = store::messages::named(tx, room, &self.names)?;
                let mentions = store::messages::mentions_text(&message.mentions);
                store::changes::edit(tx, room, message.seq, content, mentions.as_deref(), self.now.as_millis())?;
                store::messages::mention(tx, room, message.seq, &message.mentions, message.user_id)?;
                message.content.clone_from(content);
                message.edited_at = Some(self.now);
                Ok(Some(Change::Edited))
            }
            What::Delete => {
                if message.user_id != self.user {
                    authorise(tx, room, &self.user_text, RoomAction::DeleteAny)?;
                }
                if deleted {
                    return Ok(None);
                }
                store::changes::delete(tx, room, message.seq, self.now.as_millis())?;
                message.content = String::new();
                message.mentions = Vec::new();
                message.reactions.clear();
                message.deleted_at = Some(self.now);
                Ok(Some(Change::Deleted))
            }
            What::React(emoji) => {
                if deleted {
                    return Err(message_deleted());
                }
                let there = message.reactions.get(emoji);
                if there.is_some_and(|users| users.contains(&self.user)) {
                    return Ok(None);
                }
                let all: usize = message.reactions.values().map(Vec::len).sum();
                if all >= MAX_REACTIONS || (there.is_none() && message.reactions.len() >= MAX_EMOJI) {
                    let told =
                        format!("a message takes at most {MAX_EMOJI} different reactions, {MAX_REACTIONS} in all");
                    return Err(Error::new(Kind::Conflict, "too_many_reactions", told));
                }
                if !store::changes::react(tx, room, message.seq, emoji, &self.user_text, seq)? {
                    return Ok(None);
                }
                message.reactions.entry(emoji.clone()).or_default().push(self.user);
                Ok(Some(Change::Reacted))
            }
            What::Unreact(emoji) => {
                if !store::changes::unreact(tx, room, message.seq, emoji, &self.user_text)? {
                    return Ok(None);
                }
                if let Some(users) = message.reactions.get_mut(emoji) {
                    users.retain(|user| *user != self.user);
                    if users.is_empty() {
                        message.reactions.remove(emoji);
                    }
                }
                Ok(Some(Change::Reacted))
            }
        }
    }
}

fn message_not_found() -> Error {
    Error::new(Kind::NotFound, "not_found", "this room has no such message")
}

fn message_deleted() -> Error {
    Error::new(Kind::Conflict, "message_deleted", "this message is deleted")
}

/// Changes a message and waits for the commit; the message as it is now.
///
/// # Errors
/// 404 room or message; 403 as the room says, or where somebody else said it; 409 where it is deleted or takes no more
/// reactions; 422 with the field that is not allowed.
pub async fn now(app: &App, caller: &Caller, room: RoomId, message: MessageId, what: What) -> Result<Message> {
    let amendment = Amendment::new(app, caller, room, message, what, None)?;
    let (message, _) = app.db.write(room.uuid().as_u128(), move |tx| amendment.run(tx)).await?;
    Ok(message)
}

/// The same from a connection, without waiting: the answer is the room's own event, told after the commit. `done`
/// hears, usually on a thread of the store, whether there was anything to do.
pub fn submit(
    app: &App,
    caller: &Caller,
    room: RoomId,
    message: MessageId,
    what: What,
    origin: Origin,
    done: impl FnOnce(Result<bool>) + Send + 'static,
) {
    match Amendment::new(app, caller, room, message, what, Some(origin)) {
        Ok(amendment) => {
            app.db.submit(room.uuid().as_u128(), move |tx| amendment.run(tx).map(|(_, changed)| changed), done);
        }
        Err(e) => done(Err(e)),
    }
}
