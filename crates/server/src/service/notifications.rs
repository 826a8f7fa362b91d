//! How people want to be told of what happens while they are away, and what administrators see of it.

use std::time::Duration;

use mesh_protocol::{
    RoomId, Timestamp,
    push::{
        GotifyRequest, GotifySettings, NotificationRequest, NotificationSettings, OutboxEntry, OutboxState, PushState,
        PushTest, PushToken, RoomNotifications, RoomNotificationsRequest,
    },
};
use uuid::Uuid;

use super::{Page, admin::Admin, auth::Caller, outbox, page, rooms::authorise};
use crate::{
    app::App,
    config::Secret,
    domain::{
        policy::RoomAction,
        push::{Quiet, clock_face, minute, time_zone},
    },
    error::{Error, Fields, Kind, Result},
    push::Verdict,
    store::{
        self,
        push::{Settings, dead, due},
    },
};

/// Longest application token.
const TOKEN_CHARS: usize = 200;
/// The most urgent priority.
const MAX_PRIORITY: u32 = 10;

fn state(app: &App) -> PushState {
    if app.push.is_on() { PushState::On } else { PushState::Off }
}

fn shown(app: &App, settings: &Settings) -> GotifySettings {
    let driver = app.push.driver();
    let token = if settings.sealed_token.is_some() && driver.is_none_or(|d| d.takes_own_tokens()) {
        PushToken::Own
    } else if driver.is_some_and(|d| d.has_default()) {
        PushToken::Server
    } else {
        PushToken::None
    };
    GotifySettings { push: state(app), token, enabled: settings.enabled, min_priority: settings.min_priority }
}

/// How the caller is reached.
///
/// # Errors
/// As the store says.
pub async fn gotify(app: &App, caller: &Caller) -> Result<GotifySettings> {
    let user = caller.user_id;
    let settings = app.db.read(move |tx| store::push::settings(tx, user)).await?;
    Ok(shown(app, &settings))
}

/// Sets how the caller is reached. What failed for them before is tried again at once.
///
/// # Errors
/// 422 with every field that is not allowed.
pub async fn set_gotify(app: &App, caller: &Caller, request: GotifyRequest) -> Result<GotifySettings> {
    let mut fields = Fields::default();
    if let Some(token) = &request.token {
        if token.is_empty() {
            fields.add("token", "too_short", "must not be empty");
        } else if token.chars().count() > TOKEN_CHARS {
            fields.add("token", "too_long", format!("must have at most {TOKEN_CHARS} characters"));
        } else if !token.bytes().all(|b| b.is_ascii_graphic()) {
            fields.add("token", "invalid", "must be visible ASCII characters without spaces, as Gotify shows it");
        }
    }
    let min_priority = request.min_priority.unwrap_or(0);
    if min_priority > MAX_PRIORITY {
        fields.add("min_priority", "out_of_range", format!("must be from 0 to {MAX_PRIORITY}"));
    }
    fields.check()?;
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let enabled = request.enabled.unwrap_or(true);
    let sealed = match &request.token {
        Some(token) => Some(app.keys.seal(&outbox::purpose(user), token.as_bytes())?),
        None => None,
    };
    let has_default = app.push.driver().is_some_and(|driver| driver.has_default());
    let saved = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            let mut settings = store::push::settings(tx, user)?;
            if let Some(sealed) = &sealed {
                settings.sealed_token = Some(sealed.clone());
                due::hurry(tx, user, now)?;
            }
            if settings.sealed_token.is_none() && enabled && !has_default {
                return Err(Error::invalid_field("token", "required", "give your Gotify application token"));
            }
            settings.enabled = enabled;
            settings.min_priority = u8::try_from(min_priority).unwrap_or(u8::MAX);
            store::push::save(tx, user, &settings)?;
            Ok(settings)
        })
        .await?;
    app.push.due.notify_one();
    Ok(shown(app, &saved))
}

