//! The bare broadcaster of `limit.rs` beside Mesh (`--reference`): the same loads from the same clients.

use std::sync::Arc;

use mesh_protocol::{
    MessageId, RoomId, Timestamp, UserId,
    envelope::Header,
    event::{Payload as _, chat::MessageCreated},
    model::Message,
};
use uuid::Uuid;

use super::{
    Fallible,
    load::{self, Listener},
    target::Target,
    wire::Socket,
};

/// Starts it, with so many who listen, and one who speaks.
///
/// # Errors
/// Where it does not start, or a connection breaks.
pub(super) async fn hall(count: usize, at_once: usize) -> Fallible<(Target, Socket, Vec<Listener>)> {
    let target = Target::start_limit().await?;
    let addr = target.addr.clone();
    let done = Arc::default();
    let opened = load::many(count, at_once, &done, move |_| {
        let addr = addr.clone();
        async move { Ok(Listener::new(Socket::upgrade(&addr, "/", false).await?, 0)) }
    });
    let receivers = opened.await?;
    let sender = Socket::upgrade(&target.addr, "/", false).await?;
    load::settle(target.process).await?;
    Ok((target, sender, receivers))
}

/// What Mesh would have made of message `seq`: it is given the whole, and passes it on.
pub(super) fn event(seq: u64, size: usize) -> String {
    let (id, room_id, now) =
        (Uuid::from_u128(u128::from(seq)), RoomId::new(Uuid::from_u128(7)), Timestamp::from_millis(1));
    let message = Message {
        id: MessageId::new(id),
        room_id,
        seq,
        user_id: UserId::new(Uuid::from_u128(9)),
        username: "bench-00000000-0".to_owned(),
        content: load::said_now(size),
        created_at: now,
        edited_at: None,
        deleted_at: None,
        reply_to_id: None,
        client_id: Some(format!("s{seq}")),
        reactions: Default::default(),
        mentions: Vec::new(),
    };
    let (from, to) = (Uuid::from_u128(8).to_string(), room_id.to_string());
    let header = Header { kind: MessageCreated::TYPE, id, timestamp: now, from: &from, to: &to, reply_to: None };
    let mut out = Vec::new();
    // The protocol's own types are always JSON.
    let _ = header.write_event(&mut out, &MessageCreated { room_id, seq, message });
    String::from_utf8(out).unwrap_or_default()
}
