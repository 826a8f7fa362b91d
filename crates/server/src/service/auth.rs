//! Who calls.

use std::{fmt::Write as _, sync::Arc};

use mesh_protocol::{SessionId, UserId, model::UserRole};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::{
    app::App,
    error::{Error, Kind, Result},
    store,
};

/// Somebody whose credential was verified: only [`authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose account.
    pub user_id: UserId,
    /// On which login.
    pub session_id: SessionId,
    /// The account's name.
    pub username: Arc<str>,
    /// What the account may do on the whole server.
    pub role: UserRole,
    /// When the credential ends, Unix seconds.
    pub expires_at: i64,
}

/// How long a login's state is believed without asking the store, milliseconds. Revocations within this process
/// forget it at once; this is the backstop for those that another one made, which must be prompt within a second.
const BELIEVED_MS: i64 = 900;
/// Logins remembered at most.
const REMEMBERED: usize = 20_000;
/// A login's last use is written down when the last note of it is older, milliseconds.
const TOUCH_MS: i64 = 5 * 60_000;

struct Seen {
    user: UserId,
    username: Arc<str>,
    role: UserRole,
    at_ms: i64,
}

/// The logins seen lately.
pub struct Callers {
    seen: Cache<SessionId, Arc<Seen>>,
}

impl Callers {
    /// None yet.
    pub fn new() -> Self {
        Self { seen: Cache::new(REMEMBERED) }
    }

    /// What was believed of a login is asked again.
    pub fn forget(&self, session: SessionId) {
        self.seen.remove(&session);
    }
}

impl Default for Callers {
    fn default() -> Self {
        Self::new()
    }
}

/// Verifies an access token: its signature, its time, and that neither its login nor its account has ended.
///
/// # Errors
/// 401 `token_expired` or `token_invalid`.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    let claims = app.keys.verify_access(token, app.clock.now_ms() / 1000)?;
    let caller = by_session(app, claims.sid, claims.exp).await?;
    if caller.user_id != claims.sub {
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
    let taken = app.db.write(0, move |tx| store::sessions::use_ticket(tx, &hash, now)).await?;
    let (session, expires_at) = taken.ok_or_else(|| {
        Error::new(Kind::Unauthorized, "token_invalid", "the ticket was used, has ended, or never was")
    })?;
    by_session(app, session, expires_at).await
}

/// Judges a caller's login once more, where time has passed since.
///
/// # Errors
/// 401 `token_invalid`.
pub async fn still_valid(app: &App, caller: &Caller) -> Result<()> {
    by_session(app, caller.session_id, caller.expires_at).await.map(drop)
}

/// Whether a login stands, for what stands on it.
///
/// # Errors
/// 401 `token_invalid`.
pub async fn session_lives(app: &App, session: SessionId) -> Result<()> {
    by_session(app, session, 0).await.map(drop)
}

async fn by_session(app: &App, session: SessionId, expires_at: i64) -> Result<Caller> {
    let now_ms = app.clock.now_ms();
    let seen = match app.callers.seen.get(&session) {
        Some(seen) if (now_ms - seen.at_ms).abs() < BELIEVED_MS => seen,
        _ => {
            let live = app.db.read(move |tx| store::sessions::live(tx, session)).await?;
            let Some(live) = live else {
                app.callers.forget(session);
                return Err(ended());
            };
            if now_ms - live.last_seen_at > TOUCH_MS {
                // Nobody waits for it; where it fails, the next request tries again.
                app.db.submit(session.uuid().as_u128(), move |tx| store::sessions::touch(tx, session, now_ms), drop);
            }
            let seen =
                Arc::new(Seen { user: live.user, username: live.username.into(), role: live.role, at_ms: now_ms });
            app.callers.seen.insert(session, seen.clone());
            seen
        }
    };
    Ok(Caller { user_id: seen.user, session_id: session, username: seen.username.clone(), role: seen.role, expires_at })
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

fn ended() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the login behind this token has ended")
}
