//! The server's events as frames: made once, shared by all who get them.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use mesh_protocol::{
    RoomId,
    code::ErrorCode,
    envelope::Header,
    event::{
        Payload,
        chat::{MessageCreated, MessageDeleted, MessageEdited, ReactionUpdated, ReadBy},
        room, system,
    },
    model::Message,
};

use super::{frame, writers::Writers};
use crate::{
    clock::Clock,
    domain::happening::{Change, Origin, RoomEvent, UserEvent},
    error::{Error, Kind},
    ids::Ids,
    metrics::Metrics,
};

/// Bytes that a thread keeps of the place where it writes events before their length is known.
const KEPT: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends an empty place of this thread's: large events would move time and again while they grow.
fn with_scratch<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with_borrow_mut(|text| {
        text.clear();
        let written = write(text);
        if text.capacity() > KEPT {
            *text = Vec::new();
        }
        written
    })
}

/// What all numbered changes carry, borrowed: [`MessageCreated`] and its like own their message.
#[derive(serde::Serialize)]
struct ChangePayload<'a> {
    room_id: RoomId,
    seq: u64,
    message: &'a Message,
}

/// Makes events.
#[derive(Clone)]
pub(super) struct Encoder {
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) metrics: Arc<Metrics>,
    /// Who writes what goes to many.
    pub(super) writers: Writers,
}

impl Encoder {
    fn header<'a>(&self, kind: &'a str, from: &'a str, to: &'a str, reply_to: Option<&'a str>) -> Header<'a> {
        Header { kind, id: self.ids.uuid(), timestamp: self.clock.now(), from, to, reply_to }
    }

    /// An event from the server to one peer.
    pub(super) fn event<P: Payload>(&self, payload: &P, to: &str, reply_to: Option<&str>) -> Bytes {
        self.event_from(payload, "server", to, reply_to)
    }

    /// An event that somebody else caused.
    pub(super) fn event_from<P: Payload>(&self, payload: &P, from: &str, to: &str, reply_to: Option<&str>) -> Bytes {
        self.metrics.events_out.count(P::INDEX);
        with_scratch(|text| {
            // The protocol's own types are always JSON.
            if self.header(P::TYPE, from, to, reply_to).write_event(text, payload).is_err() {
                text.clear();
            }
            frame::text_frame(text)
        })
    }

    /// A refusal.
    pub(super) fn error(&self, refusal: system::Error, to: &str, reply_to: Option<&str>) -> Bytes {
        self.metrics.refuse(refusal.code);
        self.event(&refusal, to, reply_to)
    }

    /// A numbered change as text: the room's own, and with `reply_to` its author's copy.
    pub(super) fn change(
        &self,
        room: RoomId,
        seq: u64,
        change: &Change,
        from: &str,
        to: &str,
        reply_to: Option<&str>,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let (index, kind, message) = match change {
            Change::Created(message) => (MessageCreated::INDEX, MessageCreated::TYPE, message),
            Change::Edited(message) => (MessageEdited::INDEX, MessageEdited::TYPE, message),
            Change::Deleted(message) => (MessageDeleted::INDEX, MessageDeleted::TYPE, message),
            Change::Reacted(message) => (ReactionUpdated::INDEX, ReactionUpdated::TYPE, message),
        };
        self.metrics.events_out.count(index);
        let header = self.header(kind, from, to, None);
        with_scratch(|payload| {
            if serde_json::to_writer(&mut *payload, &ChangePayload { room_id: room, seq, message }).is_err() {
                payload.clear();
            }
            let mut shared = Vec::with_capacity(payload.len() + 256);
            header.write(&mut shared, payload);
            let own = reply_to.map(|id| {
                let mut own = Vec::with_capacity(payload.len() + 256);
                Header { reply_to: Some(id), ..header }.write(&mut own, payload);
                own
            });
            (shared, own)
        })
    }

