//! Accounts and logins.

use std::{net::IpAddr, sync::Arc, time::Duration};

use mesh_protocol::{
    UserId,
    model::{User, UserRole},
    rest::{ChangePasswordRequest, LoginRequest, RegisterRequest, TokenResponse, UpdateMeRequest},
    text::{DisplayName, Email, Username, check_password},
};

use crate::{
    app::App,
    config::Registration,
    domain::happening::Ending,
    error::{Error, Fields, Kind, Result},
    service::{
        auth::Caller,
        limits,
        sessions::{self, Login},
    },
    store,
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

/// What an unknown user's password is compared with: a hash of nothing, which costs the same time as any.
fn decoy(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

/// The cost with which a hash was made (`$2b$12$…`).
fn cost_of(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
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
    limits::begin_registration(app, client.ip)?;
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
    let attempt = limits::begin_login(app, &request.username, client.ip)?;
    // No account has such a name; the comparison below is made all the same.
    let name = Username::parse(&request.username).map(Username::into_string).unwrap_or_default();
    let account = app.db.read(move |tx| store::users::by_name(tx, &name)).await?;
    let hash = account.as_ref().map_or_else(|| decoy(app.config.bcrypt_cost), |a| a.password_hash.clone());
    let password = request.password;
    // Beyond 72 bytes bcrypt would compare a prefix: such a password is nobody's.
    let fits = password.len() <= 72;
    let cost = app.config.bcrypt_cost;
    let (matches, anew) = hashing(app, move || {
        let matches = fits && bcrypt::verify(&password, &hash).unwrap_or(false);
        // The administrator wants another cost than this hash was made with.
        let anew = (matches && cost_of(&hash) != Some(cost)).then(|| bcrypt::hash(&password, cost).ok()).flatten();
        (matches, anew)
    })
    .await?;
    let Some(account) = account.filter(|a| matches && !a.disabled) else { return Err(wrong()) };
    attempt.succeeded();
    let login = Arc::new(Login::new(app, client));
    let user = account.user.id;
    let stored = login.clone();
    let checked = account.password_hash;
    app.db
        .write(user.uuid().as_u128(), move |tx| {
            if let Some(anew) = &anew {
                store::users::set_password(tx, user, anew, &checked)?;
            }
            stored.store(tx, user)
        })
        .await?;
    login.answer(app, account.user)
}

/// The caller's own account.
///
/// # Errors
/// 401 where it is gone.
pub async fn me(app: &App, caller: &Caller) -> Result<User> {
    let id = caller.user_id;
    let account = app.db.read(move |tx| store::users::by_id(tx, id)).await?;
    account.map(|a| a.user).ok_or_else(gone)
}

/// Changes what the caller is called, and their address; what is absent stays.
///
/// # Errors
/// 422 with every field that is not allowed.
pub async fn update_me(app: &App, caller: &Caller, request: UpdateMeRequest) -> Result<User> {
    let mut fields = Fields::default();
    let display_name = fields.take_opt("display_name", request.display_name.as_deref().map(DisplayName::parse));
    let email = match &request.email {
        None => None,
        Some(None) => Some(None),
        Some(Some(text)) => fields.take("email", Email::parse(text)).map(Some),
    };
    fields.check()?;
    let id = caller.user_id;
    app.db
        .write(id.uuid().as_u128(), move |tx| {
            let mut user = store::users::by_id(tx, id)?.ok_or_else(gone)?.user;
            if let Some(name) = &display_name {
                name.as_str().clone_into(&mut user.display_name);
            }
            if let Some(email) = &email {
                user.email = email.as_ref().map(|e| e.as_str().to_owned());
            }
            store::users::update_profile(tx, id, &user.display_name, user.email.as_deref())?;
            Ok(user)
        })
        .await
}

fn gone() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the account behind this token is gone")
}

/// Changes the caller's password and ends all their other logins.
///
/// # Errors
/// 403 `invalid_credentials` where the current password is wrong; 422 for a new one that is not allowed.
pub async fn change_password(
    app: &Arc<App>,
    caller: &Caller,
    request: ChangePasswordRequest,
    client: ClientInfo,
) -> Result<()> {
    let mut fields = Fields::default();
    fields.take("new_password", check_password(&request.new_password));
    fields.check()?;
    // Whoever holds a token alone must not find the password by trying.
    let attempt = limits::begin_login(app, &caller.username, client.ip)?;
    let id = caller.user_id;
    let account = app.db.read(move |tx| store::users::by_id(tx, id)).await?.ok_or_else(gone)?;
    let (current, checked) = (request.current_password, account.password_hash.clone());
    let fits = current.len() <= 72;
    let matches = hashing(app, move || bcrypt::verify(current, &checked)).await?.unwrap_or(false);
    if !(matches && fits) {
        return Err(Error::new(Kind::Forbidden, "invalid_credentials", "the current password is wrong"));
    }
    attempt.succeeded();
    let (cost, new) = (app.config.bcrypt_cost, request.new_password);
    let hash = hashing(app, move || bcrypt::hash(new, cost)).await?.map_err(Error::internal)?;
    let (keep, now) = (caller.session_id, app.clock.now_ms());
    let ended = app
        .db
        .write(id.uuid().as_u128(), move |tx| {
            if !store::users::set_password(tx, id, &hash, &account.password_hash)? {
                let message = "the password was changed from elsewhere in the meantime";
                return Err(Error::new(Kind::Conflict, "conflict", message));
            }
            sessions::end_others(tx, id, Some(keep), now, Ending::LoggedOut)
        })
        .await?;
    ended.into_iter().for_each(|session| app.callers.forget(session));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decoy_is_a_hash_that_nothing_matches() {
        assert_eq!(bcrypt::verify("", &super::decoy(4)).ok(), Some(false));
        assert_eq!(bcrypt::verify("correct horse", &super::decoy(4)).ok(), Some(false));
    }
}
