//! Who calls.

use std::{fmt::Write as _, sync::Arc};

use mesh_protocol::{
    SessionId, UserId,
    event::system::WelcomeUser,
    model::{Scope, UserRole},
};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::believed::{Believed, REMEMBERED};
use crate::{
    app::App,
    domain::happening::Happening,
    domain::scope::{Need, Scopes},
    error::{Error, Kind, Result},
    store::{self, Tx},
};

/// Somebody whose credential was verified: only [`authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose account.
    pub user_id: UserId,
    /// On which login; of a personal access token, the token's own id.
    pub session_id: SessionId,
    /// The account's name.
    pub username: Arc<str>,
    /// What the account may do on the whole server.
    pub role: UserRole,
    /// When the credential ends, Unix seconds; far away for a token that does not end by itself.
    pub expires_at: i64,
    /// What a personal access token may do; none for a full login, which may all that its account may.
    pub scopes: Option<Scopes>,
}

impl Caller {
    /// Refuses a personal access token that lacks what is needed.
    ///
    /// # Errors
    /// 403 `insufficient_scope`.
    pub fn require(&self, need: Need) -> Result<()> {
        let message = match need {
            _ if self.scopes.is_none_or(|scopes| need.is_met_by(scopes)) => return Ok(()),
            Need::Scope(scope) => format!("this token lacks the scope {}", scope.as_str()),
            _ => "this needs a login; a personal access token will not do".to_owned(),
        };
        Err(Error::new(Kind::Forbidden, "insufficient_scope", message))
    }

    /// Whether the credential has a scope, as a full login has all.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.is_none_or(|scopes| scopes.has(scope))
    }

    /// Whether the credential may all that another may.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.scopes, other.scopes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(these), Some(those)) => these.covers(those),
        }
    }
}

/// How a personal access token begins, so that scanners for secrets know it.
pub(super) const PAT_PREFIX: &str = "mesh_pat_";

/// A login's last use is written down when the last note of it is older, milliseconds.
const TOUCH_MS: i64 = 5 * 60_000;

struct Seen {
    user: UserId,
    username: Arc<str>,
    role: UserRole,
    /// What a personal access token may do, and when it ends, Unix milliseconds.
    scopes: Option<Scopes>,
    ends_at: Option<i64>,
}

/// The logins seen lately.
pub struct Callers {
    seen: Believed<SessionId, Seen>,
    /// Which personal access token has a hash: that never changes, and tells nothing of whether it is still good.
    tokens: Cache<String, SessionId>,
}

impl Callers {
    /// None yet.
    pub fn new() -> Self {
        Self { seen: Believed::default(), tokens: Cache::new(REMEMBERED) }
    }

    /// What was believed of a login is asked again: its account has another role.
    pub fn forget(&self, session: SessionId) {
        self.seen.forget(&session);
    }

    /// Hears what was committed before whoever asked for it has the answer: nothing is believed of logins that ended.
    pub fn hear(&self, happenings: &[Happening]) {
        for happening in happenings {
            if let Happening::Ended { sessions, .. } = happening {
                sessions.iter().for_each(|session| self.forget(*session));
            }
        }
    }
}

impl Default for Callers {
    fn default() -> Self {
        Self::new()
    }
}

/// Verifies an access token: its signature, its time, and that neither its login nor its account has ended; or a
/// personal access token, whose scopes the caller bears from then on.
///
/// # Errors
/// 401 `token_expired` or `token_invalid`.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    if token.starts_with(PAT_PREFIX) {
        return by_token(app, token).await;
    }
    let access = app.keys.verify_access(token, app.clock.now_ms() / 1000)?;
    let caller = by_session(app, access.session, access.expires_at()).await?;
    if caller.user_id != access.user {
        return Err(ended());
    }
    Ok(caller)
}

/// Takes a WebSocket ticket, which works once.
///
/// # Errors
/// 401 `token_invalid`.
pub async fn authenticate_ticket(app: &App, ticket: &str) -> Result<Caller> {
    let hash = hash_token(ticket);
    let now = app.clock.now_ms();
    let taken = app.db.write(0, move |tx| store::tickets::take(tx, &hash, now)).await?;
    let (session, expires_at) = taken.ok_or_else(|| {
        Error::new(Kind::Unauthorized, "token_invalid", "the ticket was used, has ended, or never was")
    })?;
    by_session(app, session, expires_at).await
}

