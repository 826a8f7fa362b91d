//! What the server says of itself.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use mesh_protocol::rest::{Health, IceServers, Info};

use super::body::Json;
use crate::{
    app::App,
    error::Result,
    metrics::Format,
    service::{self, auth::Caller},
};

fn ok(warnings: Vec<String>) -> Json<Health> {
    Json(Health { status: "ok".to_owned(), warnings })
}

/// What this server is and can do
#[utoipa::path(
    get, path = "/api/info", tag = "server", security(()),
    responses((status = 200, description = "Name, version and features.", body = Info)),
)]
pub(super) async fn get_info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(service::info::info(&app))
}

/// Get STUN and TURN servers
///
/// With a credential of the caller's own, where TURN asks for one; ask again before `ttl` is over.
#[utoipa::path(
    get, path = "/api/ice-servers", tag = "server",
    responses((status = 200, description = "The servers; none where none is set.", body = IceServers)),
)]
pub(super) async fn ice_servers(State(app): State<Arc<App>>, caller: Caller) -> Json<IceServers> {
    Json(service::ice::answer(&app, &caller))
}

/// The public keys of this server's tokens
///
/// A JWK set (RFC 7517), so that an agent verifies tokens without asking. It holds every key that may still have signed
/// one: a token's `kid` names its own; ask again where it names none of these. Empty where a shared secret signs.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "server", security(()),
    responses((
        status = 200, description = "The keys.", body = serde_json::Value, content_type = "application/jwk-set+json",
        example = json!({"keys": [{
            "alg": "EdDSA", "crv": "Ed25519", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "kty": "OKP",
            "use": "sig", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }]}),
    )),
)]
pub(super) async fn jwks(State(app): State<Arc<App>>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, app.keys.jwks().to_string()).into_response()
}

/// Whether the process lives
///
/// Asks nothing of anybody: a restart is the cure where it fails.
#[utoipa::path(
    get, path = "/health", tag = "server", security(()),
    responses((status = 200, description = "It lives.", body = Health)),
)]
pub(super) async fn health() -> Json<Health> {
    ok(Vec::new())
}

/// Whether the server can take work
///
/// For load balancers: where it fails, the answer's `code` names what is missing.
#[utoipa::path(
    get, path = "/ready", tag = "server", security(()),
    responses(
        (status = 200, description = "It can.", body = Health),
        (status = 503, description = "`stopping`, `database_unreachable`, `database_locked`, `database_read_only`, `database_corrupt`, `disk_full` or `disk_failing`; try again later."),
    ),
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>> {
    service::health::ready(&app).await?;
    Ok(ok(service::health::warnings(&app)))
}

/// The figures: Prometheus' text, or OpenMetrics where `Accept` asks for it. Not in the OpenAPI document, as it may
/// stand on a port of its own.
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    let text = service::metrics::scrape(&app, format).await?;

    let kind = (header::CONTENT_TYPE, format.content_type());
    Ok(([kind, (header::CACHE_CONTROL, "no-store"), (header::VARY, "accept")], text).into_response())
}
