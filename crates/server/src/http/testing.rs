//! What the tests of this room share.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
    routing::get as on_get,
};
use mesh_protocol::rest::CreateRoomRequest;

use super::{body::Json, problem, router, shell::Shell};
use crate::{clock::Clock, config::CorsOrigins, ids::Ids, metrics::Metrics};

async fn panic() {
    panic!("secret words");
}

/// Asks a router that has the shell and the documents of the real one.
pub(super) async fn send(request: Request) -> Response {
    send_from(CorsOrigins::Any, request).await
}

/// The same where `origins` are allowed.
pub(super) async fn send_from(origins: CorsOrigins, request: Request) -> Response {
    let thing = on_get(|| async { "thing" }).post(|Json(room): Json<CreateRoomRequest>| async { room.name });
    let routes: Router<()> = router::documents();
    let routes = routes.route("/api/thing", thing).route("/panic", on_get(panic));
    let routes = problem::fallbacks(routes);
    Shell::new(routes, Ids::new(Clock::System), origins, Metrics::new(), None).answer(request).await
}

pub(super) fn get(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

pub(super) async fn body_text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) async fn body_json(response: Response) -> serde_json::Value {
    serde_json::from_str(&body_text(response).await).unwrap()
}
