//! Logins: their refresh tokens, their end, and tickets for a WebSocket.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    SessionId, UserId,
    limits::TICKET_SECONDS,
    model::User,
    rest::{RefreshRequest, SessionInfo, Ticket, TokenResponse},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    accounts::ClientInfo,
    audit::{self, action},
    auth::{self, Caller, hash_token, hex},
};
use crate::{
    app::App,
    domain::happening::{Ending, Happening},
    error::{Error, Kind, Result},
    store::{
        self, Tx,
        audit::Trail,
        sessions::{NewSession, Rotation},
        tickets::NewTicket,
    },
};

/// How long the token before the current one is answered again, milliseconds: a lost reply logs nobody out.
const GRACE_MS: i64 = 15_000;
const NONCE: usize = 16;
const MAC: usize = 32;

/// A refresh token: the login's id, a nonce, and the server's mark on both. Whoever does not know the server's secret
/// can neither make one nor pass one off as an old one, which would end somebody else's login.
struct RefreshToken {
    session: SessionId,
    nonce: [u8; NONCE],
    text: String,
}

impl RefreshToken {
    fn new(app: &App, session: SessionId, nonce: [u8; NONCE]) -> Self {
        let mark = mark(app, session, &nonce);
        let mut bytes = Vec::with_capacity(16 + NONCE + MAC);
        bytes.extend_from_slice(session.uuid().as_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&mark);
        Self { session, nonce, text: BASE64_URL_SAFE_NO_PAD.encode(bytes) }
    }

    fn parse(app: &App, text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (nonce, marked) = rest.split_first_chunk::<NONCE>()?;
        // Whichever of the server's secrets marked it: a rotation of secrets ends no login.
        let ours = app.keys.is_derived("refresh", &[id, nonce], marked);
        let session = SessionId::new(Uuid::from_bytes(*id));
        ours.then(|| Self { session, nonce: *nonce, text: text.to_owned() })
    }

    /// The form in which it is stored. The mark is left out: another secret would make another one of the same token.
    fn hash(&self) -> String {
        let mut bytes = self.session.uuid().as_bytes().to_vec();
        bytes.extend_from_slice(&self.nonce);
        hash_token(&hex(&bytes))
    }
}

fn mark(app: &App, session: SessionId, nonce: &[u8; NONCE]) -> [u8; MAC] {
    app.keys.derive("refresh", &[session.uuid().as_bytes(), nonce])
}

/// A new login, not stored yet.
pub(super) struct Login {
    session: SessionId,
    refresh: RefreshToken,
    user_agent: Option<String>,
    ip: String,
    now: i64,
    expires_at: i64,
}

impl Login {
    pub(super) fn new(app: &App, client: ClientInfo) -> Self {
        let now = app.clock.now_ms();
        let session = SessionId::new(app.ids.uuid());
        Self {
            session,
            refresh: RefreshToken::new(app, session, app.ids.random()),
            user_agent: client.user_agent.map(|text| text.chars().take(200).collect()),
            ip: client.ip.to_string(),
            now,
            expires_at: now + refresh_life_ms(app),
        }
    }

