//! Deleting an account.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::credentials::DeleteAccountRequest;

use super::{body::Json, extract::UserPath};
use crate::{
    app::App,
    error::Result,
    service::{accounts::ClientInfo, admin::Admin, auth::Caller, farewell},
};

/// Delete your own account
///
/// For ever. What you said stays, by an account without a name; your memberships, reactions, logins and tokens go. Rooms
/// that you own go to whoever stands highest and longest in them; where nobody is left, the room is deleted.
#[utoipa::path(
    delete, path = "/api/auth/me", tag = "accounts",
    request_body = DeleteAccountRequest,
    responses(
        (status = 204, description = "The account is gone; its connections close with 4403."),
        (status = 403, description = "`invalid_credentials`: the password is wrong. Or `invalid_code`: the code is wrong, \
            or was used."),
        (status = 409, description = "`last_admin`: this is the last active administrator. Or `conflict`: the password \
            was changed meanwhile."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
    ),
)]
pub(super) async fn delete_me(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    Json(request): Json<DeleteAccountRequest>,
) -> Result<StatusCode> {
    farewell::delete_me(&app, &caller, request, client).await.map(|()| StatusCode::NO_CONTENT)
}

/// Delete an account
///
/// For ever, as its owner could: what it said stays, by an account without a name.
#[utoipa::path(
    delete, path = "/api/admin/users/{id}", tag = "administration",
    params(UserPath),
    responses(
        (status = 204, description = "The account is gone; its connections close with 4403."),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 409, description = "`last_admin`: this is the last active administrator."),
    ),
)]
pub(super) async fn delete_user(
    State(app): State<Arc<App>>,
    admin: Admin,
    UserPath(id): UserPath,
) -> Result<StatusCode> {
    farewell::delete_user(&app, &admin, id).await.map(|()| StatusCode::NO_CONTENT)
}
