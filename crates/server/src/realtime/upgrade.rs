//! `GET /ws`: from an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    extract::{Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode, Uri,
        header::{
            AUTHORIZATION, CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::IntoResponse,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use mesh_protocol::CloseCode;
use serde::Deserialize;

use super::{
    conn::{Close, Conn},
    connection::{self, Connection},
    frame,
    hub::{Hub, locked},
};
use crate::{
    error::{Error, Kind},
    service::auth::{self, Caller},
    tls::Stream,
};

/// The credential in the URL, for browsers, which cannot set a header here.
#[derive(Default, Deserialize)]
pub struct Credential {
    token: Option<String>,
    ticket: Option<String>,
}

/// What a handshake has come to.
pub struct Agreed {
    /// Whose the WebSocket is to be, or why it is nobody's: then it is opened all the same, and closed with 4401.
    judged: Result<Caller, &'static str>,
    /// Its messages are compressed (RFC 7692).
    deflate: bool,
}

/// Where a request leaves word for its connection that it is to become a WebSocket.
#[derive(Clone, Default)]
pub struct Switch(Arc<Mutex<Option<Upgrade>>>);

impl Switch {
    fn set(&self, upgrade: Upgrade) {
        *locked(&self.0) = Some(upgrade);
    }

    /// What the connection becomes, once its last answer is written.
    pub fn take(&self) -> Option<Upgrade> {
        locked(&self.0).take()
    }
}

/// A WebSocket that is about to be.
pub struct Upgrade {
    pending: OnUpgrade,
    agreed: Agreed,
}

impl Upgrade {
    /// The connection, when HTTP has let go of it, and what was agreed on.
    pub async fn complete(self) -> Option<(Upgraded, Agreed)> {
        match self.pending.await {
            Ok(upgraded) => Some((upgraded, self.agreed)),
            Err(e) => {
                tracing::debug!(error = &e as &dyn std::error::Error, "an upgrade was not completed");
                None
            }
        }
    }
}

/// A WebSocket that is somebody's.
pub struct Opened(Box<Connection>);

impl Opened {
    /// Serves it to its end.
    pub async fn serve(self) {
        connection::serve(self.0).await;
    }
}

/// Makes a WebSocket of a connection whose handshake was answered; `early` is what came behind that. One that is nobody's is
/// closed at once: there is none.
pub async fn open(io: Stream, early: Vec<u8>, hub: &Arc<Hub>, agreed: Agreed) -> Option<Opened> {
    match agreed.judged {
        Ok(caller) => {
            let conn = Arc::new(Conn::new(hub.next_number(), caller, agreed.deflate));
            Some(Opened(Connection::open(io, early, hub.clone(), conn)))
        }
        Err(reason) => {
            connection::refuse(io, Close::new(CloseCode::Credential, reason)).await;
            None
        }
    }
}

fn has_token(headers: &HeaderMap, name: axum::http::HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

fn problem(kind: Kind, code: &'static str, message: &str) -> Error {
    Error::new(kind, code, message)
}

/// Whether a request asks for a WebSocket.
fn asks(headers: &HeaderMap) -> bool {
    has_token(headers, UPGRADE, "websocket") && has_token(headers, CONNECTION, "upgrade")
}

fn of_this_version(headers: &HeaderMap) -> bool {
    headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// What proves that a handshake was understood (`Sec-WebSocket-Accept`).
///
/// # Errors
/// 400 where it has no key, 403 for an origin that is not allowed.
fn accept_of(hub: &Hub, headers: &HeaderMap) -> Result<HeaderValue, Error> {
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|key| frame::valid_key(key));
    let Some(accept) = key.map(frame::accept_key) else {
        return Err(problem(Kind::Malformed, "websocket_key", "Sec-WebSocket-Key must be 16 bytes in base64"));
    };
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| hub.app().config.cors_origins.allows(origin))
    {
        return Err(problem(Kind::Forbidden, "origin_not_allowed", "MESH_CORS_ORIGINS does not allow this origin"));
    }
    HeaderValue::from_str(&accept).map_err(Error::internal)
}

/// Judges the credential of a handshake.
///
/// # Errors
/// 503 where it cannot be judged now.
async fn judge(hub: &Hub, uri: &Uri, headers: &HeaderMap) -> Result<Result<Caller, &'static str>, Error> {
    let in_header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let in_url = Query::<Credential>::try_from_uri(uri).map(|Query(credential)| credential).unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let judged = match (given(in_url.ticket), given(in_url.token).or(in_header)) {
        (Some(ticket), _) => auth::authenticate_ticket(hub.app(), &ticket).await,
        (None, Some(token)) => auth::authenticate(hub.app(), &token).await,
        (None, None) => return Ok(Err("token_missing")),
    };
    match judged {
        Ok(caller) => Ok(Ok(caller)),
        Err(e) if e.kind == Kind::Unauthorized => Ok(Err(e.code)),
        Err(e) => Err(e),
    }
}

/// What is answered to the extensions that a client offers: compression, where the server is set to it.
fn extensions_of(hub: &Hub, headers: &HeaderMap) -> Option<HeaderValue> {
    if !hub.app().config.ws_compression {
        return None;
    }
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    frame::deflate::accept(offers).and_then(|answer| HeaderValue::from_str(&answer).ok())
}

/// The answer's head, without what all answers have.
fn switching(accept: HeaderValue, extensions: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(extensions) = extensions {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
    }
    response
}

/// The `Sec-WebSocket-Accept` of a handshake that needs nothing of [`upgrade`]: one in which nothing is to be refused.
pub fn accepts(hub: &Hub, headers: &HeaderMap) -> Option<HeaderValue> {
    let right = asks(headers) && of_this_version(headers);
    if right { accept_of(hub, headers).ok() } else { None }
}

/// Answers a handshake that [`accepts`] has looked at; none where its credential cannot be judged now.
pub async fn answer(
    hub: &Hub,
    uri: &Uri,
    headers: &HeaderMap,
    accept: HeaderValue,
) -> Option<(Response<Body>, Agreed)> {
    let judged = judge(hub, uri, headers).await.ok()?;
    let extensions = extensions_of(hub, headers);
    let agreed = Agreed { judged, deflate: extensions.is_some() };
    Some((switching(accept, extensions), agreed))
}

/// Upgrades the connection. Without a valid credential it is upgraded all the same and closed with 4401, since a
/// browser cannot read an HTTP status here.
///
/// # Errors
/// 400 where the request is no WebSocket handshake, 403 for an origin that is not allowed, 503 where the credential
/// cannot be judged now.
pub async fn upgrade(State(hub): State<Arc<Hub>>, mut request: Request) -> Result<Response<Body>, Error> {
    let headers = request.headers();
    if !asks(headers) {
        let message = "this is a WebSocket: connect with a WebSocket client";
        return Err(problem(Kind::Malformed, "websocket_required", message));
    }
    if !of_this_version(headers) {
        let mut refused = (StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed\n").into_response();
        refused.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Ok(refused);
    }
    let accept = accept_of(&hub, headers)?;
    let judged = judge(&hub, request.uri(), headers).await?;
    let extensions = extensions_of(&hub, headers);
    let pending = hyper::upgrade::on(&mut request);
    let Some(switch) = request.extensions().get::<Switch>() else {
        return Err(Error::internal("a WebSocket was asked for where none can be had"));
    };
    switch.set(Upgrade { pending, agreed: Agreed { judged, deflate: extensions.is_some() } });
    Ok(switching(accept, extensions))
}
