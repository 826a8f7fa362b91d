//! Rooms: what they are called, who finds them, and how one is entered live.

use std::{collections::HashSet, sync::Arc};

use mesh_protocol::{
    RoomId, UserId,
    event::room::Joined,
    limits::{JOINED_MEMBERS, MAX_RETENTION_DAYS},
    model::{Member, MemberRole, RemovalReason, Room, Visibility},
    rest::{CreateRoomRequest, UpdateRoomRequest},
    text::{Description, RoomName},
};
use serde_json::json;

use super::{
    Page,
    accounts::ClientInfo,
    audit::{self, action},
    members, page,
};
use crate::{
    app::App,
    domain::{
        happening::{Happening, RoomEvent, UserEvent},
        policy::{self, RoomAction},
    },
    error::{Error, Fields, Result},
    service::auth::Caller,
    store::{self, Tx, audit::Target, members::Standing, rooms::After},
};

/// The one place that decides whether a caller may do something in a room. A private room of others does not exist
/// for them; a public one exists, but asks to be joined first.
///
/// # Errors
/// 404 or 403.
pub(super) fn authorise(tx: &mut Tx<'_>, room: &str, user: &str, action: RoomAction) -> Result<MemberRole> {
    match store::members::role(tx, room, user)? {
        Some(role) if policy::allows(role, action) => Ok(role),
        Some(role) => Err(Error::forbidden(format!("your role in this room ({}) does not allow it", role.as_str()))),
        None if store::rooms::is_public(tx, room)? => Err(Error::forbidden("join this room first")),
        None => Err(Error::room_not_found()),
    }
}

/// Makes a room, whose owner the caller is.
///
/// # Errors
/// 422 with every field that is not allowed.
pub async fn create(app: &App, caller: &Caller, request: CreateRoomRequest) -> Result<Room> {
    let mut fields = Fields::default();
    let name = fields.take("name", RoomName::parse(&request.name));
    let description = fields.take_opt("description", request.description.as_deref().map(Description::parse));
    let Some(name) = name else { return Err(fields.into_error()) };
    fields.check()?;
    let now = app.clock.now();
    let user = caller.user_id;
    let room = Room {
        description: description.map(Description::into_string).filter(|text| !text.is_empty()),
        visibility: request.visibility.unwrap_or(Visibility::Private),
        my_role: Some(MemberRole::Owner),
        member_count: 1,
        ..store::rooms::fresh(RoomId::new(app.ids.uuid()), name.into_string(), user, now)
    };
    let room = app
        .db
        .write(room.id.uuid().as_u128(), move |tx| {
            store::rooms::insert(tx, &room)?;
            store::members::insert(tx, room.id, user, MemberRole::Owner, now.as_millis())?;
            tx.publish(Happening::User { user, event: UserEvent::RoomAdded(Box::new(room.clone())) });
            Ok(room.clone())
        })
        .await?;
    Ok(room)
}

/// The caller's rooms, or with `public` those that everybody may join; newest activity first.
///
/// # Errors
/// 422 for a cursor that this server did not give.
pub async fn list(app: &App, caller: &Caller, public: bool, limit: usize, cursor: Option<&str>) -> Result<Page<Room>> {
    let after = match cursor {
        None => After::default(),
        Some(text) => text
            .split_once('.')
            .and_then(|(at, id)| Some(After { activity_at: at.parse().ok()?, id: RoomId::parse(id) }))
            .filter(|after| after.id != RoomId::NOTHING)
            .ok_or_else(bad_cursor)?,
    };
    let user = caller.user_id;
    let rooms = app.db.read(move |tx| store::rooms::list(tx, user, public, &after, limit + 1)).await?;
    Ok(page(rooms, limit, |after| format!("{}.{}", after.activity_at, after.id)))
}

pub(super) fn bad_cursor() -> Error {
    Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list")
}

