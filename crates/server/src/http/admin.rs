//! `/api/admin`: for administrators of the server.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, RawPathParams, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use mesh_protocol::admin::{
    AdminUser, AuditEntry, CreateInviteRequest, CreateUserRequest, RegistrationInvite, Stats, UpdateUserRequest,
};

use super::{
    body::{Json, JsonOrNothing},
    extract::UserPath,
    query::{AuditQuery, PageQuery, Query, UsersQuery},
};
use crate::{
    app::App,
    error::{Error, Result},
    service::{
        accounts::ClientInfo,
        admin::{self, Admin},
        audit::{self, Export},
        auth::Caller,
        invites, totp, users,
    },
};

const NDJSON: &str = "application/x-ndjson";

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let client =
            ClientInfo::from_request_parts(parts, app).await.unwrap_or_else(|never: Infallible| match never {});
        admin::enter(caller, &client)
    }
}

/// List accounts
///
/// By user name.
#[utoipa::path(
    get, path = "/api/admin/users", tag = "administration",
    params(UsersQuery),
    responses(
        (
            status = 200, description = "A page of accounts.", body = Vec<AdminUser>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn list_users(
    State(app): State<Arc<App>>,
    admin: Admin,
    query: Query<UsersQuery>,
) -> Result<(HeaderMap, Json<Vec<AdminUser>>)> {
    let UsersQuery { q, role, disabled, limit, cursor } = &query.params;
    let filter = users::Filter { text: q.clone(), role: *role, disabled: *disabled };
    let (headers, users) = query.page(users::list(&app, &admin, filter, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(users)))
}

/// Make an account for somebody
#[utoipa::path(
    post, path = "/api/admin/users", tag = "administration",
    request_body = CreateUserRequest,
    responses(
        (
            status = 201, description = "The account is made; nobody is logged in.", body = AdminUser,
            headers(("Location" = String, description = "The account's path: `/api/admin/users/{id}`.")),
        ),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 409, description = "`username_taken`: the user name is taken, in whatever case."),
    ),
)]
pub(super) async fn create_user(
    State(app): State<Arc<App>>,
    admin: Admin,
    Json(request): Json<CreateUserRequest>,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<AdminUser>)> {
    let user = users::create(&app, &admin, request).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/admin/users/{}", user.id))], Json(user)))
}

/// Get an account
#[utoipa::path(
    get, path = "/api/admin/users/{id}", tag = "administration",
    params(UserPath),
    responses(
        (status = 200, description = "The account.", body = AdminUser),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such user."),
    ),
)]
pub(super) async fn get_user(
    State(app): State<Arc<App>>,
    admin: Admin,
    UserPath(id): UserPath,
) -> Result<Json<AdminUser>> {
    users::get(&app, &admin, id).await.map(Json)
}

/// Change an account
///
/// Disabling it, or setting its password, ends all its logins: their tokens die at once, and their WebSockets close,
/// with 4403 where the account is disabled.
#[utoipa::path(
    patch, path = "/api/admin/users/{id}", tag = "administration",
    params(UserPath),
    request_body = UpdateUserRequest,
    responses(
        (status = 200, description = "The account as it is now.", body = AdminUser),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such user."),
        (status = 409, description = "`last_admin`: the last active administrator can't be disabled or demoted."),
    ),
)]
pub(super) async fn update_user(
    State(app): State<Arc<App>>,
    admin: Admin,
    UserPath(id): UserPath,
    Json(request): Json<UpdateUserRequest>,
) -> Result<Json<AdminUser>> {
    users::update(&app, &admin, id, request).await.map(Json)
}

/// Take away a second factor
///
/// For somebody who has lost their authenticator app and their recovery codes: the next login asks for the password
/// alone. It ends nothing else. Make sure that it is they who ask.
#[utoipa::path(
    delete, path = "/api/admin/users/{id}/totp", tag = "administration",
    params(UserPath),
    responses(
        (status = 204, description = "Off; the recovery codes are void."),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such user, or their second factor is not on."),
    ),
)]
pub(super) async fn reset_totp(
    State(app): State<Arc<App>>,
    admin: Admin,
    UserPath(id): UserPath,
) -> Result<StatusCode> {
    totp::reset_for(&app, &admin, id).await.map(|()| StatusCode::NO_CONTENT)
}

