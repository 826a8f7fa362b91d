//! What every request has in common: request id, log span, panics, trailing slash, CORS, common headers.
//!
//! It wraps the router from outside, as a path must be changed before it is routed.

use std::{any::Any, borrow::Cow, panic::AssertUnwindSafe, sync::Arc, sync::OnceLock, time::Duration, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::PathAndQuery},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};
use tracing::Instrument as _;

use crate::{
    config::CorsOrigins,
    error::{Error, Kind},
    ids::Ids,
    metrics::Metrics,
    trace::{self, Kind as SpanKind, Span, Tracer, Value},
};

/// The header that names a request.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a request id that a caller may give: enough for a trace id with a prefix.
const MAX_REQUEST_ID: usize = 64;
/// How long a browser may remember the answer to a preflight; Chromium remembers no longer.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7_200);

/// A router, and what every request has in common around it.
pub struct Shell {
    router: Router,
    with_cors: Cors<Router>,
    ids: Ids,
    metrics: Arc<Metrics>,
    tracer: Option<Arc<Tracer>>,
}

/// What is asked all the time, and says nothing new.
const UNTRACED: &[&str] = &["/health", "/ready", "/metrics"];
/// The methods that a trace tells apart.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Where the router leaves word of which route took a request.
#[derive(Clone, Default)]
pub(super) struct Route(Arc<OnceLock<MatchedPath>>);

/// Leaves word of the route.
pub(super) async fn note_route(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    if let (Some(path), Some(Route(place))) = (path, request.extensions().get()) {
        let _ = place.set(path);
    }
    next.run(request).await
}

