//! Personal access tokens, for agents and bots. A changed password leaves them alone, since they are no logins of a
//! person; a disabled account ends them.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    SessionId, Timestamp,
    credentials::{CreateTokenRequest, NewToken, TokenInfo},
    limits::{MAX_TOKEN_SECONDS, MAX_TOKENS},
    text::DisplayName,
};
use serde_json::json;

use super::{
    accounts::ClientInfo,
    audit::{self, action},
    auth::{self, Caller, PAT_PREFIX, hash_token},
};
use crate::{
    app::App,
    domain::{
        happening::{Ending, Happening},
        scope::Scopes,
    },
    error::{Error, Fields, Kind, Result},
    store::{
        self, Tx,
        audit::{Target, Trail},
        tokens::NewAccessToken,
    },
};

fn note(tx: &mut Tx<'_>, trail: &Trail, action: &str, id: SessionId, name: &str, scopes: Option<Scopes>) -> Result<()> {
    let id = id.to_string();
    let details = scopes.map(|scopes| json!({"scopes": scopes.list()}));
    store::audit::record(tx, trail, action, Some(Target { kind: "token", id: &id, name: Some(name) }), details.as_ref())
}

/// Makes a token. It is told this once.
///
/// # Errors
/// 422 with every field that is not allowed; 409 `too_many_tokens`.
pub async fn create(app: &App, caller: &Caller, request: CreateTokenRequest, client: ClientInfo) -> Result<NewToken> {
    let mut fields = Fields::default();
    let name = fields.take("name", DisplayName::parse(&request.name));
    fields.within("expires_in", request.expires_in, &(1..=MAX_TOKEN_SECONDS));
    let scopes: Scopes = request.scopes.into_iter().collect();
    if scopes.is_empty() {
        fields.add("scopes", "too_short", "must name a scope at least");
    }
    let Some(name) = name else { return Err(fields.into_error()) };
    fields.check()?;
    let token = format!("{PAT_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(app.ids.random::<32>()));
    let (id, user, name, now) = (SessionId::new(app.ids.uuid()), caller.user_id, name.into_string(), app.clock.now());
    let session = caller.session_id;
    // Whole seconds, in which credentials are counted.
    let expires_at = request.expires_in.map(|seconds| (now.as_millis() / 1000).saturating_add(seconds) * 1000);
    let (hash, told) = (hash_token(&token), name.clone());
    let trail = audit::trail_of(app, caller, Some(client.ip));
    let added = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            // The login, or the account, may have ended since it was looked at: a token would outlive them.
            store::users::held(tx, user)?;
            store::sessions::live(tx, session)?.ok_or_else(auth::ended)?;
            let new = NewAccessToken { id, user, hash: &hash, name: &name, scopes, now: now.as_millis(), expires_at };
            let added = store::tokens::insert(tx, &new, MAX_TOKENS)?;
            if added {
                note(tx, &trail, action::TOKEN_CREATED, id, &name, Some(scopes))?;
            }
            Ok(added)
        })
        .await?;
    if !added {
        let message = format!("an account has at most {MAX_TOKENS} tokens; revoke one first");
        return Err(Error::new(Kind::Conflict, "too_many_tokens", message));
    }
    let expires_at = expires_at.map(Timestamp::from_millis);
    Ok(NewToken { id, token, name: told, scopes: scopes.list(), created_at: now, expires_at })
}

/// The caller's tokens that are not revoked, newest first.
///
/// # Errors
/// As the store says.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<TokenInfo>> {
    let user = caller.user_id;
    app.db.read(move |tx| store::tokens::of_user(tx, user)).await
}

/// Revokes one of the caller's tokens: it and its connections are dead at once.
///
/// # Errors
/// 404 where it is none of theirs.
pub async fn revoke(app: &App, caller: &Caller, id: SessionId, client: ClientInfo) -> Result<()> {
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let trail = audit::trail_of(app, caller, Some(client.ip));
    let revoked = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            let revoked = store::tokens::revoke(tx, id, user, now)?;
            if let Some(name) = &revoked {
                note(tx, &trail, action::TOKEN_REVOKED, id, name, None)?;
                tx.publish(Happening::Ended { user, sessions: vec![id], why: Ending::LoggedOut });
            }
            Ok(revoked)
        })
        .await?;
    revoked.map(drop).ok_or_else(|| Error::new(Kind::NotFound, "not_found", "you have no such token"))
}