    pub(super) fn store(&self, tx: &mut Tx<'_>, user: UserId) -> Result<()> {
        let new = NewSession {
            id: self.session,
            user,
            refresh_hash: &self.refresh.hash(),
            refresh_nonce: &hex(&self.refresh.nonce),
            user_agent: self.user_agent.as_deref(),
            ip: &self.ip,
            now: self.now,
            expires_at: self.expires_at,
        };
        store::sessions::insert(tx, &new)
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn answer(&self, app: &App, user: User) -> Result<TokenResponse> {
        answer(app, user, &self.refresh)
    }
}

fn refresh_life_ms(app: &App) -> i64 {
    i64::from(app.config.refresh_token_days) * 86_400_000
}

fn answer(app: &App, user: User, refresh: &RefreshToken) -> Result<TokenResponse> {
    let seconds = i64::from(app.config.access_token_minutes) * 60;
    let now = app.clock.now_ms() / 1000;
    Ok(TokenResponse {
        access_token: app.keys.access_token(&app.ids, user.id, refresh.session, now, seconds)?,
        token_type: "bearer".to_owned(),
        expires_in: u64::try_from(seconds).unwrap_or(0),
        refresh_token: refresh.text.clone(),
        user,
    })
}

/// What became of a refresh.
enum Refreshed {
    /// The current token was used: the new one is current now.
    Rotated(User),
    /// The one before it was used in time: the current one is given again.
    Again(User, RefreshToken),
    /// An older one was used: the login is over.
    Reused,
    /// There is no such login any more.
    Ended,
}

/// Gives new tokens for a refresh token, which works once. Asked again with the same one within 15 s, and before the
/// new one was used, it gives the same new one; a token older than that ends the login, for somebody has a copy.
///
/// # Errors
/// 401 `token_invalid` or `token_expired`.
pub async fn refresh(app: &Arc<App>, request: RefreshRequest, client: ClientInfo) -> Result<TokenResponse> {
    let dead = || Error::new(Kind::Unauthorized, "token_invalid", "the refresh token has been used or never was");
    let given = RefreshToken::parse(app, &request.refresh_token).ok_or_else(dead)?;
    let next = Arc::new(RefreshToken::new(app, given.session, app.ids.random()));
    let session = given.session;
    let now = app.clock.now_ms();
    let (rotated, house, ip) = (next.clone(), app.clone(), client.ip);
    let outcome = app
        .db
        .write(session.uuid().as_u128(), move |tx| {
            let Some(mut state) = store::sessions::for_refresh(tx, session)? else { return Ok(Refreshed::Ended) };
            if state.expires_at <= now {
                return Ok(Refreshed::Ended);
            }
            let Some(account) = store::users::by_id(tx, state.user)? else { return Ok(Refreshed::Ended) };
            let hash = given.hash();
            if hash == state.hash {
                let to = Rotation {
                    hash: &rotated.hash(),
                    nonce: &hex(&rotated.nonce),
                    current: &state.hash,
                    now,
                    expires_at: now + refresh_life_ms(&house),
                };
                if store::sessions::rotate(tx, session, &to)? {
                    return Ok(Refreshed::Rotated(account.user));
                }
                // Another server was faster with the same token: what it made is current now.
                let Some(now) = store::sessions::for_refresh(tx, session)? else { return Ok(Refreshed::Ended) };
                state = now;
            }
            if Some(&hash) == state.previous_hash.as_ref()
                && now - state.rotated_at <= GRACE_MS
                && let Some(nonce) = unhex(&state.nonce)
            {
                return Ok(Refreshed::Again(account.user, RefreshToken::new(&house, session, nonce)));
            }
            if end(tx, state.user, session, now, Ending::TokenReused)? {
                // Who it was is not known: the owner, or whoever has the copy.
                let trail = Trail { ids: house.ids.clone(), now, actor: None, name: None, ip: Some(ip.to_string()) };
                let details = json!({"user_id": account.user.id, "username": account.user.username});
                audit::on_session(tx, &trail, action::TOKEN_REUSED, session, Some(&details))?;
            }
            Ok(Refreshed::Reused)
        })
        .await?;
    match outcome {
        Refreshed::Rotated(user) => answer(app, user, &next),
        Refreshed::Again(user, current) => answer(app, user, &current),
        Refreshed::Reused => {
            tracing::warn!(%session, "a refresh token was used twice; its login was ended");
            Err(dead())
        }
        Refreshed::Ended => Err(Error::new(Kind::Unauthorized, "token_expired", "the login has ended; log in again")),
    }
}

fn unhex(text: &str) -> Option<[u8; NONCE]> {
    let mut out = [0; NONCE];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (text.len() == NONCE * 2).then_some(out)
}

/// Ends a login and tells its connections; false where it is none of the user's.
fn end(tx: &mut Tx<'_>, user: UserId, session: SessionId, now: i64, why: Ending) -> Result<bool> {
    let ended = store::sessions::revoke(tx, session, user, now)?;
    if ended {
        tx.publish(Happening::Ended { user, sessions: vec![session], why });
    }
    Ok(ended)
}

/// Ends every login of `user` but the one to keep, and tells their connections.
pub(super) fn end_others(
    tx: &mut Tx<'_>,
    user: UserId,
    keep: Option<SessionId>,
    now: i64,
    why: Ending,
) -> Result<Vec<SessionId>> {
    let mut sessions = store::sessions::revoke_others(tx, user, keep, now)?;
    if why == Ending::Disabled {
        // A changed password leaves machines alone; a disabled account does not.
        sessions.extend(store::tokens::revoke_all(tx, user, now)?);
    }
    if !sessions.is_empty() {
        tx.publish(Happening::Ended { user, sessions: sessions.clone(), why });
    }
    Ok(sessions)
}

/// Ends the caller's own login.
///
/// # Errors
/// As the store says.
pub async fn logout(app: &App, caller: &Caller, client: &ClientInfo) -> Result<()> {
    delete(app, caller, client, caller.session_id).await.map(drop)
}

/// Ends one of the caller's logins.
///
/// # Errors
/// 404 where it is none of theirs.
pub async fn delete(app: &App, caller: &Caller, client: &ClientInfo, session: SessionId) -> Result<()> {
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let trail = audit::trail_of(app, caller, Some(client.ip));
    let what = if session == caller.session_id { action::LOGOUT } else { action::SESSION_ENDED };
    let ended = app
        .db
        .write(session.uuid().as_u128(), move |tx| {
            let ended = end(tx, user, session, now, Ending::LoggedOut)?;
            if ended {
                audit::on_session(tx, &trail, what, session, None)?;
            }
            Ok(ended)
        })
        .await?;
    if ended { Ok(()) } else { Err(Error::new(Kind::NotFound, "not_found", "you have no such login")) }
}

/// The caller's logins that have not ended, last used first.
///
/// # Errors
/// As the store says.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<SessionInfo>> {
    let (user, current, now) = (caller.user_id, caller.session_id, app.clock.now_ms());
    app.db.read(move |tx| store::sessions::of_user(tx, user, current, now)).await
}

/// Makes a ticket for `/ws?ticket=`, which works once, within 30 s, and opens what the caller's own credential opens: of a
/// personal access token with its scopes, until its end.
///
/// # Errors
/// 401 `token_invalid` where a personal access token has ended meanwhile.
pub async fn ticket(app: &App, caller: &Caller) -> Result<Ticket> {
    let ticket = BASE64_URL_SAFE_NO_PAD.encode(app.ids.random::<24>());
    let hash = hash_token(&ticket);
    let (of, ends_at, now) = (caller.session_id, caller.expires_at, app.clock.now_ms());
    let by_login = caller.scopes.is_none();
    #[allow(clippy::cast_possible_wrap)]
    let expires_at = now + TICKET_SECONDS as i64 * 1_000;
    let added = app
        .db
        .write(0, move |tx| {
            let new = NewTicket { hash: &hash, of, expires_at, now };
            match by_login {
                true => store::tickets::add_of_login(tx, &new, ends_at).map(|()| true),
                false => store::tickets::add_of_token(tx, &new),
            }
        })
        .await?;
    if !added {
        return Err(auth::ended());
    }
    Ok(Ticket { ticket, expires_in: TICKET_SECONDS })
}
