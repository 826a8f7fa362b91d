//! Who is in a room, and in which role.

use mesh_protocol::{
    RoomId, UserId,
    model::{Member, MemberRole, RemovalReason, Room, RoomKind, Visibility},
    rest::{AddMemberRequest, UpdateMemberRequest},
    text::Username,
};

use super::{
    Page, page,
    rooms::{authorise, bad_cursor, hold, tell_updated},
};
use crate::{
    app::App,
    domain::{
        happening::{Happening, RoomEvent, UserEvent},
        policy::RoomAction,
    },
    error::{Error, Kind, Result},
    service::auth::Caller,
    store::{self, Tx, users::Account},
};

/// Whom a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The caller: `me`.
    Me,
    /// The account with this id, which may be the caller's.
    User(UserId),
}

impl Whom {
    fn of(self, caller: &Caller) -> UserId {
        match self {
            Self::Me => caller.user_id,
            Self::User(user) => user,
        }
    }
}

/// Who is in a room, by name; with `online`, only those who are connected.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 for a cursor that this server did not give.
pub async fn list(
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

/// Checks that an account is named in one of two ways.
pub(super) fn named_once(username: Option<&String>, user_id: Option<UserId>) -> Result<()> {
    if username.is_some() == user_id.is_some() {
        return Err(Error::invalid_field("username", "required", "name either username or user_id"));
    }
    Ok(())
}

/// The account that a request names.
///
/// # Errors
/// 404 `unknown_user`.
pub(super) fn named(tx: &mut Tx<'_>, username: Option<&String>, user_id: Option<UserId>) -> Result<Account> {
    let (field, account) = match (username, user_id) {
        (Some(name), _) => match Username::parse(name) {
            Ok(name) => ("username", store::users::by_name(tx, name.as_str())?),
            // Nobody has such a name.
            Err(_) => ("username", None),
        },
        (None, Some(id)) => ("user_id", store::users::by_id(tx, id)?),
        (None, None) => ("username", None),
    };
    account.ok_or_else(|| Error::new(Kind::NotFound, "unknown_user", format!("{field}: there is no such account")))
}

/// Makes somebody a member.
///
/// # Errors
/// 404 room; 403 role; 422 for a request that names nobody known; 409 `already_member`, `banned`.
pub async fn add(app: &App, caller: &Caller, room: RoomId, request: AddMemberRequest) -> Result<Member> {
    let role = request.role.unwrap_or(MemberRole::Member);
    named_once(request.username.as_ref(), request.user_id)?;
    let by = caller.user_id;
    let now = app.clock.now_ms();
    let member = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            hold(tx, &room.to_string(), &by.to_string(), RoomAction::AddMember(role))?;
            let user = named(tx, request.username.as_ref(), request.user_id)?.user.id;
            if store::bans::one(tx, &room.to_string(), &user.to_string())?.is_some() {
                let message = "this account is banned from the room: end the ban first";
                return Err(Error::new(Kind::Conflict, "banned", message));
            }
            admit(tx, room, user, role, now)?
                .ok_or_else(|| Error::new(Kind::Conflict, "already_member", "this account is a member already"))
        })
        .await?;
    app.presence.show_in(member.user_id, &[room]);
    Ok(shown(app, member))
}

/// A member with who is there of their peers.
fn shown(app: &App, member: Member) -> Member {
    let mut members = [member];
    app.presence.fill(&mut members);
    let [member] = members;
    member
}

/// Makes `user` a member and tells the room and the person; none where they are one already. Whether they may is the
/// caller's to decide.
pub(super) fn admit(tx: &mut Tx<'_>, room: RoomId, user: UserId, role: MemberRole, now: i64) -> Result<Option<Member>> {
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

/// 403 for whoever was put out for good.
pub(super) fn banned() -> Error {
    Error::new(Kind::Forbidden, "banned", "you are banned from this room")
}

/// `user` enters a public room. Whoever is in it already stays.
///
/// # Errors
/// 404 where it is absent or private, and `user` is not in it; 403 `banned`.
pub(super) fn enter(tx: &mut Tx<'_>, room: RoomId, user: UserId, now: i64) -> Result<()> {
    let (room_text, user_text) = (room.to_string(), user.to_string());
    if store::members::own(tx, &room_text, &user_text)?.is_some() {
        return Ok(());
    }
    // A stranger of a private room holds nothing.
    if !store::rooms::is_public(tx, &room_text)? {
        return Err(Error::room_not_found());
    }
    store::rooms::hold(tx, &room_text)?;
    if !store::rooms::is_public(tx, &room_text)? {
        return Err(Error::room_not_found());
    }
    if store::bans::one(tx, &room_text, &user_text)?.is_some() {
        return Err(banned());
    }
    admit(tx, room, user, MemberRole::Member, now).map(drop)
}

/// Enters a public room.
///
/// # Errors
/// 404 where it is absent, or private and the caller is not in it; 403 `banned`.
pub async fn join(app: &App, caller: &Caller, room: RoomId) -> Result<Room> {
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let seen = app.db.read(move |tx| store::rooms::for_user(tx, room, user)).await?;
    let seen = seen.ok_or_else(Error::room_not_found)?;
    match (seen.my_role, seen.visibility) {
        (Some(_), _) => return Ok(seen),
        (None, Visibility::Private) => return Err(Error::room_not_found()),
        (None, Visibility::Public) => {}
    }
    let seen = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            enter(tx, room, user, now)?;
            store::rooms::for_user(tx, room, user)?.ok_or_else(Error::room_not_found)
        })
        .await?;
    app.presence.show_in(user, &[room]);
    Ok(seen)
}

