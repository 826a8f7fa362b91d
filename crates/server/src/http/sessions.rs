//! `/api/auth`: tokens, logins and what their owner may change.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::{
    model::User,
    rest::{
        CapabilityRequest, CapabilityResponse, ChangePasswordRequest, RefreshRequest, SessionInfo, Ticket,
        TokenResponse, UpdateMeRequest,
    },
};

use super::{body::Json, extract::SessionPath};
use crate::{
    app::App,
    error::Result,
    service::{
        accounts::{self, ClientInfo},
        auth::Caller,
        capabilities, sessions,
    },
};

/// Get new tokens
///
/// A refresh token works once. Asked again within 15 s with the same one, and before the new one was used, the answer
/// is the same; using an older one ends the login.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "accounts", security(()),
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens; the refresh token is another one.", body = TokenResponse),
        (status = 401, description = "`token_invalid` or `token_expired`: log in again."),
    ),
)]
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    client: ClientInfo,
    Json(request): Json<RefreshRequest>,
) -> Result<Json<TokenResponse>> {
    sessions::refresh(&app, request, client).await.map(Json)
}

/// Log out
///
/// The login's tokens die at once, and its WebSockets close with 4401.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "accounts",
    responses((status = 204, description = "Logged out.")),
)]
pub(super) async fn logout(State(app): State<Arc<App>>, caller: Caller, client: ClientInfo) -> Result<StatusCode> {
    sessions::logout(&app, &caller, &client).await.map(|()| StatusCode::NO_CONTENT)
}

/// Change your own account
#[utoipa::path(
    patch, path = "/api/auth/me", tag = "accounts",
    request_body = UpdateMeRequest,
    responses((status = 200, description = "The account as it is now.", body = User)),
)]
pub(super) async fn update_me(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<UpdateMeRequest>,
) -> Result<Json<User>> {
    accounts::update_me(&app, &caller, request).await.map(Json)
}

/// Change your password
///
/// Ends every other login of yours.
#[utoipa::path(
    post, path = "/api/auth/password", tag = "accounts",
    request_body = ChangePasswordRequest,
    responses(
        (status = 204, description = "Changed."),
        (status = 403, description = "`invalid_credentials`: the current password is wrong."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
        (status = 409, description = "`conflict`: it was changed from elsewhere in the meantime."),
    ),
)]
pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    Json(request): Json<ChangePasswordRequest>,
) -> Result<StatusCode> {
    accounts::change_password(&app, &caller, request, client).await.map(|()| StatusCode::NO_CONTENT)
}

/// List your logins
#[utoipa::path(
    get, path = "/api/auth/sessions", tag = "accounts",
    responses((status = 200, description = "Those that have not ended, last used first.", body = [SessionInfo])),
)]
pub(super) async fn list_sessions(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<SessionInfo>>> {
    sessions::list(&app, &caller).await.map(Json)
}

/// End one of your logins
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", tag = "accounts",
    params(SessionPath),
    responses(
        (status = 204, description = "Ended; its tokens die at once, and its WebSockets close with 4401."),
        (status = 404, description = "`not_found`: you have no such login."),
    ),
)]
pub(super) async fn delete_session(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    SessionPath(session): SessionPath,
) -> Result<StatusCode> {
    sessions::delete(&app, &caller, &client, session).await.map(|()| StatusCode::NO_CONTENT)
}

/// Get a ticket for the WebSocket
///
/// For `/ws?ticket=`: it works once, within 30 s, so that no token stands in a URL. The connection is what the credential
/// that asked for it would have opened: with a personal access token, whatever its scopes, one with those scopes, which
/// ends with that token.
#[utoipa::path(
    post, path = "/api/auth/ws-ticket", tag = "accounts",
    responses((status = 201, description = "The ticket.", body = Ticket)),
)]
pub(super) async fn ws_ticket(State(app): State<Arc<App>>, caller: Caller) -> Result<(StatusCode, Json<Ticket>)> {
    Ok((StatusCode::CREATED, Json(sessions::ticket(&app, &caller).await?)))
}

/// Get a capability token
///
/// What its holder may ask of another peer in a room, for 60 to 180 seconds. It falls with the login, the membership or
/// the account that asked for it. The other side verifies it with `/.well-known/jwks.json` where the algorithm is
/// asymmetric.
#[utoipa::path(
    post, path = "/api/auth/capability", tag = "accounts",
    request_body = CapabilityRequest,
    responses(
        (status = 200, description = "The token.", body = CapabilityResponse),
        (status = 403, description = "`forbidden`: your role in the room may not hold it."),
        (status = 404, description = "`not_found`: you are not in such a room."),
    ),
)]
pub(super) async fn capability(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(request): Json<CapabilityRequest>,
) -> Result<Json<CapabilityResponse>> {
    capabilities::grant(&app, &caller, request).await.map(Json)
}
