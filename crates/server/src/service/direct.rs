//! Direct rooms: the one room of two people, whoever of them asks first.

use mesh_protocol::{
    RoomId, UserId,
    model::{MemberRole, Room, RoomKind},
    rest::DirectRequest,
};

use super::{
    auth::Caller,
    members::{named, named_once},
};
use crate::{
    app::App,
    domain::happening::{Happening, UserEvent},
    error::{Error, Result},
    store::{self, Tx},
};

/// What a direct room is called where the other one is gone.
const NAME: &str = "Direct room";

/// The room of the caller and somebody else, and whether it is new.
///
/// # Errors
/// 404 `unknown_user`; 422 for a request that names nobody, two, or the caller.
pub async fn open(app: &App, caller: &Caller, request: DirectRequest) -> Result<(Room, bool)> {
    named_once(request.username.as_ref(), request.user_id)?;
    let field = if request.username.is_some() { "username" } else { "user_id" };
    let user = caller.user_id;
    let found = app.db.read(move |tx| {
        let other = named(tx, request.username.as_ref(), request.user_id)?.user.id;
        Ok((other, existing(tx, user, other)?))
    });
    let (other, room) = found.await?;
    if other == user {
        return Err(Error::invalid_field(field, "invalid", "must be somebody else: a direct room is of two people"));
    }
    if let Some(room) = room {
        return Ok((room, false));
    }
    let now = app.clock.now();
    let room = Room {
        kind: RoomKind::Direct,
        member_count: 2,
        ..store::rooms::fresh(RoomId::new(app.ids.uuid()), NAME.to_owned(), user, now)
    };
    // Both ask under the same key, so that on one server nobody waits for a lock.
    let key = user.uuid().as_u128() ^ other.uuid().as_u128();
    let (room, new) = app.db.write(key, move |tx| make(tx, &room, user, other)).await?;
    Ok((room, new))
}

/// The room of these two as `user` sees it, where there is one.
fn existing(tx: &mut Tx<'_>, user: UserId, other: UserId) -> Result<Option<Room>> {
    match store::direct::find(tx, &store::direct::key(user, other))? {
        Some(id) => store::rooms::for_user(tx, id, user),
        None => Ok(None),
    }
}

fn make(tx: &mut Tx<'_>, room: &Room, user: UserId, other: UserId) -> Result<(Room, bool)> {
    if !store::direct::insert(tx, room, &store::direct::key(user, other))? {
        let room = existing(tx, user, other)?.ok_or_else(|| Error::internal("a direct room without a key"))?;
        return Ok((room, false));
    }
    let now = room.created_at.as_millis();
    store::members::insert(tx, room.id, user, MemberRole::Owner, now)?;
    store::members::insert(tx, room.id, other, MemberRole::Member, now)?;
    let mut own = None;
    for one in [other, user] {
        let seen = store::rooms::for_user(tx, room.id, one)?.ok_or_else(Error::room_not_found)?;
        tx.publish(Happening::User { user: one, event: UserEvent::RoomAdded(Box::new(seen.clone())) });
        own = Some(seen);
    }
    Ok((own.ok_or_else(Error::room_not_found)?, true))
}