fn cors(origins: CorsOrigins) -> CorsLayer {
    let origins = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        list => AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(|origin| list.allows(origin))),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, X_REQUEST_ID])
        .expose_headers([X_REQUEST_ID, header::LINK, header::LOCATION, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// A request that is being answered.
pub struct Visit {
    started: Instant,
    id: HeaderValue,
    method: Method,
    is_api: bool,
    /// What the log says of it.
    span: tracing::Span,
    /// Its trace, where it is recorded.
    traced: Option<Span>,
}

impl Visit {
    /// Does what answers the request, with the log and the trace knowing for whom.
    pub async fn within<T>(&self, answering: impl Future<Output = T>) -> T {
        let answering = answering.instrument(self.span.clone());
        match self.traced.as_ref().map(Span::context) {
            None => answering.await,
            Some(context) => trace::scoped(context, answering).await,
        }
    }
}

impl Shell {
    /// Puts the shell around a router.
    pub(super) fn new(
        router: Router,
        ids: Ids,
        origins: CorsOrigins,
        metrics: Arc<Metrics>,
        tracer: Option<Arc<Tracer>>,
    ) -> Arc<Self> {
        Arc::new(Self { with_cors: cors(origins).layer(router.clone()), router, ids, metrics, tracer })
    }

    /// Answers a request.
    pub async fn answer(&self, mut request: Request) -> Response {
        drop_slash(request.uri_mut());
        let visit = self.begin(request.method(), request.uri(), request.headers());
        let route = Route::default();
        request.extensions_mut().insert(route.clone());
        let answer = visit.within(AssertUnwindSafe(self.route(request)).catch_unwind()).await;
        let mut response = answer.unwrap_or_else(|panic| {
            visit.span.in_scope(|| tracing::error!(panic = words(&*panic), "a handler panicked"));
            Error::new(Kind::Internal, "internal", "the server failed to do this").into_response()
        });
        self.end(visit, route.0.get().map(MatchedPath::as_str), &mut response);
        response
    }

    /// A request has come.
    pub fn begin(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Visit {
        let (started, id) = (Instant::now(), self.request_id(headers));
        // Neither the query nor a header is logged: both may hold a token.
        let span = tracing::info_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            method = %method,
            path = %without_codes(uri.path()),
        );
        let is_api = uri.path().starts_with("/api/");
        Visit { started, id, method: method.clone(), is_api, span, traced: self.trace(uri, headers) }
    }

    /// Its answer is known: it gets the headers that all have, and is counted under the router's pattern.
    pub fn end(&self, visit: Visit, route: Option<&str>, response: &mut Response) {
        let Visit { started, id, method, is_api, span, traced } = visit;
        let _entered = span.entered();
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_api {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let (took, status) = (started.elapsed(), response.status().as_u16());
        self.metrics.http.answered(method.as_str(), route, status, took);
        if let Some(traced) = traced {
            traced_end(traced, &method, route, status);
        }
        tracing::debug!(status, latency_ms = took.as_secs_f64() * 1e3, "answered");
    }

    /// Begins the request's span, where traces are wanted; its name is known when it is answered.
    fn trace(&self, uri: &Uri, headers: &HeaderMap) -> Option<Span> {
        let tracer = self.tracer.as_ref()?;
        if UNTRACED.contains(&uri.path()) {
            return None;
        }
        let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        tracer.begin("request", SpanKind::Server, parent)
    }

    async fn route(&self, request: Request) -> Response {
        // Who comes from no page needs no CORS headers; and the layer would answer any OPTIONS, also one that is no
        // browser's question before a request.
        let headers = request.headers();
        let from_page = headers.contains_key(header::ORIGIN)
            && (request.method() != Method::OPTIONS || headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD));
        let answer = if from_page {
            self.with_cors.clone().oneshot(request).await
        } else {
            self.router.clone().oneshot(request).await
        };
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The caller's own, if it is a sane one, so that its logs and ours can be laid side by side.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let sane = |value: &&HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&value.len())
                && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        match headers.get(X_REQUEST_ID).filter(sane) {
            Some(given) => given.clone(),
            None => HeaderValue::try_from(self.ids.uuid().to_string()).unwrap_or(HeaderValue::from_static("none")),
        }
    }
}

/// Ends a request's span. It says the router's pattern: the path may hold what must not be told, such as an invite's code.
fn traced_end(mut span: Span, method: &Method, route: Option<&str>, status: u16) {
    let method = METHODS.iter().find(|known| **known == method.as_str()).copied().unwrap_or("_OTHER");
    span.note_route(method, route);
    span.note("http.response.status_code", Value::Int(i64::from(status)));
    if status >= 500 {
        span.fail(if status == 503 { "unavailable" } else { "internal" });
    }
}

/// A path for the log: the code of an invite lets whoever has it in.
fn without_codes(path: &str) -> Cow<'_, str> {
    if !path.contains("/invite") {
        return Cow::Borrowed(path);
    }
    let mut code = false;
    let shown = path.split('/').map(|part| {
        let shown = if code { "…" } else { part };
        code = matches!(part, "invite" | "invites");
        shown
    });
    Cow::Owned(shown.collect::<Vec<_>>().join("/"))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

/// `/api/rooms/` is `/api/rooms`.
fn drop_slash(uri: &mut Uri) {
    let Some(path) = uri.path().strip_suffix('/').filter(|path| path.starts_with("/api/")) else { return };
    let changed = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    if let Ok(changed) = changed {
        parts.path_and_query = Some(changed);
        if let Ok(changed) = Uri::from_parts(parts) {
            *uri = changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::http::testing::{body_json, get, send, send_from};

    fn with(mut request: Request, headers: &[(&'static str, &'static str)]) -> Request {
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[tokio::test]
    async fn every_answer_bears_a_request_id() {
        for path in ["/api/thing", "/nowhere", "/panic"] {
            let response = send(get(path)).await;
            let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
            assert!(uuid::Uuid::try_parse(&id).is_ok(), "{path}: {id}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        }
        let response = send(with(get("/nowhere"), &[("x-request-id", "trace-1.a_B")])).await;
        assert_eq!(response.headers()["x-request-id"], "trace-1.a_B");
        let long = "x".repeat(65);
        for bad in ["", "a b", "a,b", "\"a\"", &long] {
            let mut request = get("/nowhere");
            request.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_ne!(send(request).await.headers()["x-request-id"], bad);
        }
    }

    #[test]
    fn the_log_holds_no_codes() {
        for (path, shown) in [
            ("/api/rooms/1/messages", "/api/rooms/1/messages"),
            ("/api/invites/abc/accept", "/api/invites/…/accept"),
            ("/api/rooms/1/invites", "/api/rooms/1/invites"),
            ("/api/rooms/1/invites/abc", "/api/rooms/1/invites/…"),
            ("/api/admin/invites/invites", "/api/admin/invites/…"),
            ("/invite/abc", "/invite/…"),
        ] {
            assert_eq!(without_codes(path), shown);
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_500() {
        let response = send(get("/panic")).await;
        assert_eq!(response.status(), 500);
        let body = body_json(response).await;
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("secret words"));
    }

    #[tokio::test]
    async fn a_trailing_slash_makes_no_difference_under_api() {
        for path in ["/api/thing", "/api/thing/", "/api/thing/?a=b/", "/api/thing?a=/"] {
            assert_eq!(send(get(path)).await.status(), 200, "{path}");
        }
        for path in ["/api/thing//", "/api/", "/api", "/health/"] {
            assert_eq!(send(get(path)).await.status(), 404, "{path}");
        }
        let mut uri: Uri = "http://example.org/api/a/?q=1/".parse().unwrap();
        drop_slash(&mut uri);
        assert_eq!(uri, "http://example.org/api/a?q=1/");
        let mut uri: Uri = "/".parse().unwrap();
        drop_slash(&mut uri);
        assert_eq!(uri, "/");
    }

    #[tokio::test]
    async fn api_answers_are_not_stored() {
        assert_eq!(send(get("/api/thing")).await.headers()["cache-control"], "no-store");
        assert_eq!(send(get("/api/none")).await.headers()["cache-control"], "no-store");
        assert!(!send(get("/nowhere")).await.headers().contains_key("cache-control"));
    }

    #[tokio::test]
    async fn head_is_get_without_a_body() {
        let mut request = get("/api/thing");
        *request.method_mut() = Method::HEAD;
        let response = send(request).await;
        assert_eq!(response.status(), 200);
        assert!(axum::body::to_bytes(response.into_body(), 100).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn browsers_ask_first() {
        let preflight = || {
            let request = Request::options("/api/thing").body(Body::empty()).unwrap();
            with(request, &[("origin", "https://app.example"), ("access-control-request-method", "POST")])
        };
        let response = send(preflight()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        assert!(response.headers().contains_key("x-request-id"));

        let list = || CorsOrigins::List(vec!["https://app.example".to_owned()]);
        assert_eq!(
            send_from(list(), preflight()).await.headers()["access-control-allow-origin"],
            "https://app.example"
        );
        let other = with(get("/api/thing"), &[("origin", "https://evil.example")]);
        assert!(!send_from(list(), other).await.headers().contains_key("access-control-allow-origin"));

        // Errors too can be read, and the headers that matter.
        let response = send(with(get("/nowhere"), &[("origin", "https://app.example")])).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
        for name in ["x-request-id", "link", "location", "retry-after"] {
            assert!(exposed.contains(name), "{name} in {exposed}");
        }
    }

    #[tokio::test]
    async fn options_that_ask_nothing_are_not_allowed() {
        let response = send(Request::options("/api/thing").body(Body::empty()).unwrap()).await;
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD,POST"));
    }
}