/// How the server fares
///
/// What was counted may be ten seconds old, and older where counting takes long.
#[utoipa::path(
    get, path = "/api/admin/stats", tag = "administration",
    responses(
        (status = 200, description = "Counts of everything.", body = Stats),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn get_stats(State(app): State<Arc<App>>, admin: Admin) -> Result<Json<Stats>> {
    admin::stats(&app, &admin).await.map(Json)
}

/// Read the audit log
///
/// Who did what, to whom, from where; newest first. It keeps 400 days, and a million entries at most.
#[utoipa::path(
    get, path = "/api/admin/audit", tag = "administration",
    params(AuditQuery),
    responses(
        (
            status = 200, description = "A page of the log; or all of it, an entry a line.",
            content((Vec<AuditEntry> = "application/json"), (String = "application/x-ndjson")),
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn list_audit(
    State(app): State<Arc<App>>,
    admin: Admin,
    headers: HeaderMap,
    query: Query<AuditQuery>,
) -> Result<Response> {
    let AuditQuery { action, actor, since, until, export, limit, cursor } = &query.params;
    let wanted = audit::Query { action: action.clone(), actor: actor.clone(), since: *since, until: *until };
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if *export || accepted.flat_map(|value| value.split(',')).any(is_ndjson) {
        return ndjson(Export::new(app, admin, wanted)).await;
    }
    let (headers, entries) = query.page(audit::list(&app, &admin, wanted, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(entries)).into_response())
}

fn is_ndjson(range: &str) -> bool {
    range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(NDJSON)
}

/// Writes an export as it is read. What goes wrong before the first line is an answer; later it breaks the body off.
async fn ndjson(mut export: Export) -> Result<Response> {
    let first = export.next().await?;
    let lines = futures_util::stream::try_unfold((first, export), |(page, mut export)| async move {
        let page = match page {
            Some(page) => page,
            None => match export.next().await? {
                Some(page) => page,
                None => return Ok(None),
            },
        };
        let mut text = Vec::with_capacity(page.len() * 256);
        for entry in &page {
            serde_json::to_writer(&mut text, entry).map_err(Error::internal)?;
            text.push(b'\n');
        }
        Ok::<_, Error>(Some((Bytes::from(text), (None, export))))
    });
    let disposition = "attachment; filename=\"audit.ndjson\"";
    let headers = [(header::CONTENT_TYPE, NDJSON), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// An invite's code in a path.
pub(super) struct CodePath(String);

impl<S: Send + Sync> FromRequestParts<S> for CodePath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let code = params.and_then(|params| params.iter().next().map(|(_, code)| code.to_owned()));
        Ok(Self(code.unwrap_or_default()))
    }
}

/// Make a registration invite
///
/// Whoever has its code may make an account where `MESH_REGISTRATION` is `invite`.
#[utoipa::path(
    post, path = "/api/admin/invites", tag = "administration",
    request_body = Option<CreateInviteRequest>,
    responses(
        (status = 201, description = "The invite.", body = RegistrationInvite),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn create_registration_invite(
    State(app): State<Arc<App>>,
    admin: Admin,
    JsonOrNothing(request): JsonOrNothing<CreateInviteRequest>,
) -> Result<(StatusCode, Json<RegistrationInvite>)> {
    Ok((StatusCode::CREATED, Json(invites::create(&app, &admin, request).await?)))
}

/// List registration invites
///
/// Those that were not revoked, newest first; used up and ended ones too.
#[utoipa::path(
    get, path = "/api/admin/invites", tag = "administration",
    params(PageQuery),
    responses(
        (
            status = 200, description = "A page of invites.", body = Vec<RegistrationInvite>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: this is for administrators."),
    ),
)]
pub(super) async fn list_registration_invites(
    State(app): State<Arc<App>>,
    admin: Admin,
    query: Query<PageQuery>,
) -> Result<(HeaderMap, Json<Vec<RegistrationInvite>>)> {
    let PageQuery { limit, cursor } = &query.params;
    let (headers, invites) = query.page(invites::list(&app, &admin, *limit, cursor.as_deref()).await?);
    Ok((headers, Json(invites)))
}

/// Revoke a registration invite
#[utoipa::path(
    delete, path = "/api/admin/invites/{code}", tag = "administration",
    params(("code" = String, Path, description = "The invite's code.")),
    responses(
        (status = 204, description = "Revoked: nobody makes an account with it any more."),
        (status = 403, description = "`forbidden`: this is for administrators."),
        (status = 404, description = "`not_found`: there is no such invite, or it was revoked before."),
    ),
)]
pub(super) async fn delete_registration_invite(
    State(app): State<Arc<App>>,
    admin: Admin,
    CodePath(code): CodePath,
) -> Result<StatusCode> {
    invites::revoke(&app, &admin, &code).await.map(|()| StatusCode::NO_CONTENT)
}
