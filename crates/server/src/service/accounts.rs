//! Accounts and logins.

use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    SessionId, UserId,
    model::{User, UserRole},
    rest::{LoginRequest, RegisterRequest, TokenResponse},
    text::{DisplayName, Email, Username, check_password},
};
use sha2::{Digest as _, Sha256};

use crate::{
    app::App,
    config::Registration,
    error::{Error, Fields, Kind, Result},
    service::auth::Caller,
    store::{self, Tx, sessions::NewSession},
};

/// Password jobs that may wait for a permit, a core: beyond it callers are told to try again.
const HASHING_QUEUE: usize = 64;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's address.
    pub ip: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

/// A new login, not stored yet.
struct Login {
    session: SessionId,
    refresh_token: String,
    refresh_hash: String,
    user_agent: Option<String>,
    ip: String,
    now: i64,
    expires_at: i64,
}

impl Login {
    fn new(app: &App, client: ClientInfo) -> Self {
        let refresh_token = BASE64_URL_SAFE_NO_PAD.encode(app.ids.random::<32>());
        let now = app.clock.now_ms();
        Self {
            session: SessionId::new(app.ids.uuid()),
            refresh_hash: hash_token(&refresh_token),
            refresh_token,
            user_agent: client.user_agent.map(|text| text.chars().take(200).collect()),
            ip: client.ip.to_string(),
            now,
            expires_at: now + i64::from(app.config.refresh_token_days) * 86_400_000,
        }
    }

    fn store(&self, tx: &mut Tx<'_>, user: UserId) -> Result<()> {
        let new = NewSession {
            id: self.session,
            user,
            refresh_hash: &self.refresh_hash,
            user_agent: self.user_agent.as_deref(),
            ip: &self.ip,
            now: self.now,
            expires_at: self.expires_at,
        };
        store::sessions::insert(tx, &new)
    }

    fn answer(&self, app: &App, user: User) -> Result<TokenResponse> {
        let seconds = i64::from(app.config.access_token_minutes) * 60;
        Ok(TokenResponse {
            access_token: app.keys.access_token(&app.ids, user.id, self.session, self.now / 1000, seconds)?,
            token_type: "bearer".to_owned(),
            expires_in: u64::try_from(seconds).unwrap_or(0),
            refresh_token: self.refresh_token.clone(),
            user,
        })
    }
}

/// The form in which a token of full randomness is stored: SHA-256, hexadecimal.
fn hash_token(token: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(token.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What an unknown user's password is compared with: a hash of nothing, which costs the same time as any.
fn decoy(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

/// Does bcrypt's work off the async threads, as many at a time as there are cores.
async fn hashing<T: Send + 'static>(app: &App, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let busy = || Error::unavailable("busy", "too many logins at once; try again", Duration::from_secs(2));
    let _waiting = app.hashing_queue.try_acquire().map_err(|_| busy())?;
    let _permit = app.hashing.acquire().await.map_err(|_| busy())?;
    app.tasks.blocking(work).await.ok_or_else(|| Error::internal("password hashing failed"))
}

/// How many password jobs may wait at once.
pub fn hashing_queue_length() -> usize {
    HASHING_QUEUE * std::thread::available_parallelism().map_or(2, usize::from)
}

fn closed() -> Error {
    Error::new(Kind::Forbidden, "registration_closed", "this server takes no registrations; ask its administrator")
}

/// Makes an account and logs it in. The first account of a server is its administrator's, whatever the mode.
///
/// # Errors
/// 422 with every field that is not allowed; 409 `username_taken`; 403 `registration_closed`.
pub async fn register(app: &Arc<App>, request: RegisterRequest, client: ClientInfo) -> Result<TokenResponse> {
    let mut fields = Fields::default();
    let username = fields.take("username", Username::parse(&request.username));
    fields.take("password", check_password(&request.password));
    let email = fields.take_opt("email", request.email.as_deref().map(Email::parse));
    let display_name = fields.take_opt("display_name", request.display_name.as_deref().map(DisplayName::parse));
    let Some(username) = username else { return Err(fields.into_error()) };
    fields.check()?;

    let open = app.config.registration == Registration::Open;
    // Asked again in the transaction; here it spares a closed server the hashing.
    if !open && app.db.read(store::users::any).await? {
        return Err(closed());
    }
    let cost = app.config.bcrypt_cost;
    let password = request.password;
    let hash = hashing(app, move || bcrypt::hash(password, cost)).await?.map_err(Error::internal)?;
    let login = Login::new(app, client);
    let user = User {
        id: UserId::new(app.ids.uuid()),
        display_name: display_name.unwrap_or_else(|| (&username).into()).into_string(),
        username: username.into_string(),
        email: email.map(Email::into_string),
        role: UserRole::User,
        created_at: app.clock.now(),
    };
    let (login, user) = app
        .db
        .write(0, {
            let login = Arc::new(login);
            move |tx| {
                let first = !store::users::any(tx)?;
                if !open && !first {
                    return Err(closed());
                }
                let role = if first { UserRole::Admin } else { UserRole::User };
                let user = User { role, ..user.clone() };
                if !store::users::insert(tx, &user, &hash)? {
                    return Err(Error::new(Kind::Conflict, "username_taken", "this user name is taken"));
                }
                login.store(tx, user.id)?;
                Ok((login.clone(), user))
            }
        })
        .await?;
    login.answer(app, user)
}

/// Logs in.
///
/// # Errors
/// 401 `invalid_credentials`: the same answer in the same time for an unknown user and a wrong password.
pub async fn login(app: &Arc<App>, request: LoginRequest, client: ClientInfo) -> Result<TokenResponse> {
    let wrong = || Error::new(Kind::Unauthorized, "invalid_credentials", "the user name or the password is wrong");
    // No account has such a name; the comparison below is made all the same.
    let name = Username::parse(&request.username).map(Username::into_string).unwrap_or_default();
    let account = app.db.read(move |tx| store::users::by_name(tx, &name)).await?;
    let hash = account.as_ref().map_or_else(|| decoy(app.config.bcrypt_cost), |a| a.password_hash.clone());
    let password = request.password;
    // Beyond 72 bytes bcrypt would compare a prefix: such a password is nobody's.
    let fits = password.len() <= 72;
    let matches = hashing(app, move || bcrypt::verify(password, &hash)).await?.unwrap_or(false);
    let Some(account) = account.filter(|a| matches && fits && !a.disabled) else { return Err(wrong()) };
    let login = Arc::new(Login::new(app, client));
    let user = account.user.id;
    let stored = login.clone();
    app.db.write(user.uuid().as_u128(), move |tx| stored.store(tx, user)).await?;
    login.answer(app, account.user)
}

/// The caller's own account.
///
/// # Errors
/// 401 where it is gone.
pub async fn me(app: &App, caller: &Caller) -> Result<User> {
    let id = caller.user_id;
    let account = app.db.read(move |tx| store::users::by_id(tx, id)).await?;
    account
        .map(|a| a.user)
        .ok_or_else(|| Error::new(Kind::Unauthorized, "token_invalid", "the account behind this token is gone"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decoy_is_a_hash_that_nothing_matches() {
        assert_eq!(bcrypt::verify("", &super::decoy(4)).ok(), Some(false));
        assert_eq!(bcrypt::verify("correct horse", &super::decoy(4)).ok(), Some(false));
    }
}
