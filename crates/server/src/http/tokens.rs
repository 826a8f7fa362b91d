//! `/api/auth/tokens`: personal access tokens.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::credentials::{CreateTokenRequest, NewToken, TokenInfo};

use super::{body::Json, extract::TokenPath};
use crate::{
    app::App,
    error::Result,
    service::{accounts::ClientInfo, auth::Caller, tokens},
};

/// Make a personal access token
///
/// For agents and bots: accepted wherever an access token is, within its scopes. Beyond them the answer is 403
/// `insufficient_scope`. A changed password leaves it alone; a disabled account ends it.
#[utoipa::path(
    post, path = "/api/auth/tokens", tag = "accounts",
    request_body = CreateTokenRequest,
    responses(
        (status = 201, description = "The token, shown this once.", body = NewToken),
        (status = 409, description = "`too_many_tokens`: an account has at most 100; revoke one first."),
    ),
)]
pub(super) async fn create_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    Json(request): Json<CreateTokenRequest>,
) -> Result<(StatusCode, Json<NewToken>)> {
    Ok((StatusCode::CREATED, Json(tokens::create(&app, &caller, request, client).await?)))
}

/// List your personal access tokens
#[utoipa::path(
    get, path = "/api/auth/tokens", tag = "accounts",
    responses((status = 200, description = "Those that are not revoked, newest first.", body = [TokenInfo])),
)]
pub(super) async fn list_tokens(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<TokenInfo>>> {
    tokens::list(&app, &caller).await.map(Json)
}

/// Revoke one of your personal access tokens
#[utoipa::path(
    delete, path = "/api/auth/tokens/{id}", tag = "accounts",
    params(TokenPath),
    responses(
        (status = 204, description = "Revoked; it is dead at once, and its WebSockets close with 4401."),
        (status = 404, description = "`not_found`: you have no such token."),
    ),
)]
pub(super) async fn delete_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    client: ClientInfo,
    TokenPath(id): TokenPath,
) -> Result<StatusCode> {
    tokens::revoke(&app, &caller, id, client).await.map(|()| StatusCode::NO_CONTENT)
}
