//! Rooms and their members.

use mesh_protocol::{
    RoomId, UserId,
    event::room::Joined,
    limits::JOINED_MEMBERS,
    model::{Member, MemberRole, Room, RoomKind, Visibility},
    rest::{AddMemberRequest, CreateRoomRequest},
    text::{Description, RoomName, Username},
};

use super::{Page, page};
use crate::{
    app::App,
    domain::{
        happening::{Happening, RoomEvent, UserEvent},
        policy::{self, RoomAction},
    },
    error::{Error, Fields, Kind, Result},
    service::auth::Caller,
    store::{self, Tx, rooms::After},
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
        id: RoomId::new(app.ids.uuid()),
        name: name.into_string(),
        description: description.map(Description::into_string).filter(|text| !text.is_empty()),
        visibility: request.visibility.unwrap_or(Visibility::Private),
        kind: RoomKind::Group,
        owner_id: user,
        my_role: Some(MemberRole::Owner),
        member_count: 1,
        last_seq: 0,
        read_seq: 0,
        unread: 0,
        mentions: 0,
        retention_days: None,
        created_at: now,
        updated_at: now,
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
            .and_then(|(at, id)| Some(After { activity_at: at.parse().ok()?, id: id.to_owned() }))
            .filter(|after| RoomId::parse(&after.id) != RoomId::NOTHING)
            .ok_or_else(bad_cursor)?,
    };
    let user = caller.user_id;
    let rooms = app.db.read(move |tx| store::rooms::list(tx, user, public, &after, limit + 1)).await?;
    Ok(page(rooms, limit, |after| format!("{}.{}", after.activity_at, after.id)))
}

fn bad_cursor() -> Error {
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

/// Who is in a room, by name; with `online`, only those who are connected.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 for a cursor that this server did not give.
pub async fn members(
    app: &App,
    caller: &Caller,
    room: RoomId,
    online: bool,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<Member>> {
    let mut after = match cursor {
        None => String::new(),
        Some(name) => Username::parse(name).map_err(|_| bad_cursor())?.key(),
    };
    let user = caller.user_id;
    let mut found: Vec<(Member, String)> = Vec::new();
    loop {
        let from = after.clone();
        let mut members = app
            .db
            .read(move |tx| {
                authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Read)?;
                store::members::by_name(tx, room, &from, limit + 1)
            })
            .await?;
        let complete = members.len() <= limit;
        if let Some((_, last)) = members.last() {
            after.clone_from(last);
        }
        if online {
            members.retain(|(member, _)| app.presence.is_online(member.user_id));
        }
        found.extend(members);
        if complete || found.len() > limit {
            break;
        }
    }
    let mut members = page(found, limit, Clone::clone);
    app.presence.fill(&mut members.items);
    Ok(members)
}

/// Makes somebody a member.
///
/// # Errors
/// 404 room; 403 role; 422 for a request that names nobody known; 409 `already_member`.
pub async fn add_member(app: &App, caller: &Caller, room: RoomId, request: AddMemberRequest) -> Result<Member> {
    let role = request.role.unwrap_or(MemberRole::Member);
    if request.username.is_some() == request.user_id.is_some() {
        return Err(Error::invalid_field("username", "required", "name either username or user_id"));
    }
    if role == MemberRole::Owner {
        return Err(Error::forbidden("a room has one owner; ownership is handed over, not granted"));
    }
    let by = caller.user_id;
    let now = app.clock.now_ms();
    let member = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            let action = RoomAction::AddMember(role);
            authorise(tx, &room.to_string(), &by.to_string(), action)?;
            let (field, account) = match (&request.username, request.user_id) {
                (Some(name), _) => match Username::parse(name) {
                    Ok(name) => ("username", store::users::by_name(tx, name.as_str())?),
                    // Nobody has such a name.
                    Err(_) => ("username", None),
                },
                (None, Some(id)) => ("user_id", store::users::by_id(tx, id)?),
                (None, None) => ("username", None),
            };
            let account = account.ok_or_else(|| {
                Error::new(Kind::NotFound, "unknown_user", format!("{field}: there is no such account"))
            })?;
            admit(tx, room, account.user.id, role, now)?
                .ok_or_else(|| Error::new(Kind::Conflict, "already_member", "this account is a member already"))
        })
        .await?;
    let mut members = [member];
    app.presence.fill(&mut members);
    let [member] = members;
    Ok(member)
}