/// Forgets the caller's token and what belongs to it.
///
/// # Errors
/// As the store says.
pub async fn remove_gotify(app: &App, caller: &Caller) -> Result<()> {
    let user = caller.user_id;
    app.db
        .write(user.uuid().as_u128(), move |tx| {
            let settings = store::push::settings(tx, user)?;
            let default = Settings::default();
            let (enabled, min_priority) = (default.enabled, default.min_priority);
            store::push::save(tx, user, &Settings { sealed_token: None, enabled, min_priority, ..settings })
        })
        .await
}

/// Sends the caller a notification now, and tells what became of it.
///
/// # Errors
/// 409 `push_off` or `no_token`; 429 where several others test at this moment.
pub async fn test_gotify(app: &App, caller: &Caller) -> Result<PushTest> {
    let Some(driver) = app.push.driver() else {
        return Err(Error::new(Kind::Conflict, "push_off", "this server has no push server"));
    };
    let busy = |_| Error::rate_limited("too many tests are under way; try again in a moment", Duration::from_secs(10));
    let _turn = app.push.tests.try_acquire().map_err(busy)?;
    let user = caller.user_id;
    let settings = app.db.read(move |tx| store::push::settings(tx, user)).await?;
    let token = match settings.sealed_token.filter(|_| driver.takes_own_tokens()) {
        Some(sealed) => {
            let opened = app.keys.open(&outbox::purpose(user), &sealed).and_then(|b| String::from_utf8(b).ok());
            let lost = || Error::new(Kind::Conflict, "no_token", "your token cannot be read any more; give it again");
            Some(Secret::new(opened.ok_or_else(lost)?))
        }
        None if driver.has_default() => None,
        None => return Err(Error::new(Kind::Conflict, "no_token", "give your Gotify application token first")),
    };
    let note = outbox::test_note(app, &caller.username, token, settings.locale);
    let outcome = driver.send(&note).await;
    let delivered = outcome.verdict == Verdict::Delivered;
    Ok(PushTest { delivered, status: outcome.status, detail: format!("{}: {}", driver.name(), outcome.detail) })
}

fn shown_settings(app: &App, settings: &Settings) -> NotificationSettings {
    NotificationSettings {
        push: state(app),
        quiet_from: settings.quiet.map(|quiet| clock_face(quiet.from)),
        quiet_to: settings.quiet.map(|quiet| clock_face(quiet.to)),
        time_zone: settings.time_zone.clone(),
        locale: settings.locale,
    }
}

/// When and in which language the caller is told.
///
/// # Errors
/// As the store says.
pub async fn get(app: &App, caller: &Caller) -> Result<NotificationSettings> {
    let user = caller.user_id;
    let settings = app.db.read(move |tx| store::push::settings(tx, user)).await?;
    Ok(shown_settings(app, &settings))
}

/// Sets it.
///
/// # Errors
/// 422 with every field that is not allowed.
pub async fn set(app: &App, caller: &Caller, request: NotificationRequest) -> Result<NotificationSettings> {
    let mut fields = Fields::default();
    let mut read = |field: &str, text: Option<&str>| {
        let read = text.and_then(minute);
        if text.is_some() && read.is_none() {
            fields.add(field, "invalid", "must be a time of the day as HH:MM, from 00:00 to 23:59");
        }
        read
    };
    let from = read("quiet_from", request.quiet_from.as_deref());
    let to = read("quiet_to", request.quiet_to.as_deref());
    match (&request.quiet_from, &request.quiet_to) {
        (Some(_), None) => fields.add("quiet_to", "required", "is required with quiet_from"),
        (None, Some(_)) => fields.add("quiet_from", "required", "is required with quiet_to"),
        (Some(_), Some(_)) if from.is_some() && from == to => {
            fields.add("quiet_to", "invalid", "must not be the same time as quiet_from");
        }
        _ => {}
    }
    let asked = request.time_zone.as_deref().unwrap_or("UTC");
    let zone = time_zone(asked).filter(|_| asked.len() <= 64);
    let name = zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned);
    if name.is_none() {
        let message = "must be a name of the IANA time zone database, such as Europe/Paris";
        fields.add("time_zone", "invalid", message);
    }
    fields.check()?;
    let quiet = from.zip(to).map(|(from, to)| Quiet { from, to });
    let (time_zone, locale) = (name.unwrap_or_default(), request.locale.unwrap_or_default());
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let saved = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            let settings = store::push::settings(tx, user)?;
            let settings = Settings { quiet, time_zone: time_zone.clone(), locale, ..settings };
            store::push::save(tx, user, &settings)?;
            // What was held for other hours is looked at again.
            due::look_again(tx, user, now)?;
            Ok(settings)
        })
        .await?;
    app.push.due.notify_one();
    Ok(shown_settings(app, &saved))
}

