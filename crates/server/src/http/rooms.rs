//! `/api/rooms`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use mesh_protocol::{model::Room, rest::CreateRoomRequest};

use super::{
    extract::{Json, RoomPath},
    query::{Query, RoomsQuery},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, rooms},
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
