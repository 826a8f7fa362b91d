//! `/api/rooms`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use mesh_protocol::{
    model::Room,
    rest::{CreateRoomRequest, DirectRequest, UpdateRoomRequest},
};

use super::{
    body::Json,
    extract::RoomPath,
    query::{Query, RoomsQuery},
};
use crate::{
    app::App,
    error::{Error, Result},
    service::{accounts::ClientInfo, auth::Caller, direct, members, rooms},
};

/// Make a room
///
/// The caller becomes its owner. It is private unless `visibility` says otherwise.
#[utoipa::path(
    post, path = "/api/rooms", tag = "rooms",
    request_body = CreateRoomRequest,
    responses((
        status = 201, description = "The new room.", body = Room,
        headers(("Location" = String, description = "The room's path: `/api/rooms/{id}`.")),
    )),
)]
pub(super) async fn create_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<CreateRoomRequest>,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<Room>)> {
    let room = rooms::create(&app, &caller, request).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/rooms/{}", room.id))], Json(room)))
}

/// List rooms
///
/// The caller's rooms, or with `visibility=public` those that everybody may join; newest activity first.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms",
    params(RoomsQuery),
    responses((
        status = 200, description = "A page of rooms.", body = Vec<Room>,
        headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
    )),
)]
pub(super) async fn list_rooms(
    State(app): State<Arc<App>>,
    caller: Caller,
    query: Query<RoomsQuery>,
) -> Result<(HeaderMap, Json<Vec<Room>>)> {
    let RoomsQuery { public, limit, cursor } = &query.params;
    let (headers, rooms) = query.page(rooms::list(&app, &caller, *public, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(rooms)))
}

/// Get a room
#[utoipa::path(
    get, path = "/api/rooms/{id}", tag = "rooms",
    params(RoomPath),
    responses((status = 200, description = "The room, as the caller sees it.", body = Room)),
)]
pub(super) async fn get_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
) -> Result<Json<Room>> {
    rooms::get(&app, &caller, id).await.map(Json)
}

/// Change a room
///
/// What is absent stays. Name, description and visibility are for the owner and admins, `retention_days` for the owner.
#[utoipa::path(
    patch, path = "/api/rooms/{id}", tag = "rooms",
    params(RoomPath),
    request_body = UpdateRoomRequest,
    responses(
        (status = 200, description = "The room as it is now.", body = Room),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
    ),
)]
pub(super) async fn update_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<UpdateRoomRequest>,
) -> Result<Json<Room>> {
    rooms::update(&app, &caller, id, request).await.map(Json)
}

/// Delete a room
///
/// With all that was said in it, for everybody. For the owner.
#[utoipa::path(
    delete, path = "/api/rooms/{id}", tag = "rooms",
    params(RoomPath),
    responses(
        (status = 204, description = "The room is gone."),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
    ),
)]
pub(super) async fn delete_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    RoomPath(id): RoomPath,
) -> Result<StatusCode> {
    rooms::delete(&app, &caller, &client, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Open the direct room with somebody
///
/// The one room of these two people, whoever asks first. Names the other by either `username` or `user_id`. Its `name`
/// is the other one's display name. Nobody is added to it, put out of it, or leaves it.
#[utoipa::path(
    post, path = "/api/rooms/direct", tag = "rooms",
    request_body = DirectRequest,
    responses(
        (status = 200, description = "The room that there is.", body = Room),
        (
            status = 201, description = "The new room.", body = Room,
            headers(("Location" = String, description = "The room's path: `/api/rooms/{id}`.")),
        ),
        (status = 404, description = "`unknown_user`: there is no such account."),
    ),
)]
pub(super) async fn open_direct_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<DirectRequest>,
) -> Result<(StatusCode, HeaderMap, Json<Room>)> {
    let (room, new) = direct::open(&app, &caller, request).await?;
    let mut headers = HeaderMap::new();
    if !new {
        return Ok((StatusCode::OK, headers, Json(room)));
    }
    let path = HeaderValue::try_from(format!("/api/rooms/{}", room.id)).map_err(Error::internal)?;
    headers.insert(header::LOCATION, path);
    Ok((StatusCode::CREATED, headers, Json(room)))
}

/// Join a public room
///
/// The caller becomes a member. Whoever is one already stays.
#[utoipa::path(
    post, path = "/api/rooms/{id}/join", tag = "rooms",
    params(RoomPath),
    responses(
        (status = 200, description = "The room.", body = Room),
        (status = 403, description = "`banned`: you are banned from this room"),
    ),
)]
pub(super) async fn join_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
) -> Result<Json<Room>> {
    members::join(&app, &caller, id).await.map(Json)
}