/// What the caller wants to hear of a room.
///
/// # Errors
/// 404, 403 as the room says.
pub async fn of_room(app: &App, caller: &Caller, room: RoomId) -> Result<RoomNotifications> {
    let (room, user, push) = (room.to_string(), caller.user_id.to_string(), state(app));
    app.db
        .read(move |tx| {
            authorise(tx, &room, &user, RoomAction::Read)?;
            let (level, muted_until) = store::push::level(tx, &room, &user)?;
            Ok(RoomNotifications { push, level, muted_until: muted_until.map(Timestamp::from_millis) })
        })
        .await
}

/// Sets it.
///
/// # Errors
/// As [`of_room`].
pub async fn set_of_room(
    app: &App,
    caller: &Caller,
    room: RoomId,
    request: RoomNotificationsRequest,
) -> Result<RoomNotifications> {
    let (key, room, user, push) = (room.uuid().as_u128(), room.to_string(), caller.user_id.to_string(), state(app));
    let RoomNotificationsRequest { level, muted_until } = request;
    app.db
        .write(key, move |tx| {
            authorise(tx, &room, &user, RoomAction::Read)?;
            store::push::set_level(tx, &room, &user, level, muted_until.map(Timestamp::as_millis))?;
            Ok(RoomNotifications { push, level, muted_until })
        })
        .await
}

/// What has not been delivered, newest first.
///
/// # Errors
/// 403; 422 for a cursor that this server did not give.
pub async fn list(
    app: &App,
    admin: &Admin,
    state: Option<OutboxState>,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<OutboxEntry>> {
    let bad = || Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list");
    let (at, id) = match cursor {
        None => (i64::MAX, String::new()),
        Some(text) => {
            let (at, id) = text.split_once('.').ok_or_else(bad)?;
            (at.parse().map_err(|_| bad())?, Uuid::try_parse(id).map_err(|_| bad())?.to_string())
        }
    };
    let admin = admin.clone();
    let entries = app
        .db
        .read(move |tx| {
            admin.still(tx)?;
            dead::list(tx, state, at, &id, limit + 1)
        })
        .await?;
    let items = entries.into_iter().map(|entry| (entry.clone(), entry)).collect();
    Ok(page(items, limit, |last: &OutboxEntry| format!("{}.{}", last.created_at.as_millis(), last.id)))
}

fn not_dead() -> Error {
    Error::new(Kind::NotFound, "not_found", "there is no such dead letter")
}

/// Sends a dead letter again.
///
/// # Errors
/// 403; 404 where it is none.
pub async fn requeue(app: &App, admin: &Admin, id: Uuid) -> Result<()> {
    let (admin, now) = (admin.clone(), app.clock.now_ms());
    let new_id = app.ids.uuid().to_string();
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            dead::requeue(tx, &id.to_string(), &new_id, outbox::MOST, now)?.ok_or_else(not_dead).map(drop)
        })
        .await?;
    app.push.due.notify_one();
    Ok(())
}

/// Forgets a dead letter.
///
/// # Errors
/// 403; 404 where it is none.
pub async fn remove(app: &App, admin: &Admin, id: Uuid) -> Result<()> {
    let admin = admin.clone();
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            if dead::remove(tx, &id.to_string())? { Ok(()) } else { Err(not_dead()) }
        })
        .await
}
