//! `/api/rooms/{id}/bans`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use mesh_protocol::rest::{Ban, BanRequest};

use super::{
    body::{Json, JsonOrNothing},
    extract::{BanPath, RoomPath},
    query::{PageQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{accounts::ClientInfo, auth::Caller, bans},
};

/// List the bans of a room
///
/// Newest first. For the room's owner and admins.
#[utoipa::path(
    get, path = "/api/rooms/{id}/bans", tag = "members",
    params(RoomPath, PageQuery),
    responses(
        (
            status = 200, description = "A page of bans.", body = Vec<Ban>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
    ),
)]
pub(super) async fn list_bans(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    query: Query<PageQuery>,
) -> Result<(HeaderMap, Json<Vec<Ban>>)> {
    let PageQuery { limit, cursor } = &query.params;
    let (headers, bans) = query.page(bans::list(&app, &caller, id, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(bans)))
}

/// Get a ban
///
/// For the room's owner and admins.
#[utoipa::path(
    get, path = "/api/rooms/{id}/bans/{user_id}", tag = "members",
    params(BanPath),
    responses(
        (status = 200, description = "The ban.", body = Ban),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `not_banned`: the account is not banned."),
    ),
)]
pub(super) async fn get_ban(
    State(app): State<Arc<App>>,
    caller: Caller,
    BanPath(id, user): BanPath,
) -> Result<Json<Ban>> {
    bans::get(&app, &caller, id, user).await.map(Json)
}

/// Ban somebody from a room
///
/// A member is out at once; nobody who is banned comes back by joining, by an invite, or by being added. Whoever is no
/// member can be banned too. Again, it says anew why. For the owner and admins; nobody bans whose role is not below
/// their own.
#[utoipa::path(
    put, path = "/api/rooms/{id}/bans/{user_id}", tag = "members",
    params(BanPath),
    request_body = Option<BanRequest>,
    responses(
        (status = 200, description = "The ban.", body = Ban),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_user`: there is no such account."),
    ),
)]
pub(super) async fn put_ban(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    BanPath(id, user): BanPath,
    JsonOrNothing(request): JsonOrNothing<BanRequest>,
) -> Result<Json<Ban>> {
    bans::put(&app, &caller, &client, id, user, request).await.map(Json)
}

/// End a ban
///
/// The account may come back; it is no member by that. For the room's owner and admins.
#[utoipa::path(
    delete, path = "/api/rooms/{id}/bans/{user_id}", tag = "members",
    params(BanPath),
    responses(
        (status = 204, description = "The ban is over."),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `not_banned`: the account is not banned."),
    ),
)]
pub(super) async fn delete_ban(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    BanPath(id, user): BanPath,
) -> Result<StatusCode> {
    bans::delete(&app, &caller, &client, id, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
