//! The OpenAPI document: what the routes say of themselves, and what all of them have in common.

mod schemas;

use mesh_protocol::rest::{FieldError, Problem};
use serde_json::Value;
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, Content, Header, Info, License, Object, OpenApi, PathItem, Ref, RefOr, Response, Server, Tag, Type,
        path::Operation,
        security::{Flow, Http, HttpAuthScheme, OAuth2, Password, Scopes, SecurityRequirement, SecurityScheme},
        tag::TagBuilder,
    },
};

use super::{
    problem::{PROBLEM_JSON, document},
    router,
};
use axum::http::StatusCode;

const DESCRIPTION: &str = "Accounts, rooms, members and messages of a self-hosted Mesh Server. What happens in rooms is \
told live over WebSocket: `/asyncapi.json`.\n\n\
**To try calls here**, press *Authorize*, give your user name and password under `password`, and leave the client id \
and secret empty.\n\n\
**Errors** are `application/problem+json` (RFC 9457) with a stable `code` for programs and a `detail` for people. \
**Every answer** bears `X-Request-Id`: the caller's own, if it sent 1 to 64 of `A-Za-z0-9._-`. Every path under `/api` \
answers with and without its trailing slash. Times are RFC 3339 UTC with milliseconds, ids are opaque strings, and \
unknown body fields are ignored.";

const TAGS: &[(&str, &str)] = &[
    ("accounts", "Accounts and logins."),
    ("rooms", "Rooms. A private room does not exist for those who are not in it."),
    ("members", "Who is in a room, and in which role."),
    ("invites", "Invites to rooms: whoever has the code may come in."),
    ("messages", "What is said in a room, in the order of its sequence numbers."),
    ("administration", "For administrators of the server."),
    ("server", "The server itself."),
];

/// A problem that many operations answer.
struct Common {
    name: &'static str,
    status: StatusCode,
    code: &'static str,
    description: &'static str,
    detail: &'static str,
}

const fn common(
    name: &'static str,
    status: StatusCode,
    code: &'static str,
    description: &'static str,
    detail: &'static str,
) -> Common {
    Common { name, status, code, description, detail }
}

const MALFORMED: Common = common(
    "Malformed",
    StatusCode::BAD_REQUEST,
    "malformed_json",
    "The body is not JSON, or not UTF-8.",
    "the body is not JSON: EOF while parsing an object at line 1 column 1",
);
const UNAUTHORIZED: Common = common(
    "Unauthorized",
    StatusCode::UNAUTHORIZED,
    "token_missing",
    "The access token is missing (`token_missing`), has ended (`token_expired`), or is bad or revoked (`token_invalid`).",
    "send the access token as \"Authorization: Bearer …\"",
);
const FORBIDDEN: Common = common(
    "Forbidden",
    StatusCode::FORBIDDEN,
    "forbidden",
    "Not allowed to the caller (`forbidden`), or not with this personal access token (`insufficient_scope`).",
    "join this room first",
);
const NOT_FOUND: Common = common(
    "NotFound",
    StatusCode::NOT_FOUND,
    "not_found",
    "Absent, or not visible to the caller.",
    "there is no such room, or it is not visible to you",
);
const NOT_ALLOWED: Common = common(
    "MethodNotAllowed",
    StatusCode::METHOD_NOT_ALLOWED,
    "method_not_allowed",
    "This path does not take this method.",
    "/api/rooms does not take DELETE; the header Allow lists what it takes",
);
const TOO_LARGE: Common = common(
    "TooLarge",
    StatusCode::PAYLOAD_TOO_LARGE,
    "too_large",
    "The body has more than 262,144 bytes.",
    "a body has at most 262144 bytes",
);
const UNSUPPORTED: Common = common(
    "UnsupportedMediaType",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported_media_type",
    "The body has a media type that is not read here, or none.",
    "send the body as Content-Type: application/json",
);
const INVALID: Common = common(
    "Invalid",
    StatusCode::UNPROCESSABLE_ENTITY,
    "invalid",
    "Well-formed, but not allowed: `errors` names each field (or query parameter) and why.",
    "name: is required",
);
const INTERNAL: Common = common(
    "Internal",
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "The server failed; what happened stands in its log under the request id.",
    "the server failed to do this; nothing was changed",
);
const UNAVAILABLE: Common = common(
    "Unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The server is busy, starting or stopping: try again later.",
    "the server is stopping",
);

