//! Joining a room: the answer, what is missing, then live; each sequence number exactly once, in order.

use std::sync::{Arc, PoisonError};

use mesh_protocol::{CloseCode, RoomId, event::room::Join, limits::RECOVERY_LIMIT};

use super::{
    conn::{Close, Conn, MAX_JOINED},
    frame,
    hub::{Hub, Joining},
};
use crate::{
    domain::{
        outqueue::Class,
        recovery::{CatchUp, Plan, plan},
    },
    error::{Error, Kind, Result},
    service::{auth::Caller, chat, rooms},
};

/// Changes replayed at once.
const PAGE: usize = 100;
/// A join goes on when less than this waits to be written.
pub(super) const LOW_WATER: usize = 256 * 1024;
/// Bytes of a replay that are queued at once: whoever reads at all is never too slow for them.
const PIECE: usize = 128 * 1024;

/// Answers `room.join` and makes the connection a listener.
///
/// # Errors
/// 404 where the room is absent or private and not the caller's; 409 where the connection has joined too many.
pub(super) async fn join(
    hub: &Arc<Hub>,
    conn: &Arc<Conn>,
    caller: &Caller,
    ask: &Join,
    id: Option<&str>,
) -> Result<()> {
    let room = ask.room_id;
    let app = hub.app();
    {
        let joined = conn.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.len() >= MAX_JOINED && !joined.contains(&room) {
            let message = format!("a connection joins at most {MAX_JOINED} rooms");
            return Err(Error::new(Kind::Conflict, "conflict", message));
        }
    }
    // Many joins at once fill the queue no faster than it is read.
    conn.drained(LOW_WATER).await;
    // Joined already: it begins anew, as the client asks.
    hub.unlisten(room, conn.number);
    let joining = hub.begin_join(room);
    let (mut answer, purged) = rooms::join(app, caller, room).await?;
    (answer.files, answer.terminals) = hub.shared_in(room);
    let known = answer.last_seq;
    let plan = plan(ask.since_seq, known, purged, RECOVERY_LIMIT);
    answer.gap = plan == Plan::Gap;
    let to = conn.peer().map_or("server", mesh_protocol::PeerId::as_str);
    conn.push(Class::Reply, hub.encoder.event(&answer, to, id));
    drop(answer);
    {
        let mut joined = conn.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if !joined.contains(&room) {
            joined.push(room);
        }
    }
    let catch = CatchUp::new(plan.position(known));
    let listening = listen(hub, conn, caller, &joining, room, catch, known).await;
    if ask.since_seq.is_some() {
        app.metrics.resumes.count_word(match &listening {
            Err(_) => "failed",
            Ok(()) if plan == Plan::Gap => "gap",
            Ok(()) => "complete",
        });
    }
    if let Err(e) = &listening
        && matches!(e.kind, Kind::NotFound | Kind::Forbidden)
    {
        // Put out while it was joining: `room.removed` says so.
        hub.leave(room, conn);
    } else if let Err(e) = listening {
        // It was told that it has joined: nothing else can be told of it, and the client begins anew.
        tracing::error!(error = &e as &dyn std::error::Error, %room, "a join failed after its answer");
        conn.close(Close::new(CloseCode::GoingAway, "internal"));
    }
    Ok(())
}

/// Replays what is missing and makes the connection a listener.
async fn listen(
    hub: &Arc<Hub>,
    conn: &Arc<Conn>,
    caller: &Caller,
    joining: &Joining,
    room: RoomId,
    mut catch: CatchUp,
    known: u64,
) -> Result<()> {
    // What was there when the answer was made is replayed before anything else.
    while catch.position() < known {
        replay(hub, conn, caller, room, &mut catch).await?;
    }
    loop {
        // The ring may hold as much again as may wait.
        conn.drained(LOW_WATER).await;
        match joining.try_listen(conn, &catch, known) {
            Ok(()) => return Ok(()),
            Err(after) => catch.advance(after),
        }
        replay(hub, conn, caller, room, &mut catch).await?;
    }
}

/// Sends one page of what comes after `catch`.
///
/// # Errors
/// 404 or 403 where the caller was put out meanwhile.
async fn replay(hub: &Arc<Hub>, conn: &Arc<Conn>, caller: &Caller, room: RoomId, catch: &mut CatchUp) -> Result<()> {
    conn.drained(LOW_WATER).await;
    let after = catch.position();
    let changes = chat::changes_for(hub.app(), caller, room, after, PAGE).await?;
    let changes = changes.ok_or_else(|| Error::internal(format!("room {room} was purged while it was replayed")))?;
    let to = room.to_string();
    let mut frames = Vec::new();
    for (seq, change) in &changes {
        if catch.admit(*seq) {
            let (shared, _) = hub.encoder.change(room, *seq, change, "server", &to, None);
            frame::write_text(&mut frames, &shared);
        }
        if frames.len() >= PIECE {
            conn.push(Class::Ordered, std::mem::take(&mut frames).into());
            conn.drained(LOW_WATER).await;
        }
    }
    if catch.position() == after {
        // The store told of a change that it does not have: nothing may be told as if it were whole.
        return Err(Error::internal(format!("the log of room {room} has a hole after {after}")));
    }
    conn.push(Class::Ordered, frames.into());
    Ok(())
}