/// Judges a caller's login once more, by the store: for a connection that hears of ends only from now on. What is
/// believed of a login may be older than an end that another process made, and that was told before.
///
/// # Errors
/// 401 `token_invalid`.
pub async fn still_valid(app: &App, caller: &Caller) -> Result<()> {
    app.callers.forget(caller.session_id);
    by_session(app, caller.session_id, caller.expires_at).await.map(drop)
}

/// Whether a login stands, for what stands on it.
///
/// # Errors
/// 401 `token_invalid`.
pub async fn session_lives(app: &App, session: SessionId) -> Result<()> {
    by_session(app, session, 0).await.map(drop)
}

/// Whose login it is, or whose personal access token with that id, where it has not ended. When a token ends by itself its
/// holder knows: [`Caller::expires_at`].
///
/// # Errors
/// As the store says.
pub(super) fn holder(tx: &mut Tx<'_>, session: SessionId) -> Result<Option<WelcomeUser>> {
    let (id, username, display_name) = match store::sessions::live(tx, session)? {
        Some(login) => (login.user, login.username, login.display_name),
        None => match store::tokens::live(tx, session)? {
            Some(token) => (token.user, token.username, token.display_name),
            None => return Ok(None),
        },
    };
    Ok(Some(WelcomeUser { id, username, display_name }))
}

async fn by_token(app: &App, token: &str) -> Result<Caller> {
    let hash = hash_token(token);
    let id = match app.callers.tokens.get(&hash) {
        Some(id) => id,
        None => {
            let asked = hash.clone();
            let id = app.db.read(move |tx| store::tokens::by_hash(tx, &asked)).await?.ok_or_else(ended)?;
            app.callers.tokens.insert(hash, id);
            id
        }
    };
    by_session(app, id, i64::MAX).await
}

/// What the store knows of a login, or of the personal access token with that id.
async fn look_up(app: &App, session: SessionId, now_ms: i64) -> Result<Option<Seen>> {
    type Found = (Option<store::sessions::Live>, Option<store::tokens::LiveToken>);
    let found: Found = app
        .db
        .read(move |tx| match store::sessions::live(tx, session)? {
            Some(login) => Ok((Some(login), None)),
            None => Ok((None, store::tokens::live(tx, session)?)),
        })
        .await?;
    let key = session.uuid().as_u128();
    // Nobody waits for what is written here; where it fails, the next request tries again.
    Ok(match found {
        (Some(login), _) => {
            if now_ms - login.last_seen_at > TOUCH_MS {
                app.db.submit(key, move |tx| store::sessions::touch(tx, session, now_ms), drop);
            }
            let (user, username, role) = (login.user, login.username.into(), login.role);
            Some(Seen { user, username, role, scopes: None, ends_at: None })
        }
        (None, Some(token)) => {
            let over = token.expires_at.is_some_and(|at| at <= now_ms);
            if !over && token.last_used_at.is_none_or(|at| now_ms - at > TOUCH_MS) {
                app.db.submit(key, move |tx| store::tokens::touch(tx, session, now_ms), drop);
            }
            let (user, username, role, ends_at) = (token.user, token.username.into(), token.role, token.expires_at);
            Some(Seen { user, username, role, scopes: Some(token.scopes), ends_at })
        }
        (None, None) => None,
    })
}

async fn by_session(app: &App, session: SessionId, expires_at: i64) -> Result<Caller> {
    let now_ms = app.clock.now_ms();
    let seen = match app.callers.seen.get(&session, now_ms) {
        Some(seen) => seen,
        None => {
            let asked = app.callers.seen.ask();
            let Some(seen) = look_up(app, session, now_ms).await? else {
                app.callers.forget(session);
                return Err(ended());
            };
            let seen = Arc::new(seen);
            app.callers.seen.remember(session, seen.clone(), now_ms, asked);
            seen
        }
    };
    if seen.ends_at.is_some_and(|at| at <= now_ms) {
        return Err(Error::new(Kind::Unauthorized, "token_expired", "the personal access token has ended"));
    }
    Ok(Caller {
        user_id: seen.user,
        session_id: session,
        username: seen.username.clone(),
        role: seen.role,
        expires_at: seen.ends_at.map_or(expires_at, |at| expires_at.min(at / 1000)),
        scopes: seen.scopes,
    })
}

/// The form in which a token of full randomness is stored: SHA-256, hexadecimal.
pub(super) fn hash_token(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub(super) fn ended() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the login behind this token has ended")
}