const COMMON: &[Common] = &[
    MALFORMED,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    NOT_ALLOWED,
    TOO_LARGE,
    UNSUPPORTED,
    INVALID,
    INTERNAL,
    UNAVAILABLE,
];

/// Response headers: name, type, description, example.
const HEADERS: &[(&str, Type, &str, &str)] = &[
    ("X-Request-Id", Type::String, "Names this request in the server's log.", "0190b5a2-7e7c-7cc1-8c5a-6e0f3f0d9a11"),
    ("WWW-Authenticate", Type::String, "How to prove who you are (RFC 6750).", "Bearer"),
    ("Allow", Type::String, "The methods that this path takes.", "GET,HEAD,POST"),
    ("Retry-After", Type::Integer, "Seconds to wait before trying again.", "1"),
];

/// The OpenAPI 3.1 document.
pub fn openapi() -> OpenApi {
    let mut api = router::documented().into_openapi();
    for item in api.paths.paths.values_mut() {
        operations(item).for_each(complete);
    }
    schemas::tighten(api.components.get_or_insert_default());
    api
}

/// The document as text, for people and for version control.
pub fn openapi_json() -> String {
    // A document without maps of other keys than texts always becomes JSON.
    openapi().to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}

/// What the document says before the routes add theirs.
pub(super) fn base() -> OpenApi {
    let mut license = License::new("Apache-2.0 OR MIT");
    license.identifier = Some("Apache-2.0 OR MIT".to_owned());
    let mut info = Info::new("Mesh Server", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.to_owned());
    info.license = Some(license);
    let tag = |(name, text): &(&str, &str)| -> Tag { TagBuilder::new().name(*name).description(Some(*text)).build() };
    OpenApi::builder()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some(TAGS.iter().map(tag)))
        .components(Some(components()))
        // Either of the two; an operation that needs none says so.
        .security(Some(["bearer", "password"].map(|name| SecurityRequirement::new(name, [""; 0]))))
        .build()
}

