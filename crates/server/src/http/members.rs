//! `/api/rooms/{id}/members`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use mesh_protocol::{model::Member, rest::AddMemberRequest};

use super::{
    extract::{Json, RoomPath},
    query::{MembersQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, rooms},
};

/// List the members of a room
///
/// By name; with `online=true`, only those who are connected.
#[utoipa::path(
    get, path = "/api/rooms/{id}/members", tag = "members",
    params(RoomPath, MembersQuery),
    responses(
        (
            status = 200, description = "A page of members.", body = Vec<Member>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn list_members(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    query: Query<MembersQuery>,
) -> Result<(HeaderMap, Json<Vec<Member>>)> {
    let MembersQuery { online, limit, cursor } = &query.params;
    let page = rooms::members(&app, &caller, id, *online, *limit, cursor.as_deref()).await?;
    let (headers, members) = query.page(page);
    Ok((headers, Json(members)))
}

/// Add a member to a room
///
/// Names the account by either `username` or `user_id`. For the room's owner and admins.
#[utoipa::path(
    post, path = "/api/rooms/{id}/members", tag = "members",
    params(RoomPath),
    request_body = AddMemberRequest,
    responses(
        (status = 201, description = "The new member.", body = Member),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_user`: there is no such account."),
        (status = 409, description = "`already_member`: the account is in the room already."),
    ),
)]
pub(super) async fn add_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<AddMemberRequest>,
) -> Result<(StatusCode, Json<Member>)> {
    Ok((StatusCode::CREATED, Json(rooms::add_member(&app, &caller, id, request).await?)))
}
