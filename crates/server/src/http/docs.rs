//! The documents for programs (OpenAPI, AsyncAPI) and the pages that show them (Swagger UI, ReDoc). Every file comes
//! from the binary; no page asks another host for anything.

use std::sync::{Arc, LazyLock};

use axum::{
    Extension,
    body::Bytes,
    extract::Path,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use utoipa_swagger_ui::{Config, serve};

use super::openapi::openapi;
use crate::error::{Error, Kind};

/// Made when somebody asks first, which takes some milliseconds once; each start would pay for it otherwise.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| openapi().to_json().unwrap_or_default().into());
static ASYNCAPI: &str = include_str!("../../assets/asyncapi.json");
static REDOC: &str = include_str!("../../assets/redoc/redoc.standalone.js");
// The version in the address makes the script safe to keep.
static REDOC_PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mesh Server API</title>
<link rel="icon" href="data:,">
<style>body { margin: 0; font-family: system-ui, sans-serif }</style>
</head>
<body>
<redoc spec-url="/openapi.json"></redoc>
<script src="/redoc/redoc.standalone.js?v=2.5.4"></script>
</body>
</html>
"#;

/// What the two pages may load and do: everything from here, nothing from elsewhere. Both set styles from scripts;
/// ReDoc searches in a worker that it makes itself.
static PAGE_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; \
    object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

fn json(body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn page(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What the pages are served from, made once.
#[derive(Clone)]
pub(super) struct Docs {
    swagger: Arc<Config<'static>>,
}

impl Docs {
    /// Swagger UI as it is set up here.
    pub(super) fn new() -> Self {
        let swagger = Config::from("/openapi.json")
            .display_request_duration(true)
            .persist_authorization(true)
            .try_it_out_enabled(true)
            // The default shows a badge of validator.swagger.io, to which it sends the address of the document.
            .validator_url("none");
        Self { swagger: Arc::new(swagger) }
    }
}

/// `/openapi.json`.
pub(super) async fn openapi_json() -> Response {
    json(OPENAPI.clone())
}

/// `/asyncapi.json`.
pub(super) async fn asyncapi_json() -> Response {
    json(ASYNCAPI)
}

/// `/docs/`.
pub(super) async fn swagger_page(Extension(docs): Extension<Docs>) -> Result<Response, Error> {
    swagger("index.html", docs)
}

/// The files of Swagger UI.
pub(super) async fn swagger_file(
    Path(file): Path<String>,
    Extension(docs): Extension<Docs>,
) -> Result<Response, Error> {
    swagger(&file, docs)
}

fn swagger(file: &str, docs: Docs) -> Result<Response, Error> {
    let found = serve(file, docs.swagger).map_err(|e| Error::internal(e.to_string()))?;
    let file = found.ok_or_else(|| Error::new(Kind::NotFound, "not_found", "the documentation has no such file"))?;
    let mut response = page(file.bytes.into_owned());
    let media_type = HeaderValue::try_from(file.content_type).map_err(Error::internal)?;
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    if file.gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// `/redoc`.
pub(super) async fn redoc_page() -> Response {
    page(Html(REDOC_PAGE))
}

/// ReDoc's script.
pub(super) async fn redoc_script() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/javascript"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, REDOC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{body_json, body_text, get, send};

    /// The addresses in `src`, `href`, `spec-url` and `url(…)`.
    fn references(html: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for mark in ["src=\"", "href=\"", "spec-url=\"", "url("] {
            for after in html.split(mark).skip(1) {
                found.push(after.split(['"', ')']).next().unwrap());
            }
        }
        found
    }

    #[tokio::test]
    async fn pages_ask_no_other_host() {
        for path in ["/docs/", "/redoc", "/redoc/", "/register", "/invite/abc"] {
            let response = send(get(path)).await;
            assert_eq!(response.status(), 200, "{path}");
            assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
            let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
            assert!(["'self'", "'none'"].iter().any(|from| policy.starts_with(&format!("default-src {from};"))));
            let html = body_text(response).await;
            let references = references(&html);
            assert!(references.len() > 1, "{html}");
            for reference in references {
                assert!(!reference.contains("//"), "{path}: {reference}");
                if reference.starts_with("data:") {
                    continue;
                }
                let base = match path {
                    _ if reference.starts_with('/') => "",
                    "/docs/" => path,
                    _ => "/",
                };
                let reference = format!("{base}{}", reference.trim_start_matches("./").trim_start_matches("../"));
                assert_eq!(send(get(&reference)).await.status(), 200, "{path}: {reference}");
            }
        }
        assert!(!REDOC.contains("cdn.redoc.ly") && !REDOC.contains("fonts.googleapis"));
    }

    #[tokio::test]
    async fn swagger_ui_is_set_up() {
        let response = send(get("/docs")).await;
        assert_eq!((response.status().as_u16(), response.headers()["location"].to_str().unwrap()), (308, "/docs/"));
        let script = body_text(send(get("/docs/swagger-initializer.js")).await).await;
        for setting in ["\"/openapi.json\"", "\"persistAuthorization\": true", "\"validatorUrl\": \"none\""] {
            assert!(script.contains(setting), "{setting} in {script}");
        }
        assert!(!script.contains("://"), "{script}");
        let response = send(get("/docs/none.js")).await;
        assert_eq!(response.status(), 404);
        assert_eq!(body_json(response).await["code"], "not_found");
    }

    #[tokio::test]
    async fn the_documents() {
        let openapi = body_json(send(get("/openapi.json")).await).await;
        assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1."));
        let flow = &openapi["components"]["securitySchemes"]["password"]["flows"]["password"];
        assert_eq!(flow["tokenUrl"], "/api/auth/login");
        body_json(send(get("/asyncapi.json")).await).await;
        let response = send(get("/")).await;
        assert_eq!((response.status().as_u16(), response.headers()["location"].to_str().unwrap()), (307, "/docs/"));
        let response = send(get("/redoc/redoc.standalone.js")).await;
        assert_eq!(response.headers()["content-type"], "text/javascript");
    }
}
