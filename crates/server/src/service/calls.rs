//! Ringing: who may ring whom, and what push hears of it.

use mesh_protocol::{CallId, RoomId, UserId};

use super::{
    auth::Caller,
    outbox::{self, Call},
    peers,
    rooms::authorise,
};
use crate::{
    app::App,
    domain::{policy::RoomAction, ring::MAX_OTHERS},
    error::{Error, Kind, Result},
    store,
};

/// Lets `caller` ring the others of `room`, and notes it for those who are not connected; how many others there are.
///
/// # Errors
/// 404 where the caller is not a member, 403 where their role may not ring, 409 where the room is too large for it.
pub async fn ring(app: &App, caller: &Caller, room: RoomId, call: &CallId) -> Result<u64> {
    peers::must_be_in(app, caller.user_id, room)?;
    let (push, call, from, now) = (app.push.clone(), call.clone(), caller.user_id, app.clock.now_ms());
    let ring = move |tx: &mut store::Tx<'_>| {
        authorise(tx, &room.to_string(), &from.to_string(), RoomAction::Ring)?;
        let standing = store::members::standing(tx, room, from)?.ok_or_else(Error::room_not_found)?;
        let others = standing.member_count.saturating_sub(1);
        if others > MAX_OTHERS {
            let message = format!("a room of more than {MAX_OTHERS} others is not rung");
            return Err(Error::new(Kind::Conflict, "room_too_large", message));
        }
        outbox::ring(&push, tx, Call { id: call.as_str(), room, from }, now)?;
        Ok(others)
    };
    let others = app.db.write(room.uuid().as_u128(), ring).await?;
    app.push.wake();
    Ok(others)
}

/// It rings no more. Where nobody answered, `declined` are those who did not want it: for all others it is recorded that
/// they missed it, and push tells them; else push takes back what has not left. Waits for nothing.
pub fn over(app: &App, room: RoomId, call: &CallId, from: UserId, declined: Option<Vec<UserId>>) {
    if declined.is_none() && !app.push.is_on() {
        return;
    }
    let (push, call, now) = (app.push.clone(), call.clone(), app.clock.now_ms());
    let woken = push.clone();
    let tell = move |tx: &mut store::Tx<'_>| {
        let call = Call { id: call.as_str(), room, from };
        let Some(declined) = &declined else { return outbox::unring(&push, tx, call) };
        store::members::missed_call(tx, room, from, declined, now)?;
        outbox::missed(&push, tx, call, now)
    };
    let done = move |outcome: Result<()>| match outcome {
        Ok(()) => woken.wake(),
        Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "that a call rings no more was not recorded"),
    };
    app.db.submit(room.uuid().as_u128(), tell, done);
}