fn components() -> Components {
    let mut components = Components::new();
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    components.schemas.insert(FieldError::name().into_owned(), FieldError::schema());
    for common in COMMON {
        let response = problem(common.description, common.status, common.code, common.detail);
        components.responses.insert(common.name.to_owned(), response.into());
    }
    for (name, kind, description, example) in HEADERS {
        let mut header = Header::new(Object::with_type(kind.clone()));
        header.description = Some((*description).to_owned());
        header.example = Some(example.parse().map_or_else(|_| Value::from(*example), |n: u64| n.into()));
        components.headers.insert((*name).to_owned(), header.into());
    }
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description =
        Some("An access token, as a login gives it, or a personal access token (`mesh_pat_…`).".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let flow = Flow::Password(Password::new("/api/auth/login", Scopes::new()));
    let password = OAuth2::with_description([flow], "Logs in by user name and password.");
    components.add_security_scheme("password", SecurityScheme::OAuth2(password));
    components
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Adds what follows from the operation's kind, so that no route repeats it.
fn complete(operation: &mut Operation) {
    // utoipa writes "needs no credential" as "may do without one".
    let public = operation.security.as_ref().is_some_and(|any| any.contains(&SecurityRequirement::default()));
    if public {
        operation.security = Some(Vec::new());
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has = |place: &str| {
        parameters
            .iter()
            .any(|p| matches!(p, RefOr::T(p) if serde_json::to_value(&p.parameter_in).is_ok_and(|v| v == place)))
    };
    let body = operation.request_body.is_some();
    let given = [
        (body, MALFORMED),
        (!public, UNAUTHORIZED),
        (!public, FORBIDDEN),
        (has("path"), NOT_FOUND),
        (true, NOT_ALLOWED),
        (body, TOO_LARGE),
        (body, UNSUPPORTED),
        (body || has("query"), INVALID),
        (true, INTERNAL),
        (body || !public, UNAVAILABLE),
    ];
    let responses = &mut operation.responses.responses;
    for (_, common) in given.into_iter().filter(|(given, _)| *given) {
        let reference = RefOr::Ref(Ref::new(format!("#/components/responses/{}", common.name)));
        responses.entry(common.status.as_str().to_owned()).or_insert(reference);
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let status = StatusCode::from_bytes(status.as_bytes()).unwrap_or_default();
        if status.is_success() {
            add_headers(response, status);
        } else if response.content.is_empty() {
            // The route wrote "`code`: what it means".
            let (code, detail) = response.description.split_once(": ").unwrap_or(("", &response.description));
            *response = problem(&response.description, status, code.trim_matches('`'), detail);
        }
    }
}

/// A response that is a problem, with an example.
fn problem(description: &str, status: StatusCode, code: &str, detail: &str) -> Response {
    let errors = if status == StatusCode::UNPROCESSABLE_ENTITY {
        let message = "is required".to_owned();
        vec![FieldError { field: "name".to_owned(), code: "required".to_owned(), message }]
    } else {
        Vec::new()
    };
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    content.example = serde_json::to_value(document(status, code, detail.to_owned(), errors)).ok();
    let mut response = Response::new(description);
    response.content.insert(PROBLEM_JSON.to_owned(), content.into());
    add_headers(&mut response, status);
    response
}

fn add_headers(response: &mut Response, status: StatusCode) {
    let more: &[&str] = match status {
        StatusCode::UNAUTHORIZED => &["WWW-Authenticate"],
        StatusCode::METHOD_NOT_ALLOWED => &["Allow"],
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &["Retry-After"],
        _ => &[],
    };
    for name in ["X-Request-Id"].iter().chain(more) {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        response.headers.insert((*name).to_owned(), RefOr::Ref(reference));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(openapi()).unwrap()
    }

    fn each_operation(document: &Value, mut check: impl FnMut(&str, &Value)) {
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                check(&format!("{method} {path}"), operation);
            }
        }
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_operation_is_told_in_full() {
        let document = document();
        let mut ids = HashSet::new();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|t| t["name"].clone()).collect();
        each_operation(&document, |name, operation| {
            assert!(ids.insert(operation["operationId"].clone()), "{name}");
            assert!(operation["summary"].is_string(), "{name}");
            assert!(tags.contains(&operation["tags"][0]), "{name}");
            for status in ["405", "500"] {
                assert!(operation["responses"][status].is_object(), "{name} {status}");
            }
            if operation["security"].is_null() {
                assert!(operation["responses"]["401"].is_object(), "{name}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_reference = response["$ref"].is_string();
                assert!(is_reference || response["headers"]["X-Request-Id"].is_object(), "{name} {status}");
                assert!(is_reference || status == "204" || response["content"].is_object(), "{name} {status}");
            }
            if operation["requestBody"].is_object() {
                for status in ["400", "413", "415", "422"] {
                    assert!(operation["responses"][status].is_object(), "{name} {status}");
                }
            }
        });
        assert!(ids.len() > 20);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_is_public_says_so() {
        let document = document();
        assert_eq!(document["paths"]["/api/auth/login"]["post"]["security"], serde_json::json!([]));
        assert_eq!(document["security"].as_array().unwrap().len(), 2);
        let conflict = &document["paths"]["/api/auth/register"]["post"]["responses"]["409"];
        assert_eq!(conflict["content"][PROBLEM_JSON]["example"]["code"], "username_taken");
        assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0 OR MIT");
    }
}