/// One room.
///
/// # Errors
/// 404 where it is absent, or private and the caller is not in it.
pub async fn get(app: &App, caller: &Caller, id: RoomId) -> Result<Room> {
    let user = caller.user_id;
    let room = app.db.read(move |tx| store::rooms::for_user(tx, id, user)).await?;
    room.filter(|r| r.my_role.is_some() || r.visibility == Visibility::Public).ok_or_else(Error::room_not_found)
}

/// What a caller asks of a room, with the room held until the transaction ends: what is decided about its members and
/// its settings stays true. A stranger holds nothing.
///
/// # Errors
/// As [`authorise`].
pub(super) fn hold(tx: &mut Tx<'_>, room: &str, user: &str, action: RoomAction) -> Result<MemberRole> {
    authorise(tx, room, user, action)?;
    store::rooms::hold(tx, room)?;
    authorise(tx, room, user, action)
}

/// Changes a room; what is absent stays.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 with every field that is not allowed.
pub async fn update(app: &App, caller: &Caller, id: RoomId, request: UpdateRoomRequest) -> Result<Room> {
    let mut fields = Fields::default();
    let name = fields.take_opt("name", request.name.as_deref().map(RoomName::parse)).map(RoomName::into_string);
    let given = request.description.as_ref().map(|text| text.as_deref().unwrap_or_default());
    let description = fields.take_opt("description", given.map(Description::parse)).map(Description::into_string);
    if request.retention_days.flatten().is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
        fields.add("retention_days", "out_of_range", format!("must be from 1 to {MAX_RETENTION_DAYS}, or null"));
    }
    fields.check()?;
    let UpdateRoomRequest { visibility, retention_days, .. } = request;
    let (user, now) = (caller.user_id, app.clock.now());
    app.db
        .write(id.uuid().as_u128(), move |tx| {
            let (room, by) = (id.to_string(), user.to_string());
            // Whoever asks for nothing but the retention needs no more than that.
            let edits = name.is_some() || description.is_some() || visibility.is_some() || retention_days.is_none();
            if edits {
                hold(tx, &room, &by, RoomAction::Edit)?;
            }
            if retention_days.is_some() {
                hold(tx, &room, &by, RoomAction::SetRetention)?;
            }
            let before = store::rooms::for_user(tx, id, user)?.ok_or_else(Error::room_not_found)?;
            let mut after = before.clone();
            if let Some(name) = &name {
                after.name.clone_from(name);
            }
            if let Some(text) = &description {
                after.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            after.visibility = visibility.unwrap_or(before.visibility);
            after.retention_days = retention_days.unwrap_or(before.retention_days);
            if after != before {
                after.updated_at = now;
                store::rooms::update(tx, &after)?;
                tell_updated(tx, after.clone());
            }
            Ok(after)
        })
        .await
}

/// Tells the room what it is now, without what differs from caller to caller: all get the same bytes.
pub(super) fn tell_updated(tx: &mut Tx<'_>, room: Room) {
    let shared = Room { my_role: None, read_seq: 0, unread: 0, mentions: 0, missed_calls: None, ..room };
    tx.publish(Happening::Room { room: shared.id, event: RoomEvent::Updated(Box::new(shared)), origin: None });
}

/// Deletes a room. Nobody is in it or finds it any more; its log follows in small steps.
///
/// # Errors
/// 404, 403 as [`authorise`] says.
pub async fn delete(app: &App, caller: &Caller, client: &ClientInfo, id: RoomId) -> Result<()> {
    let (user, trail) = (caller.user_id, audit::trail_of(app, caller, Some(client.ip)));
    app.db
        .write(id.uuid().as_u128(), move |tx| {
            let room = id.to_string();
            hold(tx, &room, &user.to_string(), RoomAction::Delete)?;
            let seen = store::rooms::for_user(tx, id, user)?.ok_or_else(Error::room_not_found)?;
            let target = Target { kind: "room", id: &room, name: Some(&seen.name) };
            let details = json!({"members": seen.member_count, "last_seq": seen.last_seq});
            store::audit::record(tx, &trail, action::ROOM_DELETED, Some(target), Some(&details))?;
            close(tx, id, trail.now)
        })
        .await?;
    Ok(())
}

