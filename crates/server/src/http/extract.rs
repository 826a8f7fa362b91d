//! What handlers take from a request.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams},
    http::{HeaderMap, header, request::Parts},
};
use mesh_protocol::{MessageId, RoomId, SessionId, UserId};
use utoipa::{
    IntoParams,
    openapi::{
        Object, Required, SchemaFormat, Type,
        path::{Parameter, ParameterIn},
    },
};

use crate::{
    app::App,
    config::Cidr,
    domain::scope,
    error::{Error, Kind, Result},
    service::{
        accounts::ClientInfo,
        auth::{Caller, authenticate},
        members::Whom,
    },
};

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

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
