//! Who was put out of a room for good.

use mesh_protocol::{
    RoomId, UserId,
    limits::MAX_REASON_CHARS,
    model::RemovalReason,
    rest::{Ban, BanRequest},
    text::Description,
};
use serde_json::json;

use super::{
    Page,
    accounts::ClientInfo,
    audit::{self, action},
    auth::Caller,
    members::{expel, named},
    page,
    rooms::{authorise, bad_cursor, hold},
};
use crate::{
    app::App,
    domain::policy::RoomAction,
    error::{Error, Kind, Result},
    store,
};

/// Who may not come back, newest first.
///
/// # Errors
/// 404, 403 as [`authorise`] says; 422 for a cursor that this server did not give.
pub async fn list(app: &App, caller: &Caller, room: RoomId, limit: usize, cursor: Option<&str>) -> Result<Page<Ban>> {
    let (at, last) = match cursor {
        None => (i64::MAX, String::new()),
        Some(text) => text
            .split_once('.')
            .and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())))
            .filter(|(_, id)| UserId::parse(id) != UserId::NOTHING)
            .ok_or_else(bad_cursor)?,
    };
    let user = caller.user_id;
    let bans = app
        .db
        .read(move |tx| {
            authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Ban(None))?;
            store::bans::list(tx, room, at, &last, limit + 1)
        })
        .await?;
    let items = bans.into_iter().map(|ban| {
        let place = (ban.created_at.as_millis(), ban.user_id);
        (ban, place)
    });
    Ok(page(items.collect(), limit, |(at, user)| format!("{at}.{user}")))
}

/// Whether an account is kept out, and why.
///
/// # Errors
/// 404 room, or `not_banned`; 403 role.
pub async fn get(app: &App, caller: &Caller, room: RoomId, user: UserId) -> Result<Ban> {
    let by = caller.user_id;
    app.db
        .read(move |tx| {
            authorise(tx, &room.to_string(), &by.to_string(), RoomAction::Ban(None))?;
            store::bans::one(tx, &room.to_string(), &user.to_string())?.ok_or_else(not_banned)
        })
        .await
}

/// A reason in the form in which it is kept; none where it is blank.
fn reason(request: BanRequest) -> Result<Option<String>> {
    let Some(text) = request.reason else { return Ok(None) };
    let wrong = |code: &str, message: String| Error::invalid_field("reason", code, message);
    let chars = text.chars().count();
    if chars > MAX_REASON_CHARS {
        return Err(wrong("too_long", format!("must have at most {MAX_REASON_CHARS} characters, this has {chars}")));
    }
    let text = Description::parse(text.trim()).map_err(|e| wrong(e.code, e.message))?.into_string();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Keeps an account out: a member is out at once. Again, it says anew why.
///
/// # Errors
/// 404 room, or `unknown_user`; 403 role; 422 for a reason that is not allowed.
pub async fn put(
    app: &App,
    caller: &Caller,
    client: &ClientInfo,
    room: RoomId,
    user: UserId,
    request: BanRequest,
) -> Result<Ban> {
    let reason = reason(request)?;
    let (by, trail) = (caller.user_id, audit::trail_of(app, caller, Some(client.ip)));
    let ban = app
        .db
        .write(room.uuid().as_u128(), move |tx| {
            let (room_text, by_text, user_text) = (room.to_string(), by.to_string(), user.to_string());
            hold(tx, &room_text, &by_text, RoomAction::Ban(None))?;
            let account = named(tx, None, Some(user))?;
            let target = store::members::own(tx, &room_text, &user_text)?.map(|(role, _)| role);
            authorise(tx, &room_text, &by_text, RoomAction::Ban(target))?;
            store::bans::put(tx, &room_text, &user_text, reason.as_deref(), &by_text, trail.now)?;
            expel(tx, room, user, RemovalReason::Banned)?;
            let details = json!({"room_id": room_text, "reason": reason});
            let name = &account.user.username;
            audit::on_user(tx, &trail, action::ROOM_BANNED, user, name, Some(&details))?;
            store::bans::one(tx, &room_text, &user_text)?.ok_or_else(not_banned)
        })
        .await?;
    Ok(ban)
}

fn not_banned() -> Error {
    Error::new(Kind::NotFound, "not_banned", "user_id: this account is not banned from the room")
}

/// Lets an account come back.
///
/// # Errors
/// 404 room, or `not_banned`; 403 role.
pub async fn delete(app: &App, caller: &Caller, client: &ClientInfo, room: RoomId, user: UserId) -> Result<()> {
    let (by, trail) = (caller.user_id, audit::trail_of(app, caller, Some(client.ip)));
    app.db
        .write(room.uuid().as_u128(), move |tx| {
            let (room_text, user_text) = (room.to_string(), user.to_string());
            hold(tx, &room_text, &by.to_string(), RoomAction::Ban(None))?;
            let ban = store::bans::one(tx, &room_text, &user_text)?.ok_or_else(not_banned)?;
            store::bans::delete(tx, &room_text, &user_text)?;
            let details = json!({"room_id": room_text});
            audit::on_user(tx, &trail, action::ROOM_UNBANNED, user, &ban.username, Some(&details))
        })
        .await
}
