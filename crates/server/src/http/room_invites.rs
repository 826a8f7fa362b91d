//! `/api/rooms/{id}/invites` and `/api/invites/{code}`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use mesh_protocol::{
    model::Room,
    rest::{CreateRoomInviteRequest, RoomInvite},
};

use super::{
    body::{Json, JsonOrNothing},
    extract::{CodePath, RoomInvitePath, RoomPath},
    query::{InvitesQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, room_invites},
};

/// Make an invite to a room
///
/// Whoever has its code may come in, as often and as long as it says. For the room's owner and admins. A room has at
/// most 100; the oldest that is used up or has ended makes room for a new one.
#[utoipa::path(
    post, path = "/api/rooms/{id}/invites", tag = "invites",
    params(RoomPath),
    request_body = Option<CreateRoomInviteRequest>,
    responses(
        (status = 201, description = "The new invite.", body = RoomInvite),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 409, description = "`too_many_invites`: a room has at most 100 invites: end one first"),
    ),
)]
pub(super) async fn create_invite(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    JsonOrNothing(request): JsonOrNothing<CreateRoomInviteRequest>,
) -> Result<(StatusCode, Json<RoomInvite>)> {
    Ok((StatusCode::CREATED, Json(room_invites::create(&app, &caller, id, request).await?)))
}

/// List the invites to a room
///
/// Newest first, those that are used up or have ended too. For the room's owner and admins.
#[utoipa::path(
    get, path = "/api/rooms/{id}/invites", tag = "invites",
    params(RoomPath, InvitesQuery),
    responses(
        (
            status = 200, description = "A page of invites.", body = Vec<RoomInvite>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
    ),
)]
pub(super) async fn list_invites(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    query: Query<InvitesQuery>,
) -> Result<(HeaderMap, Json<Vec<RoomInvite>>)> {
    let InvitesQuery { limit, cursor } = &query.params;
    let (headers, invites) = query.page(room_invites::list(&app, &caller, id, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(invites)))
}

/// End an invite to a room
///
/// Nobody comes in with it any more; whoever did stays. For the room's owner and admins.
#[utoipa::path(
    delete, path = "/api/rooms/{id}/invites/{code}", tag = "invites",
    params(RoomInvitePath),
    responses(
        (status = 204, description = "The invite is over."),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_invite`: it has no such invite."),
    ),
)]
pub(super) async fn delete_invite(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomInvitePath(id, code): RoomInvitePath,
) -> Result<StatusCode> {
    room_invites::delete(&app, &caller, id, code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Come into a room with an invite
///
/// The caller becomes a member. Whoever is one already stays, and uses nothing up.
#[utoipa::path(
    post, path = "/api/invites/{code}/accept", tag = "invites",
    params(CodePath),
    responses(
        (status = 200, description = "The room.", body = Room),
        (status = 403, description = "`banned`: you are banned from this room"),
        (status = 404, description = "`unknown_invite`: there is no such invite"),
        (status = 410, description = "`invite_ended`: the invite is used up, or has ended: ask for another"),
    ),
)]
pub(super) async fn accept_invite(
    State(app): State<Arc<App>>,
    caller: Caller,
    CodePath(code): CodePath,
) -> Result<Json<Room>> {
    room_invites::accept(&app, &caller, code).await.map(Json)
}
