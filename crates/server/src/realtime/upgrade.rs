//! `GET /ws`: from an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    extract::{Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{
            AUTHORIZATION, CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::IntoResponse,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mesh_protocol::CloseCode;
use serde::Deserialize;

use super::{
    conn::{Close, Conn},
    connection, frame,
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
    hub: Arc<Hub>,
    /// Whose it is, or why it is nobody's.
    caller: Result<Caller, &'static str>,
}

impl Upgrade {
    /// Starts the connection's own task: what the handshake needed ends with the handshake's.
    pub async fn serve(self) {
        let Self { pending, hub, caller } = self;
        let upgraded = match pending.await {
            Ok(upgraded) => upgraded,
            Err(e) => return tracing::debug!(error = &e as &dyn std::error::Error, "an upgrade was not completed"),
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
            return tracing::error!("an upgraded connection is of an unexpected kind");
        };
        let (io, early) = (parts.io.into_inner(), parts.read_buf);
        let tasks = hub.app().tasks.clone();
        match caller {
            Err(reason) => {
                let close = Close::new(CloseCode::Credential, reason);
                tasks.spawn_for_client("refusal", connection::refuse(io, close));
            }
            Ok(caller) => {
                let conn = Arc::new(Conn::new(hub.next_number(), caller));
                tasks.spawn_for_client("connection", connection::serve(io, early, hub, conn));
            }
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

/// Upgrades the connection. Without a valid credential it is upgraded all the same and closed with 4401, since a
/// browser cannot read an HTTP status here.
///
/// # Errors
/// 400 where the request is no WebSocket handshake, 403 for an origin that is not allowed, 503 where the credential
/// cannot be judged now.
pub async fn upgrade(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<Credential>, axum::extract::rejection::QueryRejection>,
    mut request: Request,
) -> Result<Response<Body>, Error> {
    let headers = request.headers();
    if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
        let message = "this is a WebSocket: connect with a WebSocket client";
        return Err(problem(Kind::Malformed, "websocket_required", message));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        let mut refused = (StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed\n").into_response();
        refused.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Ok(refused);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|key| frame::valid_key(key));
    let Some(accept) = key.map(frame::accept_key) else {
        return Err(problem(Kind::Malformed, "websocket_key", "Sec-WebSocket-Key must be 16 bytes in base64"));
    };
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| hub.app().config.cors_origins.allows(origin))
    {
        return Err(problem(Kind::Forbidden, "origin_not_allowed", "MESH_CORS_ORIGINS does not allow this origin"));
    }
    let in_header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let in_url = query.map(|Query(credential)| credential).unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let judged = match (given(in_url.ticket), given(in_url.token).or(in_header)) {
        (Some(ticket), _) => Some(auth::authenticate_ticket(hub.app(), &ticket).await),
        (None, Some(token)) => Some(auth::authenticate(hub.app(), &token).await),
        (None, None) => None,
    };
    let caller = match judged {
        None => Err("token_missing"),
        Some(Ok(caller)) => Ok(caller),
        Some(Err(e)) if e.kind == Kind::Unauthorized => Err(e.code),
        Some(Err(e)) => return Err(e),
    };
    let pending = hyper::upgrade::on(&mut request);
    let Some(switch) = request.extensions().get::<Switch>() else {
        return Err(Error::internal("a WebSocket was asked for where none can be had"));
    };
    let accept = HeaderValue::from_str(&accept).map_err(Error::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    switch.set(Upgrade { pending, hub, caller });
    Ok(response)
}
