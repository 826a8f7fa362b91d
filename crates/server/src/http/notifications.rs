//! `/api/notifications`, `/api/rooms/{id}/notifications` and `/api/admin/outbox`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use mesh_protocol::push::{
    GotifyRequest, GotifySettings, NotificationRequest, NotificationSettings, OutboxEntry, PushTest, RoomNotifications,
    RoomNotificationsRequest,
};

use super::{
    body::Json,
    extract::{OutboxPath, RoomPath},
    query::{OutboxQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{admin::Admin, auth::Caller, notifications},
};

/// Get your quiet hours and language
#[utoipa::path(
    get, path = "/api/notifications", tag = "notifications",
    responses((status = 200, description = "When and how you are told.", body = NotificationSettings)),
)]
pub(super) async fn get_notifications(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<NotificationSettings>> {
    notifications::get(&app, &caller).await.map(Json)
}

/// Set your quiet hours and language
///
/// In quiet hours notifications are held until they end. A ring of a direct room comes through; one of another room is
/// not told, the missed call afterwards is. What is absent is set to its default.
#[utoipa::path(
    put, path = "/api/notifications", tag = "notifications",
    request_body = NotificationRequest,
    responses((status = 200, description = "As they are now.", body = NotificationSettings)),
)]
pub(super) async fn set_notifications(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<NotificationRequest>,
) -> Result<Json<NotificationSettings>> {
    notifications::set(&app, &caller, request).await.map(Json)
}

/// Get how Gotify reaches you
///
/// Your token is never shown again.
#[utoipa::path(
    get, path = "/api/notifications/gotify", tag = "notifications",
    responses((status = 200, description = "Whose token is used, and for what.", body = GotifySettings)),
)]
pub(super) async fn get_gotify(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<GotifySettings>> {
    notifications::gotify(&app, &caller).await.map(Json)
}

/// Set how Gotify reaches you
///
/// The token is that of an application of your own on the server's Gotify. It is kept encrypted. What waited for a better
/// token is sent at once.
#[utoipa::path(
    put, path = "/api/notifications/gotify", tag = "notifications",
    request_body = GotifyRequest,
    responses((status = 200, description = "As it is now.", body = GotifySettings)),
)]
pub(super) async fn set_gotify(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<GotifyRequest>,
) -> Result<Json<GotifySettings>> {
    notifications::set_gotify(&app, &caller, request).await.map(Json)
}

/// Forget your Gotify token
///
/// What the server sends to all with its own token may reach you again: `PUT` with `enabled: false` ends that too.
#[utoipa::path(
    delete, path = "/api/notifications/gotify", tag = "notifications",
    responses((status = 204, description = "Forgotten.")),
)]
pub(super) async fn remove_gotify(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode> {
    notifications::remove_gotify(&app, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send yourself a test notification
///
/// Tells what really became of it, within 10 seconds.
#[utoipa::path(
    post, path = "/api/notifications/gotify/test", tag = "notifications",
    responses(
        (status = 200, description = "It was tried: `delivered` says with which outcome.", body = PushTest),
        (status = 409, description = "`push_off`: the server has no push server. Or `no_token`: it has no token for you."),
        (status = 429, description = "`rate_limited`: too many test at this moment."),
    ),
)]
pub(super) async fn test_gotify(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<PushTest>> {
    notifications::test_gotify(&app, &caller).await.map(Json)
}

/// Get what you want to hear of a room
#[utoipa::path(
    get, path = "/api/rooms/{id}/notifications", tag = "notifications",
    params(RoomPath),
    responses(
        (status = 200, description = "Your setting.", body = RoomNotifications),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn get_room_notifications(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
) -> Result<Json<RoomNotifications>> {
    notifications::of_room(&app, &caller, id).await.map(Json)
}

/// Set what you want to hear of a room
///
/// `all` tells every message, `mentions` those that name you (in a direct room all), and both tell rings and missed
/// calls; `none` tells nothing, and so does a room that is muted. Rings of a direct room come through in any case. It is
/// forgotten when you leave the room.
#[utoipa::path(
    put, path = "/api/rooms/{id}/notifications", tag = "notifications",
    params(RoomPath),
    request_body = RoomNotificationsRequest,
    responses(
        (status = 200, description = "Your setting.", body = RoomNotifications),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn set_room_notifications(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<RoomNotificationsRequest>,
) -> Result<Json<RoomNotifications>> {
    notifications::set_of_room(&app, &caller, id, request).await.map(Json)
}

/// List notifications that have not been delivered
///
/// Newest first: those that wait, and dead letters with the reason. Never what they say.
#[utoipa::path(
    get, path = "/api/admin/outbox", tag = "administration",
    params(OutboxQuery),
    responses(
        (
            status = 200, description = "A page of notifications.", body = Vec<OutboxEntry>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn list_outbox(
    State(app): State<Arc<App>>,
    admin: Admin,
    query: Query<OutboxQuery>,
) -> Result<(HeaderMap, Json<Vec<OutboxEntry>>)> {
    let OutboxQuery { state, limit, cursor } = &query.params;
    let page = notifications::list(&app, &admin, *state, *limit, cursor.as_deref()).await?;
    let (headers, entries) = query.page(page);
    Ok((headers, Json(entries)))
}

/// Send a dead letter again
#[utoipa::path(
    post, path = "/api/admin/outbox/{id}/requeue", tag = "administration",
    params(OutboxPath),
    responses(
        (status = 204, description = "It waits to be sent, with a new id."),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such dead letter."),
    ),
)]
pub(super) async fn requeue_outbox(
    State(app): State<Arc<App>>,
    admin: Admin,
    OutboxPath(id): OutboxPath,
) -> Result<StatusCode> {
    notifications::requeue(&app, &admin, id.uuid()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forget a dead letter
#[utoipa::path(
    delete, path = "/api/admin/outbox/{id}", tag = "administration",
    params(OutboxPath),
    responses(
        (status = 204, description = "Forgotten."),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such dead letter."),
    ),
)]
pub(super) async fn delete_outbox(
    State(app): State<Arc<App>>,
    admin: Admin,
    OutboxPath(id): OutboxPath,
) -> Result<StatusCode> {
    notifications::remove(&app, &admin, id.uuid()).await?;
    Ok(StatusCode::NO_CONTENT)
}
