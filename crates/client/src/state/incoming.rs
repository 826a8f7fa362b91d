//! What the server's events change.

use mesh_protocol::{
    ErrorCode, RoomId,
    event::{
        ServerEvent,
        chat::MessageCreated,
        room::Joined,
        system::{self, Goodbye},
    },
};
use serde::Deserialize as _;
use tokio::time::{Duration, Instant};

use super::{Ask, State};
use crate::{
    Error, Event, Incoming, ambient, backoff,
    roomlog::{Change, RoomLog},
};

impl From<Change> for Event {
    fn from(Change { kind, change }: Change) -> Self {
        match kind {
            None => Self::Message(change),
            Some(kind) => Self::Changed { kind, change },
        }
    }
}

impl State {
    /// The server said something; a goodbye is handed back.
    pub(crate) fn incoming(&mut self, incoming: Incoming, now: Instant) -> Option<Goodbye> {
        let reply_to = incoming.head().reply_to.as_deref();
        let ask = reply_to.and_then(|id| self.online.as_mut()?.asked.remove(id));
        match incoming {
            Incoming::Event { head, event } => match (*event, ask) {
                (ServerEvent::Goodbye(goodbye), _) => {
                    self.outlet.put(Event::Goodbye(goodbye.clone()));
                    return Some(goodbye);
                }
                (ServerEvent::Error(error), Some(ask)) => self.refused(ask, error, now),
                (ServerEvent::Ack(_), Some(Ask::Auth)) => self.outlet.put(Event::Renewed),
                (ServerEvent::RoomJoined(joined), _) => self.joined(joined),
                (ServerEvent::RoomLeft(left), _) => self.left(left.room_id),
                (ServerEvent::MessageCreated(created), ask) => {
                    self.acknowledged(ask, &created);
                    self.change(Change { kind: None, change: created });
                }
                (event, ask) => {
                    if let (ServerEvent::TokenExpiring(_), Some(online)) = (&event, &mut self.online) {
                        online.expiring = true;
                    }
                    // A later protocol's edits, deletions and reactions count in the room's order too.
                    match as_change(&head.kind, || event.payload_json()) {
                        Some(change) => self.change(change),
                        None => self.outlet.put(Event::Other(Box::new(event))),
                    }
                    self.odd_answer(ask, &head.kind);
                }
            },
            Incoming::Unknown { head, payload } => {
                self.odd_answer(ask, &head.kind);
                match as_change(&head.kind, || payload.clone()) {
                    Some(change) => self.change(change),
                    None => self.outlet.put(Event::Unknown { head, payload }),
                }
            }
        }
        None
    }

    fn joined(&mut self, joined: Joined) {
        let (room_id, last_seq) = (joined.room_id, joined.last_seq);
        // None: it was left meanwhile.
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.asking = false;
        room.attempts = 0;
        room.live = true;
        room.known = true;
        for waiter in std::mem::take(&mut room.waiters) {
            waiter.tell(Ok(joined.clone()));
        }
        self.outlet.put(Event::Joined(Box::new(joined.clone())));
        match &mut room.log {
            Some(log) if last_seq < log.given() => {
                *log = RoomLog::new(last_seq);
                self.outlet.put(Event::Rewound { room_id, last_seq });
            }
            Some(log) if joined.gap => log.miss(last_seq),
            Some(_) => {}
            None => room.log = Some(RoomLog::new(last_seq)),
        }
        self.activate(room_id);
    }

    fn left(&mut self, room_id: RoomId) {
        for waiter in self.leaves.remove(&room_id).into_iter().flatten() {
            waiter.tell(Ok(()));
        }
    }

    fn change(&mut self, change: Change) {
        let room_id = change.change.room_id;
        // Before this connection joined, an event is only an answer: joining brings it in its place.
        if let Some(room) = self.rooms.get_mut(&room_id).filter(|room| room.live)
            && let Some(log) = &mut room.log
        {
            log.push(change);
            self.activate(room_id);
        }
    }

    /// Tells those who wait for this message: the one whose event it answers, and whoever gave it this `client_id`
    /// (a replayed message is as good as an answer).
    fn acknowledged(&mut self, ask: Option<Ask>, created: &MessageCreated) {
        let message = &created.message;
        let mine = self.online.as_ref().is_some_and(|online| online.me == message.user_id);
        let keys: Vec<u64> = match ask {
            Some(Ask::Send(key)) => vec![key],
            _ if mine && message.client_id.is_some() => {
                let same = |send: &mesh_protocol::event::chat::MessageSend| {
                    send.room_id == created.room_id && send.client_id == message.client_id
                };
                self.sends.iter().filter(|(_, pending)| same(&pending.message)).map(|(&key, _)| key).collect()
            }
            _ => vec![],
        };
        for pending in keys.iter().filter_map(|key| self.sends.remove(key)) {
            pending.waiter.tell(Ok(message.clone()));
        }
    }

    fn refused(&mut self, ask: Ask, error: system::Error, now: Instant) {
        // The token of another attempt is the source's to give.
        if error.retryable && ask != Ask::Auth {
            let attempts = match ask {
                Ask::Join(room_id) => self.rooms.get_mut(&room_id).map(|room| &mut room.attempts),
                Ask::Send(key) => self.sends.get_mut(&key).map(|pending| &mut pending.attempts),
                Ask::Leave(_) | Ask::Auth => None,
            };
            let attempt = attempts.map_or(0, |attempts| std::mem::replace(attempts, attempts.saturating_add(1)));
            let (min, max) = self.retry;
            let own = backoff::delay(min, max, attempt, ambient::random());
            let at = now + error.retry_after_ms.map_or(own, Duration::from_millis);
            self.next += 1;
            if let Some(online) = &mut self.online {
                if error.code == ErrorCode::RateLimited {
                    online.pace.hold(at);
                }
                online.later.insert((at, self.next), ask);
            }
            return;
        }
        let error = Error::Refused(Box::new(error));
        match ask {
            Ask::Join(room_id) => self.lose(room_id, error),
            // Not there any more: nothing comes from it.
            Ask::Leave(room_id) => self.left(room_id),
            Ask::Send(key) => {
                if let Some(pending) = self.sends.remove(&key) {
                    pending.waiter.tell(Err(error));
                }
            }
            Ask::Auth => self.outlet.put(Event::CredentialNeeded { reason: error.to_string() }),
        }
    }

    /// Another event than its answer answers what was asked.
    fn odd_answer(&mut self, ask: Option<Ask>, kind: &str) {
        let error = || Error::Protocol(format!("{kind} is not the answer to what was asked"));
        match ask {
            Some(Ask::Join(room_id)) => self.lose(room_id, error()),
            Some(Ask::Leave(room_id)) => self.left(room_id),
            Some(Ask::Send(key)) => {
                if let Some(pending) = self.sends.remove(&key) {
                    pending.waiter.tell(Err(error()));
                }
            }
            Some(Ask::Auth) => self.outlet.put(Event::CredentialNeeded { reason: error().to_string() }),
            None => {}
        }
    }
}

/// An event that has the shape of a room's change: `{room_id, seq, message}`.
fn as_change(kind: &str, payload: impl FnOnce() -> serde_json::Value) -> Option<Change> {
    let change = kind.starts_with("chat.").then(|| MessageCreated::deserialize(payload()).ok()).flatten()?;
    Some(Change { kind: Some(kind.to_owned()), change })
}
