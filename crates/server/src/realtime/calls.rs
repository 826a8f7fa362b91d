//! The events of `rtc`: two peers of a room arrange a call, and hear when it is over.

use std::sync::Arc;

use mesh_protocol::{
    CallId, RoomId,
    event::{
        Payload,
        rtc::{Answer as RtcAnswer, Bye, Ice, Offer, Signal},
        system::{Ack, Error as Refusal},
    },
    model::Capability,
};

use super::{
    dispatch::{Answer, Command},
    encode::refusal,
    hub::{Hub, locked},
    relay::{Counterpart, own_end},
};
use crate::{
    domain::{
        call::{MAX_OPENED, Refused, Word},
        gone::{End, Gone},
    },
    error::{Error, Kind, Result},
    service::{
        auth::{self, Caller},
        capabilities, peers,
    },
};

/// Both have made an offer.
const GLARE: &str = "glare";

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Answer,
    Ice,
    Bye,
}

/// Hands an offer on: what it needs is looked up first.
pub(super) fn offer(caller: Arc<Caller>, signal: Signal, to: Option<&str>, answer: Answer) -> Option<Command> {
    let to = to.map(str::to_owned);
    Some(Box::pin(async move {
        match offered(&answer, &caller, signal, to.as_deref()).await {
            Ok(()) if answer.id.is_some() => {
                let ack = Ack { polite: Some(false), ..Ack::default() };
                answer.send(answer.hub.encoder.event(&ack, answer.peer(), answer.id.as_deref()));
            }
            Ok(()) => {}
            Err(e) => answer.refuse(refused(&e)),
        }
    }))
}

async fn offered(answer: &Answer, caller: &Caller, mut signal: Signal, to: Option<&str>) -> Result<()> {
    let (hub, room) = (&answer.hub, signal.room_id);
    let Some(own) = own_end(&answer.conn) else { return Ok(()) };
    let to = hub.counterpart(caller, &own.peer, "to", to, room)?;
    let token = signal.capability_token.take();
    let wanted = [Capability::Call, Capability::Screen];
    let claims = capabilities::shown(hub.app(), caller, token.as_deref(), room, &wanted, &to.end.peer).await?;
    hub.say(&own, &to, room, &signal.call_id.clone(), Word::Offer(claims.sid), &Offer(signal))?;
    // The login may have ended since it was looked at, before there was a call to end.
    if auth::session_lives(hub.app(), claims.sid).await.is_err() {
        hub.gone(&Gone::Logins { user: caller.user_id, sessions: &[claims.sid] });
    }
    Ok(())
}

/// Hands on what belongs to a call that is open.
pub(super) fn part(caller: &Caller, part: Part, mut signal: Signal, to: Option<&str>, answer: &Answer) {
    let (hub, room, call) = (&answer.hub, signal.room_id, signal.call_id.clone());
    let Some(own) = own_end(&answer.conn) else { return };
    // It needs none here, and nobody else is to see it.
    signal.capability_token = None;
    let outcome = hub.counterpart(caller, &own.peer, "to", to, room).and_then(|to| match part {
        Part::Answer => hub.say(&own, &to, room, &call, Word::Answer, &RtcAnswer(signal)),
        Part::Ice => hub.say(&own, &to, room, &call, Word::Ice, &Ice(signal)),
        Part::Bye => hub.say(&own, &to, room, &call, Word::Bye, &Bye(signal)),
    });
    match outcome {
        Ok(()) => answer.ack(),
        Err(e) => answer.refuse(refused(&e)),
    }
}

/// A refusal; of a conflict, programs are told which one, and after a glare who is the polite one.
pub(super) fn refused(error: &Error) -> Refusal {
    let mut refusal = refusal(error);
    if error.kind == Kind::Conflict {
        let mut details = serde_json::Map::from_iter([("reason".to_owned(), error.code.into())]);
        if error.code == GLARE {
            details.insert("polite".to_owned(), true.into());
        }
        refusal.details = Some(details);
    }
    refusal
}

fn conflict(code: &'static str, message: &str) -> Error {
    Error::new(Kind::Conflict, code, message)
}

impl Hub {
    /// Hands on what one peer says to another within a call, if it is their turn.
    fn say<P: Payload>(
        &self,
        own: &End,
        to: &Counterpart,
        room: RoomId,
        call: &CallId,
        word: Word,
        payload: &P,
    ) -> Result<()> {
        // Under the lock, so that what the two hear is in the order in which it was judged.
        let mut calls = locked(&self.calls);
        let ends = [own, &to.end];
        let deliver = || self.still_there(room, ends) && self.relay(payload, &own.peer, &to.conn);
        let outcome = calls.say(room, call, ends, word, deliver);
        self.app().metrics.calls.set(calls.len());
        drop(calls);
        if outcome.is_ok() && matches!(word, Word::Offer(_) | Word::Answer) {
            self.answered(room, call, own);
        }
        outcome.map_err(|refused| match refused {
            Refused::NoCall => {
                let message =
                    format!("there is no call {call:?} with {} in this room; an offer opens one", to.end.peer);
                Error::new(Kind::NotFound, "not_found", message)
            }
            Refused::Glare => conflict(GLARE, "the other peer's offer came first: take yours back and answer it"),
            Refused::NothingToAnswer => conflict("nothing_to_answer", "there is no offer of the other peer to answer"),
            Refused::TooMany => {
                conflict("too_many", &format!("a connection may have opened {MAX_OPENED} calls at once"))
            }
            Refused::NotDelivered => peers::offline(&to.end.peer),
        })
    }

    /// Ends the calls that stand on what is gone, and tells those of the two who are still there.
    pub(super) fn end_calls(&self, gone: &Gone<'_>) {
        let mut calls = locked(&self.calls);
        if calls.is_empty() {
            return;
        }
        for ended in calls.end(gone) {
            let [opener, other] = &ended.ends;
            for (end, far) in [(opener, other), (other, opener)] {
                self.tell_end(&Bye::by_server(ended.room, ended.call.clone(), &far.peer, ended.reason), end);
            }
        }
        self.app().metrics.calls.set(calls.len());
    }
}
