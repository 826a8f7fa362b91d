//! What handlers take from a request.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use mesh_protocol::{
    MessageId, RoomId, SessionId, UserId, event::read_json, limits::MAX_BODY_BYTES, rest::LoginRequest,
};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Object, Required, SchemaFormat, Type,
        path::{Parameter, ParameterIn},
    },
};

use crate::{
    app::App,
    config::Cidr,
    domain::scope,
    error::{Error, Fields, Kind, Result},
    service::{
        accounts::ClientInfo,
        auth::{Caller, authenticate},
        members::Whom,
    },
};

/// Bytes of a body that is too large which are still read, so that a caller who sends first hears why before the
/// connection closes.
const MAX_DRAINED_BYTES: usize = 4 * MAX_BODY_BYTES;

const FORM: &str = "application/x-www-form-urlencoded";

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let caller = authenticate(app, bearer(&parts.headers)?).await?;
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        caller.require(scope::for_call(parts.method.as_str(), path))?;
        Ok(caller)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    token.ok_or_else(|| {
        Error::new(Kind::Unauthorized, "token_missing", "send the access token as \"Authorization: Bearer …\"")
    })
}

impl FromRequestParts<Arc<App>> for ClientInfo {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            ip: client_address(peer, &parts.headers, &app.config.trusted_proxies),
            user_agent: user_agent.map(ToOwned::to_owned),
        })
    }
}

/// The client's address: the peer's, or where that is a trusted proxy, the last one in `X-Forwarded-For` that is not.
/// What stands left of it was written by the client.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let mut address = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let hops = headers.get_all("x-forwarded-for").iter().rev();
    for hop in hops.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')) {
        if !is_trusted(address) {
            break;
        }
        // Some proxies write the port too.
        let hop = hop.trim();
        let Some(before) = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|a| a.ip())) else { break };
        address = IpAddr::to_canonical(&before);
    }
    address
}

/// An id in a path. What is no UUID names nothing, and is answered like anything absent.
async fn id_in_path<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(param, _)| *param == name).map(|(_, text)| text.to_owned())
}

macro_rules! id_path {
    ($(#[$doc:meta])* $path:ident($id:ident), $description:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $path(pub(super) $id);

        impl<S: Send + Sync> FromRequestParts<S> for $path {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
                Ok(Self(id_in_path(parts, state, "id").await.map_or($id::NOTHING, |text| $id::parse(&text))))
            }
        }

        impl IntoParams for $path {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![uuid_param("id", $description)]
            }
        }
    };
}

id_path!(
    /// The room in the path.
    RoomPath(RoomId),
    "The room's id."
);
/// The OpenAPI entry of an id in a path.
fn uuid_param(name: &str, description: &str) -> Parameter {
    let format = Some(SchemaFormat::Custom("uuid".to_owned()));
    let schema = Object::builder().schema_type(Type::String).format(format);
    Parameter::builder()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A room and one of its messages in the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessagePath(pub(super) RoomId, pub(super) MessageId);

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let RoomPath(room) = RoomPath::from_request_parts(parts, state).await?;
        let message = id_in_path(parts, state, "message_id").await;
        Ok(Self(room, message.map_or(MessageId::NOTHING, |text| MessageId::parse(&text))))
    }
}

impl IntoParams for MessagePath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![uuid_param("id", "The room's id."), uuid_param("message_id", "The message's id.")]
    }
}

/// A room and one of its members in the path: an account's id, or `me`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberPath(pub(super) RoomId, pub(super) Whom);

impl<S: Send + Sync> FromRequestParts<S> for MemberPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let RoomPath(room) = RoomPath::from_request_parts(parts, state).await?;
        let whom = match id_in_path(parts, state, "user_id").await.as_deref() {
            Some("me") => Whom::Me,
            other => Whom::User(other.map_or(UserId::NOTHING, UserId::parse)),
        };
        Ok(Self(room, whom))
    }
}

impl IntoParams for MemberPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let whom = text_param("user_id", "The account's id, or `me` for the caller.", MEMBER_PATTERN);
        vec![uuid_param("id", "The room's id."), whom]
    }
}

const MEMBER_PATTERN: &str = "^(me|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$";

/// A room and an account in the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct BanPath(pub(super) RoomId, pub(super) UserId);

impl<S: Send + Sync> FromRequestParts<S> for BanPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let RoomPath(room) = RoomPath::from_request_parts(parts, state).await?;
        let user = id_in_path(parts, state, "user_id").await;
        Ok(Self(room, user.map_or(UserId::NOTHING, |text| UserId::parse(&text))))
    }
}

impl IntoParams for BanPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![uuid_param("id", "The room's id."), uuid_param("user_id", "The account's id.")]
    }
}

/// An invite's code in the path.
#[derive(Clone, Debug)]
pub(super) struct CodePath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for CodePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        // What is no UTF-8 is empty, which is no code.
        Ok(Self(id_in_path(parts, state, "code").await.unwrap_or_default()))
    }
}

impl IntoParams for CodePath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![text_param("code", "The invite's code.", "^[A-Za-z0-9_-]{22}$")]
    }
}

/// A room and one of its invites in the path.
#[derive(Clone, Debug)]
pub(super) struct RoomInvitePath(pub(super) RoomId, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for RoomInvitePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let RoomPath(room) = RoomPath::from_request_parts(parts, state).await?;
        let CodePath(code) = CodePath::from_request_parts(parts, state).await?;
        Ok(Self(room, code))
    }
}

impl IntoParams for RoomInvitePath {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = vec![uuid_param("id", "The room's id.")];
        params.extend(CodePath::into_params(place));
        params
    }
}

/// The OpenAPI entry of a text in a path.
fn text_param(name: &str, description: &str, pattern: &str) -> Parameter {
    let schema = Object::builder().schema_type(Type::String).pattern(Some(pattern));
    Parameter::builder()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// The reaction at the end of the path.
#[derive(Clone, Debug)]
pub(super) struct EmojiPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for EmojiPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        // What is no UTF-8 is empty, which is no reaction.
        Ok(Self(id_in_path(parts, state, "emoji").await.unwrap_or_default()))
    }
}

impl IntoParams for EmojiPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = Object::builder().schema_type(Type::String).min_length(Some(1)).max_length(Some(32));
        let schema = schema.pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f]+$"));
        let emoji = Parameter::builder()
            .name("emoji")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("The reaction: 1–32 characters without white space, percent-encoded."))
            .schema(Some(schema))
            .example(Some("👍".into()));
        vec![emoji.build()]
    }
}

id_path!(
    /// The account in the path.
    UserPath(UserId),
    "The account's id."
);
id_path!(
    /// The login in the path.
    SessionPath(SessionId),
    "The login's id."
);
id_path!(
    /// The personal access token in the path.
    TokenPath(SessionId),
    "The token's id."
);

id_path!(
    /// The notification in the path.
    OutboxPath(MessageId),
    "The notification's id."
);

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
#[path = "extract_tests.rs"]
mod tests;
