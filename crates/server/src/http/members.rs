//! `/api/rooms/{id}/members`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use mesh_protocol::{
    model::Member,
    rest::{AddMemberRequest, UpdateMemberRequest},
};

use super::{
    body::Json,
    extract::{MemberPath, RoomPath},
    query::{MembersQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, members},
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
    let page = members::list(&app, &caller, id, *online, *limit, cursor.as_deref()).await?;
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
        (status = 409, description = "`already_member`: the account is in the room already; or `banned`: it is banned from the room."),
    ),
)]
pub(super) async fn add_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<AddMemberRequest>,
) -> Result<(StatusCode, Json<Member>)> {
    Ok((StatusCode::CREATED, Json(members::add(&app, &caller, id, request).await?)))
}

/// Give a member another role
///
/// For the room's owner and admins, of members below them; nobody grants above their own role. `owner` is granted by
/// the owner alone: it hands the room over, and makes the owner until now an admin. Anybody else may step down.
#[utoipa::path(
    patch, path = "/api/rooms/{id}/members/{user_id}", tag = "members",
    params(MemberPath),
    request_body = UpdateMemberRequest,
    responses(
        (status = 200, description = "The member as it is now.", body = Member),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_member`: the account is no member of it."),
        (status = 409, description = "`last_owner`: the owner hands the room over, and does not step down."),
    ),
)]
pub(super) async fn update_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    MemberPath(id, whom): MemberPath,
    Json(request): Json<UpdateMemberRequest>,
) -> Result<Json<Member>> {
    members::update(&app, &caller, id, whom, request).await.map(Json)
}

/// Put a member out of a room, or leave it
///
/// For the room's owner and admins, of members below them; for everybody of themselves, but the owner, who hands the
/// room over first. When the answer comes, their connections have stopped receiving.
#[utoipa::path(
    delete, path = "/api/rooms/{id}/members/{user_id}", tag = "members",
    params(MemberPath),
    responses(
        (status = 204, description = "The account is no member any more."),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_member`: the account is no member of it."),
        (status = 409, description = "`last_owner`: the owner cannot go: hand the room over first, or delete it; or `direct_room`: nobody leaves a direct room."),
    ),
)]
pub(super) async fn remove_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    MemberPath(id, whom): MemberPath,
) -> Result<StatusCode> {
    members::remove(&app, &caller, id, whom).await?;
    Ok(StatusCode::NO_CONTENT)
}
