//! `/api/auth`: accounts and logins.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::{
    model::User,
    rest::{LoginRequest, RegisterRequest, TokenResponse},
};

use super::body::{Json, LoginBody, PasswordForm};
use crate::{
    app::App,
    error::Result,
    service::{
        accounts::{self, ClientInfo},
        auth::Caller,
    },
};

/// Make an account
///
/// Makes the account and logs it in. The first account of a server is its administrator's.
#[utoipa::path(
    post, path = "/api/auth/register", tag = "accounts", security(()),
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "The account is made and logged in.", body = TokenResponse),
        (status = 403, description = "`registration_closed`: this server takes no registrations, or none without an \
            invite; or `invite_invalid`."),
        (status = 409, description = "`username_taken`: the user name is taken, in whatever case."),
        (status = 429, description = "`rate_limited`: too many accounts from this address; wait as long as \
            `Retry-After` says."),
    ),
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    client: ClientInfo,
    Json(request): Json<RegisterRequest>,
) -> Result<(StatusCode, Json<TokenResponse>)> {
    Ok((StatusCode::CREATED, Json(accounts::register(&app, request, client).await?)))
}

/// Log in
///
/// Takes JSON, or the form of OAuth 2's password grant (RFC 6749, section 4.3.2).
#[utoipa::path(
    post, path = "/api/auth/login", tag = "accounts", security(()),
    request_body(content((LoginRequest = "application/json"), (PasswordForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "Logged in.", body = TokenResponse),
        (status = 401, description = "`invalid_credentials`: the user name or the password is wrong; which of them is \
            not told. Or `totp_required`: both are right, and a second factor is on; send `challenge` with a code to \
            `/api/auth/login/totp`."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
    ),
)]
pub(super) async fn login(
    State(app): State<Arc<App>>,
    client: ClientInfo,
    LoginBody(request): LoginBody,
) -> Result<Json<TokenResponse>> {
    accounts::login(&app, request, client).await.map(Json)
}

/// Get your own account
#[utoipa::path(
    get, path = "/api/auth/me", tag = "accounts",
    responses((status = 200, description = "The account behind the token.", body = User)),
)]
pub(super) async fn get_me(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<User>> {
    accounts::me(&app, &caller).await.map(Json)
}
