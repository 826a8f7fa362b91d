//! `/api/auth/totp`: the second factor of a login.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::{
    credentials::{ConfirmTotpRequest, DisableTotpRequest, RecoveryCodes, TotpLoginRequest, TotpSecret, TotpStatus},
    rest::TokenResponse,
};

use super::body::{Json, JsonOrNothing};
use crate::{
    app::App,
    error::Result,
    service::{accounts::ClientInfo, auth::Caller, totp},
};

/// Complete a login with a second factor
///
/// After a login was answered with 401 `totp_required`. A code works once, and so does a challenge that led to a login.
#[utoipa::path(
    post, path = "/api/auth/login/totp", tag = "accounts", security(()),
    request_body = TotpLoginRequest,
    responses(
        (status = 200, description = "Logged in.", body = TokenResponse),
        (status = 401, description = "`invalid_code`: the code is wrong, or was used. Or `token_invalid` or \
            `token_expired`: the challenge has ended; log in again."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
    ),
)]
pub(super) async fn login_totp(
    State(app): State<Arc<App>>,
    client: ClientInfo,
    Json(request): Json<TotpLoginRequest>,
) -> Result<Json<TokenResponse>> {
    totp::login(&app, request, client).await.map(Json)
}

/// Get the state of your second factor
#[utoipa::path(
    get, path = "/api/auth/totp", tag = "accounts",
    responses((status = 200, description = "Whether a login asks for a code.", body = TotpStatus)),
)]
pub(super) async fn get_totp(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<TotpStatus>> {
    totp::status(&app, &caller).await.map(Json)
}

/// Begin a second factor
///
/// Gives a secret for an authenticator app (RFC 6238). It is in force once it is confirmed; until then, beginning again
/// replaces it.
#[utoipa::path(
    post, path = "/api/auth/totp", tag = "accounts",
    responses(
        (status = 200, description = "The secret.", body = TotpSecret),
        (status = 409, description = "`totp_enabled`: a second factor is on already."),
    ),
)]
pub(super) async fn begin_totp(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<TotpSecret>> {
    totp::begin(&app, &caller).await.map(Json)
}

/// Confirm your second factor
///
/// Shows that the authenticator app works. From now on a login asks for a code. The answer has the recovery codes, which
/// are shown this once.
#[utoipa::path(
    post, path = "/api/auth/totp/confirm", tag = "accounts",
    request_body = ConfirmTotpRequest,
    responses(
        (status = 200, description = "On.", body = RecoveryCodes),
        (status = 403, description = "`invalid_code`: the code is wrong."),
        (status = 409, description = "`totp_not_begun`: there is nothing to confirm. Or `totp_enabled`: it is on already."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
    ),
)]
pub(super) async fn confirm_totp(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    Json(request): Json<ConfirmTotpRequest>,
) -> Result<Json<RecoveryCodes>> {
    totp::confirm(&app, &caller, request, client).await.map(Json)
}

/// End your second factor
///
/// By a code of the authenticator app, a recovery code, or the password; a login that is younger than ten minutes is not
/// asked again.
#[utoipa::path(
    delete, path = "/api/auth/totp", tag = "accounts",
    request_body = Option<DisableTotpRequest>,
    responses(
        (status = 204, description = "Off; the recovery codes are void."),
        (status = 403, description = "`invalid_code`: the code is wrong, or was used. Or `invalid_credentials`: the \
            password is wrong."),
        (status = 404, description = "`not_found`: it is not on."),
        (status = 429, description = "`rate_limited`: too many failures; wait as long as `Retry-After` says."),
    ),
)]
pub(super) async fn disable_totp(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    JsonOrNothing(request): JsonOrNothing<DisableTotpRequest>,
) -> Result<StatusCode> {
    totp::disable(&app, &caller, request, client).await.map(|()| StatusCode::NO_CONTENT)
}
