//! Who calls.

use std::sync::Arc;

use mesh_protocol::{SessionId, UserId, model::UserRole};
use quick_cache::sync::Cache;

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
/// forget it at once; this is the backstop for those that another one made.
const BELIEVED_MS: i64 = 1_000;
/// Logins remembered at most.
const REMEMBERED: usize = 20_000;

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
    let now_ms = app.clock.now_ms();
    let claims = app.keys.verify_access(token, now_ms / 1000)?;
    let seen = match app.callers.seen.get(&claims.sid) {
        Some(seen) if (now_ms - seen.at_ms).abs() < BELIEVED_MS => seen,
        _ => {
            let session = claims.sid;
            let live = app.db.read(move |tx| store::sessions::live(tx, session)).await?;
            let Some((user, username, role)) = live else {
                app.callers.seen.remove(&session);
                return Err(ended());
            };
            let seen = Arc::new(Seen { user, username: username.into(), role, at_ms: now_ms });
            app.callers.seen.insert(session, seen.clone());
            seen
        }
    };
    if seen.user != claims.sub {
        return Err(ended());
    }
    Ok(Caller {
        user_id: seen.user,
        session_id: claims.sid,
        username: seen.username.clone(),
        role: seen.role,
        expires_at: claims.exp,
    })
}

fn ended() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the login behind this token has ended")
}
