//! Capability tokens: what a peer may ask of another, for a minute or three.

use mesh_protocol::{
    PeerId, RoomId, Timestamp,
    limits::{DEFAULT_CAPABILITY_SECONDS, MAX_CAPABILITY_SECONDS, MIN_CAPABILITY_SECONDS},
    model::Capability,
    rest::{CapabilityRequest, CapabilityResponse},
};

use super::{
    auth::{self, Caller},
    rooms::authorise,
};
use crate::{
    app::App,
    domain::policy::RoomAction,
    error::{Error, Fields, Kind, Result},
    keys::{CapabilityClaims, CapabilityGrant, Confirmation},
};

/// Gives a capability token.
///
/// # Errors
/// 422 with every field that is not allowed; 404 where the caller is not a member; 403 where their role may not hold it.
pub async fn grant(app: &App, caller: &Caller, request: CapabilityRequest) -> Result<CapabilityResponse> {
    let mut fields = Fields::default();
    fields.within("ttl", request.ttl, &(MIN_CAPABILITY_SECONDS..=MAX_CAPABILITY_SECONDS));
    let ttl = request.ttl.unwrap_or(DEFAULT_CAPABILITY_SECONDS);
    let mut capabilities = request.capabilities;
    if capabilities.is_empty() || capabilities.len() > Capability::ALL.len() {
        fields.add("capabilities", "invalid", format!("must name 1 to {} capabilities", Capability::ALL.len()));
    }
    let cnf = request.fingerprint.as_deref().map(Confirmation::from_fingerprint);
    if cnf == Some(None) {
        fields.add("fingerprint", "invalid", "must be a SHA-256 fingerprint, such as sha-256 AB:CD:… or base64url");
    }
    fields.check()?;
    capabilities.sort_unstable();
    capabilities.dedup();
    let room = request.room_id;
    member_may(app, caller, room, &capabilities).await?;
    let now = app.clock.now_ms() / 1000;
    let grant = CapabilityGrant {
        user: caller.user_id,
        session: caller.session_id,
        room_id: room,
        target_peer_id: request.target_peer_id.clone(),
        capabilities: capabilities.clone(),
        cnf: cnf.flatten(),
    };
    Ok(CapabilityResponse {
        capability_token: app.keys.capability_token(&app.ids, grant, now, ttl)?,
        token_type: "capability".to_owned(),
        capabilities,
        room_id: room,
        target_peer_id: request.target_peer_id,
        expires_in: u64::try_from(ttl).unwrap_or(0),
        expires_at: Timestamp::from_millis((now + ttl) * 1000),
    })
}

/// A room that one is not in is absent here, public or not: there is nobody in it to have a capability for.
async fn member_may(app: &App, caller: &Caller, room: RoomId, capabilities: &[Capability]) -> Result<()> {
    let (user, wanted) = (caller.user_id, capabilities.to_vec());
    app.db
        .read(move |tx| {
            let (room, user) = (room.to_string(), user.to_string());
            if crate::store::members::role(tx, &room, &user)?.is_none() {
                return Err(Error::room_not_found());
            }
            wanted
                .iter()
                .try_for_each(|capability| authorise(tx, &room, &user, RoomAction::Hold(*capability)).map(drop))
        })
        .await
}

/// Judges a capability token that `caller` shows, to use `capability` in `room`: it is theirs, in time, for that room,
/// and the login, the account and the membership that it stands on still stand.
///
/// # Errors
/// 401 for a token that is none, has ended, or is somebody else's; 403 where it does not say this; 404 where the caller
/// is not in the room any more.
pub async fn check(
    app: &App,
    caller: &Caller,
    token: &str,
    room: RoomId,
    capability: Capability,
) -> Result<CapabilityClaims> {
    check_any(app, caller, token, room, &[capability]).await
}

/// The same, where one of several capabilities will do.
async fn check_any(
    app: &App,
    caller: &Caller,
    token: &str,
    room: RoomId,
    any_of: &[Capability],
) -> Result<CapabilityClaims> {
    let claims = app.keys.verify_capability(token, app.clock.now_ms() / 1000)?;
    let held: Vec<_> = any_of.iter().copied().filter(|wanted| claims.capabilities.contains(wanted)).collect();
    if claims.sub != caller.user_id || claims.room_id != room || held.is_empty() {
        return Err(Error::forbidden("the capability token does not allow this here"));
    }
    auth::session_lives(app, claims.sid).await?;
    member_may(app, caller, room, &held).await?;
    Ok(claims)
}

/// What an event to `target` in `room` needs: a token with one of these capabilities, good for that peer.
///
/// # Errors
/// `capability_required` without a token; `capability_invalid` with one that does not allow this; 404 where the caller is
/// not in the room any more.
pub async fn shown(
    app: &App,
    caller: &Caller,
    token: Option<&str>,
    room: RoomId,
    any_of: &[Capability],
    target: &PeerId,
) -> Result<CapabilityClaims> {
    let token = given(token, any_of)?;
    let claims = check_any(app, caller, token, room, any_of).await.map_err(|e| match e.kind {
        Kind::Unauthorized | Kind::Forbidden => invalid(&e.message),
        _ => e,
    })?;
    match &claims.target_peer_id {
        Some(named) if named != target => Err(invalid(&format!("it is good for {named} alone"))),
        _ => Ok(claims),
    }
}

/// The token, where there is one.
///
/// # Errors
/// `capability_required`.
pub fn given<'a>(token: Option<&'a str>, any_of: &[Capability]) -> Result<&'a str> {
    token.filter(|token| !token.is_empty()).ok_or_else(|| {
        let words: Vec<_> = any_of.iter().map(|c| c.as_str()).collect();
        let message = format!("capability_token: this needs a capability token with {}", words.join(" or "));
        Error::new(Kind::Forbidden, "capability_required", message)
    })
}

/// A token that does not allow something.
pub fn invalid(message: &str) -> Error {
    Error::new(Kind::Forbidden, "capability_invalid", format!("capability_token: {message}"))
}