    /// Something unnumbered that happens in a room: the room's own, and its causer's copy where they wait for one.
    pub(super) fn room_event(
        &self,
        room: RoomId,
        event: &RoomEvent,
        origin: Option<&Origin>,
    ) -> (Bytes, Option<Bytes>) {
        match event {
            RoomEvent::MemberAdded(member) => {
                self.shared(room, &room::MemberAdded { room_id: room, member: (**member).clone() }, origin)
            }
            RoomEvent::MemberUpdated(member) => {
                self.shared(room, &room::MemberUpdated { room_id: room, member: (**member).clone() }, origin)
            }
            RoomEvent::MemberRemoved { user, reason } => {
                self.shared(room, &room::MemberRemoved { room_id: room, user_id: *user, reason: *reason }, origin)
            }
            RoomEvent::Updated(now) => {
                self.shared(room, &room::Updated { room_id: room, room: (**now).clone() }, origin)
            }
            RoomEvent::Deleted => self.shared(room, &room::Deleted { room_id: room }, origin),
            RoomEvent::Read { user, seq } => {
                self.shared(room, &ReadBy { room_id: room, user_id: *user, seq: *seq }, origin)
            }
        }
    }

    fn shared<P: Payload>(&self, room: RoomId, payload: &P, origin: Option<&Origin>) -> (Bytes, Option<Bytes>) {
        let to = room.to_string();
        let from = origin.map_or("server", |o| o.peer.as_str());
        let own = origin.map(|o| self.event_from(payload, from, &to, o.event_id.as_deref()));
        (self.event_from(payload, from, &to, None), own)
    }

    /// Something for one person, as one of their connections gets it.
    pub(super) fn user_event(&self, event: &UserEvent, to: &str) -> Bytes {
        match event {
            UserEvent::RoomAdded(room) => self.event(&room::Added { room: (**room).clone() }, to, None),
            UserEvent::RoomRemoved { room, reason } => {
                self.event(&room::Removed { room_id: *room, reason: *reason }, to, None)
            }
        }
    }
}

/// An error in the words of `system.error`.
pub(super) fn refusal(error: &Error) -> system::Error {
    let code = match error.kind {
        _ if error.code == "peer_offline" => ErrorCode::PeerOffline,
        _ if error.code == "capability_required" => ErrorCode::CapabilityRequired,
        _ if error.code == "capability_invalid" => ErrorCode::CapabilityInvalid,
        Kind::Malformed => ErrorCode::Malformed,
        Kind::NotFound => ErrorCode::NotFound,
        Kind::Forbidden | Kind::Unauthorized => ErrorCode::Forbidden,
        Kind::Conflict | Kind::Gone => ErrorCode::Conflict,
        Kind::TooLarge => ErrorCode::TooLarge,
        Kind::Invalid if error.fields.iter().any(|f| f.field == "content" && f.code == "too_long") => {
            ErrorCode::TooLarge
        }
        Kind::Invalid | Kind::UnsupportedMedia => ErrorCode::InvalidPayload,
        Kind::RateLimited => ErrorCode::RateLimited,
        Kind::Internal | Kind::Unavailable => ErrorCode::Internal,
    };
    if error.kind == Kind::Internal {
        tracing::error!(error = error as &dyn std::error::Error, "an event failed");
    }
    let mut refusal = plain_refusal(code, error.message.clone());
    refusal.retry_after_ms = error.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    if let Some(first) = error.fields.first() {
        refusal.details = Some(details(&first.field));
    }
    if error.code == "insufficient_scope" {
        refusal.details = Some(serde_json::Map::from_iter([("reason".to_owned(), error.code.into())]));
    }
    refusal
}

/// A refusal with nothing but its code and a sentence.
pub(super) fn plain_refusal(code: ErrorCode, message: impl Into<String>) -> system::Error {
    system::Error { code, message: message.into(), retryable: code.retryable(), retry_after_ms: None, details: None }
}

/// Which field of the payload was refused.
pub(super) fn details(field: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::from_iter([("field".to_owned(), field.into())])
}
