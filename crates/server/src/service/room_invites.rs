//! Invites to rooms: whoever has the code may come in, as often and as long as it says.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    RoomId, Timestamp,
    limits::{MAX_INVITE_SECONDS, MAX_INVITE_USES, MAX_ROOM_INVITES, MIN_INVITE_SECONDS},
    model::{MemberRole, Room},
    rest::{CreateRoomInviteRequest, RoomInvite},
};

use super::{
    Page,
    auth::Caller,
    members::{admit, banned},
    page,
    rooms::{authorise, bad_cursor, hold},
};
use crate::{
    app::App,
    domain::policy::RoomAction,
    error::{Error, Fields, Kind, Result},
    store::{self, room_invites::Invite},
};

/// Bytes of a code: nobody guesses 128 bits.
const CODE_BYTES: usize = 16;

/// Whether a text has the form of a code.
fn is_code(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == CODE_BYTES)
}

fn shown(app: &App, invite: &Invite) -> RoomInvite {
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    RoomInvite {
        url: format!("{}/invite/{}", app.config.public_url, invite.code),
        code: invite.code.clone(),
        max_uses: invite.max_uses.map(count),
        uses: count(invite.uses),
        expires_at: invite.expires_at.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(invite.created_at),
        created_by: invite.created_by,
    }
}

/// Makes an invite. Where a room has as many as it may, the oldest that is used up or has ended makes room.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 for bounds that are not allowed; 409 `too_many_invites`.
pub async fn create(app: &App, caller: &Caller, room: RoomId, request: CreateRoomInviteRequest) -> Result<RoomInvite> {
    let mut fields = Fields::default();
    fields.within("max_uses", request.max_uses, &(1..=MAX_INVITE_USES));
    fields.within("expires_in", request.expires_in, &(MIN_INVITE_SECONDS..=MAX_INVITE_SECONDS));
    fields.check()?;
    let now = app.clock.now_ms();
    let invite = Invite {
        code: BASE64_URL_SAFE_NO_PAD.encode(app.ids.random::<CODE_BYTES>()),
        room,
        created_by: Some(caller.user_id),
        created_at: now,
        expires_at: request.expires_in.map(|seconds| now + i64::from(seconds) * 1_000),
        max_uses: request.max_uses.map(i64::from),
        uses: 0,
    };
    let (by, made) = (caller.user_id, invite.clone());
    app.db
        .write(room.uuid().as_u128(), move |tx| {
            let room = room.to_string();
            hold(tx, &room, &by.to_string(), RoomAction::Invite)?;
            let full = store::room_invites::count(tx, &room)? >= MAX_ROOM_INVITES as u64;
            if full && !store::room_invites::forget_dead(tx, &room, now)? {
                let message = format!("a room has at most {MAX_ROOM_INVITES} invites: end one first");
                return Err(Error::new(Kind::Conflict, "too_many_invites", message));
            }
            store::room_invites::insert(tx, &made)
        })
        .await?;
    Ok(shown(app, &invite))
}

/// A room's invites, newest first; used up and ended ones too, as long as there is room for them.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 for a cursor that this server did not give.
pub async fn list(
    app: &App,
    caller: &Caller,
    room: RoomId,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<RoomInvite>> {
    let (at, last) = match cursor {
        None => (i64::MAX, String::new()),
        Some(text) => text
            .split_once('.')
            .and_then(|(at, code)| Some((at.parse().ok()?, code.to_owned())))
            .filter(|(_, code)| is_code(code))
            .ok_or_else(bad_cursor)?,
    };
    let user = caller.user_id;
    let invites = app
        .db
        .read(move |tx| {
            let room = room.to_string();
            authorise(tx, &room, &user.to_string(), RoomAction::Invite)?;
            store::room_invites::list(tx, &room, at, &last, limit + 1)
        })
        .await?;
    let items = invites.into_iter().map(|invite| (shown(app, &invite), invite)).collect();
    Ok(page(items, limit, |last: &Invite| format!("{}.{}", last.created_at, last.code)))
}

fn absent() -> Error {
    Error::new(Kind::NotFound, "unknown_invite", "there is no such invite")
}

/// Ends an invite: nobody comes in with it any more.
///
/// # Errors
/// 404 room, or `unknown_invite`; 403 role.
pub async fn delete(app: &App, caller: &Caller, room: RoomId, code: String) -> Result<()> {
    let user = caller.user_id;
    app.db
        .write(room.uuid().as_u128(), move |tx| {
            let room = room.to_string();
            authorise(tx, &room, &user.to_string(), RoomAction::Invite)?;
            if is_code(&code) && store::room_invites::delete(tx, &room, &code)? { Ok(()) } else { Err(absent()) }
        })
        .await
}

/// Comes into a room with an invite. Whoever is in it already stays, and uses nothing up.
///
/// # Errors
/// 404 `unknown_invite`; 410 `invite_ended` where it is used up or has ended; 403 `banned`.
pub async fn accept(app: &App, caller: &Caller, code: String) -> Result<Room> {
    if !is_code(&code) {
        return Err(absent());
    }
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let asked = code.clone();
    let invite = app.db.read(move |tx| store::room_invites::by_code(tx, &asked)).await?.ok_or_else(absent)?;
    let room = invite.room;
    let seen = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            let (room_text, user_text) = (room.to_string(), user.to_string());
            // Asked again once the room is held: another server may have let the same person in meanwhile.
            if store::members::own(tx, &room_text, &user_text)?.is_none()
                && store::rooms::hold(tx, &room_text)?
                && store::members::own(tx, &room_text, &user_text)?.is_none()
            {
                // Whoever was put out a moment ago is found banned, and a use is taken once for each who comes.
                store::room_invites::by_code(tx, &code)?.ok_or_else(absent)?;
                if store::bans::one(tx, &room_text, &user_text)?.is_some() {
                    return Err(banned());
                }
                if !store::room_invites::take(tx, &code, now)? {
                    let message = "the invite is used up, or has ended: ask for another";
                    return Err(Error::new(Kind::Gone, "invite_ended", message));
                }
                admit(tx, room, user, MemberRole::Member, now)?;
            }
            store::rooms::for_user(tx, room, user)?.ok_or_else(Error::room_not_found)
        })
        .await?;
    Ok(seen)
}