/// Makes `user` a member and tells the room and the person; none where they are one already.
fn admit(tx: &mut Tx<'_>, room: RoomId, user: UserId, role: MemberRole, now: i64) -> Result<Option<Member>> {
    if !store::members::insert(tx, room, user, role, now)? {
        return Ok(None);
    }
    let member = store::members::one(tx, room, user)?;
    let seen = store::rooms::for_user(tx, room, user)?;
    let (Some(member), Some(seen)) = (member, seen) else { return Err(Error::room_not_found()) };
    tx.publish(Happening::Room { room, event: RoomEvent::MemberAdded(Box::new(member.clone())), origin: None });
    tx.publish(Happening::User { user, event: UserEvent::RoomAdded(Box::new(seen)) });
    Ok(Some(member))
}

/// What `room.join` answers, its `gap` not decided, and up to where the room's log may have holes, since it was purged.
/// Joining a public room makes the caller a member.
///
/// # Errors
/// 404 where it is absent, or private and the caller is not in it.
pub async fn join(app: &App, caller: &Caller, room: RoomId) -> Result<(Joined, u64)> {
    let user = caller.user_id;
    let enter = move |tx: &mut Tx<'_>| store::members::standing(tx, room, user)?.ok_or_else(Error::room_not_found);
    let mut standing = app.db.read(enter).await?;
    if standing.role.is_none() {
        if standing.visibility != Visibility::Public {
            return Err(Error::room_not_found());
        }
        let now = app.clock.now_ms();
        standing = app
            .db
            .write(room.uuid().as_u128(), move |tx| {
                admit(tx, room, user, MemberRole::Member, now)?;
                store::members::standing(tx, room, user)?.ok_or_else(Error::room_not_found)
            })
            .await?;
    }
    let role = standing.role.ok_or_else(Error::room_not_found)?;
    let (online_count, members) = roster(app, room, standing.member_count).await?;
    let joined = Joined {
        room_id: room,
        role,
        last_seq: standing.last_seq,
        read_seq: standing.read_seq,
        gap: false,
        online_count,
        members_complete: members.len() as u64 >= standing.member_count,
        members,
    };
    Ok((joined, standing.purged_seq))
}

/// How many members are online, and at most 200 members, those online first: what a join costs is bounded, however
/// large the room.
async fn roster(app: &App, room: RoomId, count: u64) -> Result<(u64, Vec<Member>)> {
    let (online_count, online) = app.presence.online_in(room, JOINED_MEMBERS);
    let small = count <= JOINED_MEMBERS as u64;
    let mut members = app
        .db
        .read(move |tx| {
            let mut members = Vec::new();
            if !small {
                for user in &online {
                    members.extend(store::members::one(tx, room, *user)?);
                }
            }
            for (member, _) in store::members::by_name(tx, room, "", JOINED_MEMBERS)? {
                if members.len() < JOINED_MEMBERS && (small || !online.contains(&member.user_id)) {
                    members.push(member);
                }
            }
            Ok(members)
        })
        .await?;
    app.presence.fill(&mut members);
    members.sort_by_key(|m| !m.online);
    Ok((online_count, members))
}

/// The rooms that `user` is in.
///
/// # Errors
/// As the store says.
pub async fn memberships(app: &App, user: UserId) -> Result<Vec<RoomId>> {
    app.db.read(move |tx| store::members::rooms_of(tx, user)).await
}

/// The rooms that `system.welcome` lists, and whether that is all of them.
///
/// # Errors
/// As the store says.
pub async fn welcome(app: &App, user: UserId, limit: usize) -> Result<(Vec<Room>, bool)> {
    let mut rooms = app.db.read(move |tx| store::rooms::list(tx, user, false, &After::default(), limit + 1)).await?;
    let complete = rooms.len() <= limit;
    rooms.truncate(limit);
    Ok((rooms.into_iter().map(|(room, _)| room).collect(), complete))
}