/// 404 for an account that is no member.
fn unknown_member() -> Error {
    Error::new(Kind::NotFound, "unknown_member", "user_id: this account is no member of the room")
}

/// 409 for what would leave a room without its owner.
fn last_owner() -> Error {
    let message = "the owner cannot go: hand the room over first, or delete it";
    Error::new(Kind::Conflict, "last_owner", message)
}

/// Gives a member another role, or with `owner` hands the room over.
///
/// # Errors
/// 404 room, or `unknown_member`; 403 role; 409 `last_owner`.
pub async fn update(
    app: &App,
    caller: &Caller,
    room: RoomId,
    whom: Whom,
    request: UpdateMemberRequest,
) -> Result<Member> {
    let (by, user, granted) = (caller.user_id, whom.of(caller), request.role);
    let member = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            let (room_text, by_text, user_text) = (room.to_string(), by.to_string(), user.to_string());
            let own = hold(tx, &room_text, &by_text, RoomAction::Read)?;
            let Some((target, kind)) = store::members::own(tx, &room_text, &user_text)? else {
                return Err(unknown_member());
            };
            let action = match (user == by, granted) {
                _ if kind == RoomKind::Direct => RoomAction::ChangeRole { target: MemberRole::Member, granted },
                // What one is already is no change.
                (true, granted) if granted == own => RoomAction::Read,
                (true, _) if own == MemberRole::Owner => return Err(last_owner()),
                (true, granted) => RoomAction::StepDown(granted),
                (false, MemberRole::Owner) => RoomAction::HandOver,
                (false, granted) => RoomAction::ChangeRole { target, granted },
            };
            authorise(tx, &room_text, &by_text, action)?;
            if action == RoomAction::HandOver {
                hand_over(tx, room, by, user)?;
            } else if granted != target {
                change_role(tx, room, user, granted)?;
            }
            store::members::one(tx, room, user)?.ok_or_else(unknown_member)
        })
        .await?;
    Ok(shown(app, member))
}

/// Writes down a member's role and tells the room.
fn change_role(tx: &mut Tx<'_>, room: RoomId, user: UserId, role: MemberRole) -> Result<()> {
    store::members::set_role(tx, &room.to_string(), &user.to_string(), role)?;
    let member = store::members::one(tx, room, user)?.ok_or_else(unknown_member)?;
    tx.publish(Happening::Room { room, event: RoomEvent::MemberUpdated(Box::new(member)), origin: None });
    Ok(())
}

/// Makes `to` the owner and `from`, who was it, an admin. The room must be held, and both be members.
pub(super) fn hand_over(tx: &mut Tx<'_>, room: RoomId, from: UserId, to: UserId) -> Result<()> {
    store::rooms::set_owner(tx, &room.to_string(), &to.to_string())?;
    change_role(tx, room, to, MemberRole::Owner)?;
    change_role(tx, room, from, MemberRole::Admin)?;
    let seen = store::rooms::for_user(tx, room, to)?.ok_or_else(Error::room_not_found)?;
    tell_updated(tx, seen);
    Ok(())
}

/// Puts somebody out, or leaves.
///
/// # Errors
/// 404 room, or `unknown_member`; 403 role; 409 `last_owner`, `direct_room`.
pub async fn remove(app: &App, caller: &Caller, room: RoomId, whom: Whom) -> Result<()> {
    let (by, user) = (caller.user_id, whom.of(caller));
    app.db
        .write(room.uuid().as_u128(), move |tx| {
            let (room_text, by_text, user_text) = (room.to_string(), by.to_string(), user.to_string());
            hold(tx, &room_text, &by_text, RoomAction::Read)?;
            let Some((target, kind)) = store::members::own(tx, &room_text, &user_text)? else {
                return Err(unknown_member());
            };
            if user != by {
                authorise(tx, &room_text, &by_text, RoomAction::Kick(target))?;
                return expel(tx, room, user, RemovalReason::Kicked).map(drop);
            }
            if kind == RoomKind::Direct {
                let message = "nobody leaves a direct room: it is the one room of these two";
                return Err(Error::new(Kind::Conflict, "direct_room", message));
            }
            if target == MemberRole::Owner {
                return Err(last_owner());
            }
            expel(tx, room, user, RemovalReason::Left).map(drop)
        })
        .await?;
    app.presence.hide_in(user, room);
    Ok(())
}

/// Ends a membership, and tells the room and the person; false where there was none.
pub(super) fn expel(tx: &mut Tx<'_>, room: RoomId, user: UserId, reason: RemovalReason) -> Result<bool> {
    if !store::members::remove(tx, &room.to_string(), &user.to_string())? {
        return Ok(false);
    }
    tx.publish(Happening::Room { room, event: RoomEvent::MemberRemoved { user, reason }, origin: None });
    tx.publish(Happening::User { user, event: UserEvent::RoomRemoved { room, reason } });
    Ok(true)
}
