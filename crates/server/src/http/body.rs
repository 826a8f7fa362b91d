//! Bodies: what a request's holds, and how an answer's is written.

use std::collections::HashMap;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use mesh_protocol::{event::read_json, limits::MAX_BODY_BYTES, rest::LoginRequest};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use utoipa::ToSchema;

use crate::error::{Error, Fields, Kind, Result};

/// Bytes of a body that is too large which are still read, so that a caller who sends first hears why before the
/// connection closes.
const MAX_DRAINED_BYTES: usize = 4 * MAX_BODY_BYTES;

const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON body, in a request or an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        if !is_json(&media_type(request.headers())) {
            return Err(unsupported("application/json"));
        }
        parse_json(&read_body(request).await?).map(Self)
    }
}

/// A body whose every field may be absent: so may the body. Without one, or where it is `null`, all are.
pub(super) struct JsonOrNothing<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let kind = media_type(request.headers());
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let body = read_body(request).await?;
        if !typed && body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json(&kind) {
            return Err(unsupported("application/json"));
        }
        if body.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        parse_json(&body).map(Self)
    }
}

/// What an answer's body takes at once; most need no more.
const BODY: usize = 1_024;

impl<T: Serialize> IntoResponse for Json<T> {
    // As axum's own, which begins with an eighth of that and writes each piece by a buffer that may be in several.
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(BODY);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(e) => Error::internal(e).into_response(),
        }
    }
}

/// The OAuth 2 form of a login (RFC 6749, section 4.3.2).
#[derive(ToSchema)]
#[allow(dead_code, reason = "it only describes the form, whose fields are read by name")]
pub(super) struct PasswordForm {
    /// `password`, if given.
    #[schema(pattern = "^password$", example = "password")]
    grant_type: Option<String>,
    /// The account's name, in any case.
    #[schema(example = "ana")]
    username: String,
    /// Its password.
    #[schema(format = Password, example = "correct horse battery")]
    password: String,
}

/// A login, as JSON or as the OAuth 2 password form.
pub(super) struct LoginBody(pub(super) LoginRequest);

impl<S: Send + Sync> FromRequest<S> for LoginBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        match media_type(request.headers()).as_str() {
            json if is_json(json) => parse_json(&read_body(request).await?).map(Self),
            FORM => login_form(&read_body(request).await?).map(Self),
            _ => Err(unsupported("application/json or application/x-www-form-urlencoded")),
        }
    }
}

fn login_form(body: &[u8]) -> Result<LoginRequest> {
    let mut fields = Fields::default();
    let mut given: HashMap<String, String> = HashMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        let known = matches!(&*name, "grant_type" | "username" | "password");
        if known && given.insert(name.to_string(), value.into_owned()).is_some() {
            fields.add(&name, "repeated", "is given more than once");
        }
    }
    if given.get("grant_type").is_some_and(|grant| grant != "password") {
        fields.add("grant_type", "invalid", "must be \"password\"");
    }
    let mut required = |name: &str| {
        let value = given.remove(name);
        if value.is_none() {
            fields.add(name, "required", "is required");
        }
        value.unwrap_or_default()
    };
    let login = LoginRequest { username: required("username"), password: required("password") };
    fields.check()?;
    Ok(login)
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn unsupported(wanted: &str) -> Error {
    Error::new(Kind::UnsupportedMedia, "unsupported_media_type", format!("send the body as Content-Type: {wanted}"))
}

fn too_large() -> Error {
    Error::new(Kind::TooLarge, "too_large", format!("a body has at most {MAX_BODY_BYTES} bytes"))
}

async fn read_body(request: Request) -> Result<Vec<u8>> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    if announced > MAX_DRAINED_BYTES {
        return Err(too_large());
    }
    let mut stream = Body::into_data_stream(request.into_body());
    let mut bytes = Vec::with_capacity(announced.min(MAX_BODY_BYTES));
    let mut length = 0_usize;
    while let Some(chunk) = stream.next().await {
        let broken = |_| Error::new(Kind::Malformed, "malformed_body", "the body broke off before its end");
        let chunk = chunk.map_err(broken)?;
        length = length.saturating_add(chunk.len());
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if length > MAX_DRAINED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn malformed_json(message: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, "malformed_json", message)
}

/// Reads a body: 400 where it is no JSON, 422 where it is JSON of another shape.
fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(body).map_err(|e| malformed_json(format!("the body is not UTF-8: {e}")))?;
    // serde reads a struct from an array too; a body is an object.
    let is_object = text.trim_ascii_start().starts_with('{');
    if is_object && let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(malformed_json(format!("the body is not JSON: {error}")));
    }
    if !is_object {
        return Err(Error::invalid_field("", "invalid_type", "the body must be a JSON object"));
    }
    let (field, message) = match read_json::<T>(text) {
        Ok(value) => return Ok(value),
        // What serde_json says of a number where a word of a list belongs.
        Err((field, message)) if message == "expected value" => {
            return Err(Error::invalid_field(field, "invalid_type", "invalid type: expected a string"));
        }
        Err(found) => found,
    };
    let code = match message.as_str() {
        "is required" => "required",
        text if text.starts_with("invalid type") => "invalid_type",
        _ => "invalid",
    };
    // The path ends before a field that is given twice.
    let twice = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    let field = match twice {
        Some(name) if field.is_empty() => name.to_owned(),
        Some(name) => format!("{field}.{name}"),
        None => field,
    };
    Err(Error::invalid_field(field, code, message))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
