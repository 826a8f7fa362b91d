//! Errors as `application/problem+json` (RFC 9457).

use std::error::Error as _;

use axum::{
    Router,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use mesh_protocol::rest::{FieldError, Problem};

use crate::error::{Error, Kind};

/// The media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem as a document; `type` is `about:blank`, as status and code say it all.
pub(super) fn document(status: StatusCode, code: &str, detail: String, errors: Vec<FieldError>) -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail,
        code: code.to_owned(),
        errors,
        challenge: None,
    }
}

fn response(problem: &Problem) -> Response {
    // A struct of texts and numbers always becomes JSON.
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
}

fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What is behind an error, for the log only.
fn causes(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self.kind {
            Kind::Internal => tracing::error!(code = self.code, cause = causes(&self), "a request failed"),
            Kind::Unavailable => {
                tracing::error!(code = self.code, cause = causes(&self), "a request cannot be served now");
            }
            _ => {}
        }
        let wait = self.retry_after;
        let mut problem = document(status(self.kind), self.code, self.message, self.fields);
        problem.challenge = self.challenge.map(|challenge| challenge.expose().to_owned());
        let mut response = response(&problem);
        match self.kind {
            Kind::Unauthorized => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // RFC 6750, section 3.1.
            Kind::Forbidden if self.code == "insufficient_scope" => {
                let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            Kind::RateLimited | Kind::Unavailable => {
                let seconds = wait.map_or(1, |wait| wait.as_millis().div_ceil(1000).max(1));
                let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}

/// Answers 404 and 405 as problems. Routes that are added later don't get the latter.
pub(super) fn fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(not_found).method_not_allowed_fallback(not_allowed)
}

async fn not_found(uri: Uri) -> Error {
    Error::new(Kind::NotFound, "not_found", format!("there is nothing at {}", uri.path()))
}

/// The router adds `Allow`.
async fn not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}; the header Allow lists what it takes", uri.path());
    response(&document(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail, Vec::new()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::testing::{body_json, get, send};

    async fn told(error: Error) -> (Response<()>, serde_json::Value) {
        let (parts, body) = error.into_response().into_parts();
        let json = body_json(Response::new(body)).await;
        (Response::from_parts(parts, ()), json)
    }

    #[tokio::test]
    async fn an_error_is_a_problem() {
        let (response, body) = told(Error::invalid_field("name", "too_long", "must be shorter")).await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
                "detail": "name: must be shorter", "code": "invalid",
                "errors": [{"field": "name", "code": "too_long", "message": "must be shorter"}],
            })
        );
    }

    #[tokio::test]
    async fn headers_go_with_some() {
        let (response, _) = told(Error::new(Kind::Unauthorized, "token_missing", "no")).await;
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        for (wait, seconds) in [(0, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let (response, _) = told(Error::rate_limited("slower", Duration::from_millis(wait))).await;
            assert_eq!(
                (response.status().as_u16(), &response.headers()["retry-after"]),
                (429, &seconds.parse().unwrap())
            );
        }
    }

    #[tokio::test]
    async fn what_failed_stays_inside() {
        let (response, body) = told(Error::internal("disk /dev/sda1 on fire")).await;
        assert_eq!(response.status(), 500);
        assert!(!body.to_string().contains("fire"), "{body}");
        assert_eq!(body["code"], "internal");
    }

    #[tokio::test]
    async fn nothing_there_and_wrong_method() {
        let response = send(get("/nowhere?a=b")).await;
        assert_eq!(response.status(), 404);
        let body = body_json(response).await;
        assert_eq!((&body["code"], &body["detail"]), (&"not_found".into(), &"there is nothing at /nowhere".into()));

        let mut request = get("/api/thing");
        *request.method_mut() = Method::DELETE;
        let response = send(request).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
        assert_eq!(body_json(response).await["code"], "method_not_allowed");
    }
}
