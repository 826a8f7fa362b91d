//! The events of `chat`: what is said in rooms, and what becomes of it.

use std::sync::{Arc, PoisonError};

use mesh_protocol::{
    MessageId, RoomId,
    event::chat::{History, HistoryPage, MessageSend, Read, Typing},
    rest::PostMessageRequest,
};

use super::{
    dispatch::{Answer, Command},
    encode::refusal,
    join::LOW_WATER,
};
use crate::{
    domain::happening::Origin,
    error::{Error, Result},
    service::{
        amend::{self, What},
        auth::Caller,
        chat::{self, Range, Sends},
    },
};

/// Messages that `chat.history` gives unless asked for another number, and at most.
const HISTORY_DEFAULT: u64 = 50;
const HISTORY_MOST: u64 = 200;

/// Adds a send to those that go to the store together. Its answer is the room's event, so that it stands in the room's order.
pub(super) fn say(caller: &Caller, send: MessageSend, answer: Answer, sends: &mut Sends) {
    let Some(peer) = answer.conn.peer().cloned() else { return };
    let app = answer.hub.app().clone();
    let origin = Origin { conn: answer.conn.number, peer, event_id: answer.id.clone() };
    let request = PostMessageRequest {
        content: send.content,
        client_id: send.client_id.or_else(|| answer.id.as_deref().map(str::to_owned)),
        reply_to_id: send.reply_to_id,
    };
    answer.conn.begin_send();
    let answer = Arc::new(answer);
    let later = answer.clone();
    let done = move |outcome| {
        later.outcome(outcome);
        later.conn.end_send();
    };
    if let Err(e) = chat::submit(&app, caller, send.room_id, request, origin, sends, done) {
        answer.outcome(Err(e));
        answer.conn.end_send();
    }
}

/// What a change asked for by a connection needs: whose it is, and what answers where the room's own event does not.
fn submitted(answer: Answer) -> Option<(Origin, impl FnOnce(Result<bool>) + Send + 'static)> {
    let peer = answer.conn.peer().cloned()?;
    let origin = Origin { conn: answer.conn.number, peer, event_id: answer.id.clone() };
    answer.conn.begin_send();
    let done = move |outcome: Result<bool>| {
        match outcome {
            Ok(true) => {}
            Ok(false) => answer.ack(),
            Err(e) => answer.refuse(refusal(&e)),
        }
        answer.conn.end_send();
    };
    Some((origin, done))
}

/// Gives a change of a message to the store. Its answer is the room's event, so that it stands in the room's order.
pub(super) fn amend(caller: &Caller, room: RoomId, message: MessageId, what: What, answer: Answer) -> Option<Command> {
    let app = answer.hub.app().clone();
    let (origin, done) = submitted(answer)?;
    amend::submit(&app, caller, room, message, what, origin, done);
    None
}

/// Tells the room's others that somebody writes. Who has joined may; who has not is asked for.
pub(super) fn typing(caller: Arc<Caller>, ask: Typing, answer: Answer) -> Option<Command> {
    let joined = answer.conn.joined.lock().unwrap_or_else(PoisonError::into_inner).contains(&ask.room_id);
    if joined {
        answer.hub.typing(ask.room_id, caller.user_id, answer.peer(), ask.typing);
        answer.ack();
        return None;
    }
    Some(Box::pin(async move {
        match chat::may_send(answer.hub.app(), &caller, ask.room_id).await {
            Ok(()) => {
                answer.hub.typing(ask.room_id, caller.user_id, answer.peer(), ask.typing);
                answer.ack();
            }
            Err(e) => answer.refuse(refusal(&e)),
        }
    }))
}

/// Answers `chat.history`.
pub(super) async fn history(answer: &Answer, caller: &Caller, ask: History) -> Result<()> {
    let limit = ask.limit.unwrap_or(HISTORY_DEFAULT);
    if !(1..=HISTORY_MOST).contains(&limit) {
        let message = format!("must be 1 to {HISTORY_MOST}");
        return Err(Error::invalid_field("limit", "out_of_range", message));
    }
    let range = match (ask.before_seq, ask.after_seq) {
        (None, None) => Range::Latest,
        (Some(before), None) => Range::Before(before),
        (_, Some(after)) => Range::After(after),
    };
    answer.conn.drained(LOW_WATER).await;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut messages, mut more) = chat::history_page(answer.hub.app(), caller, ask.room_id, range, limit).await?;
    if let (Some(before), Some(_)) = (ask.before_seq, ask.after_seq) {
        let all = messages.len();
        messages.retain(|message| message.seq < before);
        more &= messages.len() == all;
    }
    let page = HistoryPage { room_id: ask.room_id, messages, more };
    answer.send(answer.hub.encoder.event(&page, answer.peer(), answer.id.as_deref()));
    Ok(())
}

/// Gives how far somebody has read to the store. Its answer is the room's event.
pub(super) fn read(caller: &Caller, ask: &Read, answer: Answer) -> Option<Command> {
    let app = answer.hub.app().clone();
    let (origin, done) = submitted(answer)?;
    chat::submit_read(&app, caller, ask.room_id, ask.seq, origin, done);
    None
}