/// Closes a room for good, and tells the room and everybody who was in it; who that was.
pub(super) fn close(tx: &mut Tx<'_>, id: RoomId, now: i64) -> Result<Vec<UserId>> {
    let room = id.to_string();
    let members = store::members::users_of(tx, &room)?;
    store::rooms::close(tx, &room, now)?;
    tx.publish(Happening::Room { room: id, event: RoomEvent::Deleted, origin: None });
    for user in &members {
        let event = UserEvent::RoomRemoved { room: id, reason: RemovalReason::Deleted };
        tx.publish(Happening::User { user: *user, event });
    }
    Ok(members)
}

/// What `room.join` answers, its `gap` not decided and without what is shared, and up to where the room's log may have holes, since it was purged.
/// Joining a public room makes the caller a member.
///
/// # Errors
/// 404 where it is absent, or private and the caller is not in it; 403 where the caller is banned from it.
pub async fn join(app: &App, caller: &Caller, room: RoomId) -> Result<(Joined, u64)> {
    let user = caller.user_id;
    // Those online who are listed, the caller among them.
    let (_, online) = app.presence.online_in(room, JOINED_MEMBERS);
    let others = online.into_iter().filter(|other| *other != user);
    let listed: Arc<[UserId]> = std::iter::once(user).chain(others).take(JOINED_MEMBERS).collect();
    let online = listed.clone();
    // Whoever is in it already, nearly everybody, is answered with one question to the store.
    let found = app.db.read(move |tx| look_in(tx, room, user, &online)).await?;
    let (standing, mut members) = match found.0 {
        Standing { role: Some(_), .. } => found,
        Standing { visibility: Visibility::Public, .. } => {
            let now = app.clock.now_ms();
            let entered = move |tx: &mut Tx<'_>| {
                members::enter(tx, room, user, now)?;
                look_in(tx, room, user, &listed)
            };
            app.db.write(room.uuid().as_u128(), entered).await?
        }
        _ => return Err(Error::room_not_found()),
    };
    let role = standing.role.ok_or_else(Error::room_not_found)?;
    let (online_count, _) = app.presence.online_in(room, 0);
    app.presence.fill(&mut members);
    members.sort_by_key(|m| !m.online);
    let joined = Joined {
        room_id: room,
        role,
        last_seq: standing.last_seq,
        read_seq: standing.read_seq,
        gap: false,
        online_count,
        members_complete: members.len() as u64 >= standing.member_count,
        members,
        files: Vec::new(),
        terminals: Vec::new(),
    };
    Ok((joined, standing.purged_seq))
}

/// How `user` stands in a room, and whom a member is told of.
fn look_in(tx: &mut Tx<'_>, room: RoomId, user: UserId, online: &[UserId]) -> Result<(Standing, Vec<Member>)> {
    let standing = store::members::standing(tx, room, user)?.ok_or_else(Error::room_not_found)?;
    let members = match standing.role {
        Some(_) => roster(tx, room, standing.member_count, online)?,
        None => Vec::new(),
    };
    Ok((standing, members))
}

/// At most 200 of a room's `count` members, those who are `online` among them: what a join costs is bounded, however
/// large the room.
fn roster(tx: &mut Tx<'_>, room: RoomId, count: u64, online: &[UserId]) -> Result<Vec<Member>> {
    let small = count <= JOINED_MEMBERS as u64;
    let mut members = if small { Vec::new() } else { store::members::some(tx, room, online)? };
    if members.len() < JOINED_MEMBERS {
        let listed: HashSet<_> = members.iter().map(|member| member.user_id).collect();
        let others = store::members::by_name(tx, room, "", JOINED_MEMBERS)?.into_iter().map(|(member, _)| member);
        let left = JOINED_MEMBERS - members.len();
        members.extend(others.filter(|member| !listed.contains(&member.user_id)).take(left));
    }
    Ok(members)
}
