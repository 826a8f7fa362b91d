//! Deleting an account: it loses its name and all that is its own; what it said stays, by a deleted account.

use std::sync::Arc;

use mesh_protocol::{
    RoomId, UserId,
    credentials::DeleteAccountRequest,
    model::{MemberRole, RemovalReason, UserRole},
};

use super::{
    accounts::ClientInfo,
    admin::Admin,
    audit::{self, action, on_user},
    auth::Caller,
    limits, rooms, sessions, totp,
};
use crate::{
    app::App,
    domain::happening::{Change, Ending, Happening, RoomEvent, UserEvent},
    error::{Error, Kind, Result},
    store::{self, Tx, audit::Trail},
};

/// Reactions that one transaction takes back.
const AT_ONCE: u64 = 100;

fn absent() -> Error {
    Error::new(Kind::NotFound, "not_found", "there is no such user")
}

/// Deletes the caller's own account.
///
/// # Errors
/// 403 `invalid_credentials` or `invalid_code`; 409 `last_admin`; 422 where a code is needed and none is given; 429 after
/// too many failures.
pub async fn delete_me(
    app: &Arc<App>,
    caller: &Caller,
    request: DeleteAccountRequest,
    client: ClientInfo,
) -> Result<()> {
    let user = caller.user_id;
    let attempt = match request.code {
        Some(_) => limits::begin_second_factor(app, user, &caller.username, client.ip)?,
        None => limits::begin_login(app, &caller.username, client.ip)?,
    };
    let checked = totp::check_password(app, user, request.password).await.inspect_err(|e| {
        if e.code == "invalid_credentials" {
            let named = Some((user, caller.username.to_string()));
            audit::login_failed(app, named, client.ip, "wrong_current_password");
        }
    })?;
    let checked = checked.password_hash;
    // Who this is, is decided before anything goes: their reactions go in transactions of their own.
    let (house, code, now) = (app.clone(), request.code, app.clock.now_ms() / 1000);
    app.db
        .write(user.uuid().as_u128(), move |tx| {
            refuse_last_admin(tx, user)?;
            totp::confirm_again(&house, tx, user, code.as_deref(), now)
        })
        .await?;
    attempt.succeeded();
    take_reactions_back(app, user).await?;
    let trail = audit::trail_of(app, caller, Some(client.ip));
    app.db
        .write(0, move |tx| {
            if store::users::by_id(tx, user)?.is_none_or(|account| account.password_hash != checked) {
                let message = "the password was changed from elsewhere in the meantime";
                return Err(Error::new(Kind::Conflict, "conflict", message));
            }
            delete(tx, &trail, user)
        })
        .await
}

/// Deletes somebody's account.
///
/// # Errors
/// 403; 404 where it is absent; 409 `last_admin`.
pub async fn delete_user(app: &App, admin: &Admin, user: UserId) -> Result<()> {
    let asked = admin.clone();
    app.db
        .write(0, move |tx| {
            asked.still(tx)?;
            refuse_last_admin(tx, user)
        })
        .await?;
    take_reactions_back(app, user).await?;
    let (admin, trail) = (admin.clone(), admin.trail(app));
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            delete(tx, &trail, user)
        })
        .await
}

/// Few at a time, so that nobody waits for somebody who liked everything.
async fn take_reactions_back(app: &App, user: UserId) -> Result<()> {
    while app.db.write(0, move |tx| unreact(tx, user, AT_ONCE)).await? == AT_ONCE {}
    Ok(())
}

/// Takes some reactions back, each as a change of its room; how many.
fn unreact(tx: &mut Tx<'_>, user: UserId, limit: u64) -> Result<u64> {
    let reactions = store::farewell::reactions(tx, user, limit)?;
    let user = user.to_string();
    for (room, message_seq, emoji) in &reactions {
        let seq = store::rooms::next_change(tx, room)?.ok_or_else(Error::room_not_found)?;
        let there = store::changes::unreact(tx, room, *message_seq, emoji, &user)?;
        match store::messages::by_seq(tx, room, *message_seq)?.filter(|_| there) {
            Some(message) => {
                let room_id = message.room_id;
                let change = Change::Reacted(Box::new(message));
                store::changes::log(tx, room, seq, *message_seq, &change)?;
                tx.publish(Happening::Change { room: room_id, seq, change, origin: None });
            }
            None => store::rooms::give_back_seq(tx, room)?,
        }
    }
    Ok(reactions.len() as u64)
}

fn refuse_last_admin(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    let account = store::admin::one(tx, user)?.ok_or_else(absent)?;
    if account.role == UserRole::Admin && !account.disabled && !store::admin::another_admin(tx, user)? {
        let message = "this is the last active administrator: make somebody else one first";
        return Err(Error::new(Kind::Conflict, "last_admin", message));
    }
    Ok(())
}

/// Deletes an account, all of it, in this transaction.
///
/// # Errors
/// 404 where it is absent; 409 `last_admin`.
pub fn delete(tx: &mut Tx<'_>, trail: &Trail, user: UserId) -> Result<()> {
    refuse_last_admin(tx, user)?;
    // First, so that nothing of the account is in the way of what follows: its connections end with the commit.
    sessions::end_others(tx, user, None, trail.now, Ending::Disabled)?;
    unreact(tx, user, u64::MAX)?;
    for (room, owner) in store::farewell::rooms(tx, user)? {
        leave(tx, room, user, owner, trail.now)?;
    }
    store::totp::remove(tx, user)?;
    store::push::due::forget(tx, user)?;
    let name = nameless(tx, trail)?;
    if !store::farewell::erase(tx, user, &name, trail.now)? {
        return Err(absent());
    }
    let mut trail = trail.clone();
    if trail.actor == Some(user) {
        (trail.name, trail.ip) = (Some(Arc::from(name.as_str())), None);
    }
    on_user(tx, &trail, action::USER_DELETED, user, &name, None)
}

/// A name that nobody has.
fn nameless(tx: &mut Tx<'_>, trail: &Trail) -> Result<String> {
    for _ in 0..8 {
        let digits = trail.ids.uuid().simple().to_string();
        let name = format!("deleted-{}", digits.get(24..).unwrap_or_default());
        if !store::farewell::is_taken(tx, &name)? {
            return Ok(name);
        }
    }
    Err(Error::internal("no name for a deleted account is free"))
}

/// Takes them out of a room. What they own goes to whoever stands highest and longest; where nobody is left, the room
/// is deleted.
fn leave(tx: &mut Tx<'_>, room: RoomId, user: UserId, owner: bool, now: i64) -> Result<()> {
    let next = store::farewell::successor(tx, room, user)?;
    store::farewell::leave(tx, room, user)?;
    let Some(next) = next else {
        store::farewell::close(tx, room, now)?;
        tx.publish(Happening::Room { room, event: RoomEvent::Deleted, origin: None });
        let event = UserEvent::RoomRemoved { room, reason: RemovalReason::Deleted };
        tx.publish(Happening::User { user, event });
        return Ok(());
    };
    let removed = RoomEvent::MemberRemoved { user, reason: RemovalReason::Left };
    tx.publish(Happening::Room { room, event: removed, origin: None });
    if owner {
        store::farewell::crown(tx, room, next, now)?;
        if let Some(member) = store::members::one(tx, room, next)? {
            debug_assert_eq!(member.role, MemberRole::Owner);
            let event = RoomEvent::MemberUpdated(Box::new(member));
            tx.publish(Happening::Room { room, event, origin: None });
        }
        if let Some(seen) = store::rooms::for_user(tx, room, next)? {
            rooms::tell_updated(tx, seen);
        }
    }
    Ok(())
}
