//! What the server says of itself.

use std::sync::Arc;

use axum::extract::State;
use mesh_protocol::rest::{Health, Info};

use super::extract::Json;
use crate::{app::App, error::Result, service};

fn ok() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// What this server is and can do
#[utoipa::path(
    get, path = "/api/info", tag = "server", security(()),
    responses((status = 200, description = "Name, version and features.", body = Info)),
)]
pub(super) async fn get_info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(service::info::info(&app))
}

/// Whether the process lives
///
/// Asks nothing of anybody: a restart is the cure where it fails.
#[utoipa::path(
    get, path = "/health", tag = "server", security(()),
    responses((status = 200, description = "It lives.", body = Health)),
)]
pub(super) async fn health() -> Json<Health> {
    ok()
}

/// Whether the server can take work
///
/// For load balancers: where it fails, the answer's `code` names what is missing.
#[utoipa::path(
    get, path = "/ready", tag = "server", security(()),
    responses(
        (status = 200, description = "It can.", body = Health),
        (status = 503, description = "`database_unreachable`: or `stopping`; try again later."),
    ),
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>> {
    service::health::ready(&app).await?;
    Ok(ok())
}
