//! Accounts and logins.

use std::{net::IpAddr, sync::Arc};

use mesh_protocol::{
    UserId,
    model::{User, UserRole},
    rest::{ChangePasswordRequest, LoginRequest, RegisterRequest, TokenResponse, UpdateMeRequest},
    text::{Username, check_password},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    config::Registration,
    domain::happening::Ending,
    error::{Error, Fields, Kind, Result},
    service::{
        audit::{self, action},
        auth::Caller,
        invites, limits,
        profile::{NewProfile, ProfileChange},
        sessions::{self, Login},
        totp,
    },
    store::{self, Tx},
};

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

/// What stands between somebody and an account.
#[derive(Clone, Copy)]
enum Gate {
    Open,
    Invite(Uuid),
    BadInvite,
    Closed,
}

impl Gate {
    fn of(app: &App, invite: Option<&str>) -> Self {
        match (app.config.registration, invite) {
            (Registration::Open, _) => Self::Open,
            (Registration::Invite, Some(code)) => invites::parse(app, code).map_or(Self::BadInvite, Self::Invite),
            _ => Self::Closed,
        }
    }

    /// Whether it would let somebody through now.
    fn look(self, tx: &mut Tx<'_>, now: i64) -> Result<()> {
        match self {
            Self::Invite(id) if store::invites::usable(tx, id, now)? => Ok(()),
            Self::Invite(_) => Err(invites::invalid()),
            _ => self.pass(tx, now),
        }
    }

    /// Lets somebody through, which uses their invite.
    fn pass(self, tx: &mut Tx<'_>, now: i64) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::Invite(id) => invites::take(tx, id, now),
            Self::BadInvite => Err(invites::invalid()),
            Self::Closed => Err(closed()),
        }
    }

    fn invite(self) -> Option<Uuid> {
        if let Self::Invite(id) = self { Some(id) } else { None }
    }
}

fn closed() -> Error {
    Error::new(Kind::Forbidden, "registration_closed", "this server takes no registrations; ask its administrator")
}

/// Makes an account and logs it in. The first account of a server is its administrator's, whatever the mode.
///
/// # Errors
/// 422 with every field that is not allowed; 409 `username_taken`; 403 `registration_closed` or `invite_invalid`.
pub async fn register(app: &Arc<App>, request: RegisterRequest, client: ClientInfo) -> Result<TokenResponse> {
    let (email, display_name) = (request.email.as_deref(), request.display_name.as_deref());
    let profile = NewProfile::check(&request.username, &request.password, email, display_name)?;
    let (gate, now) = (Gate::of(app, request.invite.as_deref()), app.clock.now_ms());
    limits::begin_registration(app, client.ip)?;
    if !matches!(gate, Gate::Open) {
        // Asked again in the transaction; here it spares the server the hashing.
        app.db.read(move |tx| if store::users::any(tx)? { gate.look(tx, now) } else { Ok(()) }).await?;
    }
    let cost = app.config.bcrypt_cost;
    let password = request.password;
    let hash = app.hasher.run(move || bcrypt::hash(password, cost)).await?.map_err(Error::internal)?;
    let ip = client.ip;
    let login = Login::new(app, client);
    let user = profile.user(UserId::new(app.ids.uuid()), UserRole::User, app.clock.now());
    let (login, user) = app
        .db
        .write(0, {
            let login = Arc::new(login);
            let trail = audit::trail_as(app, user.id, &user.username, Some(ip));
            move |tx| {
                let first = store::users::would_be_first(tx)?;
                if !first {
                    gate.pass(tx, now)?;
                }
                let role = if first { UserRole::Admin } else { UserRole::User };
                let user = User { role, ..user.clone() };
                if !store::users::insert(tx, &user, &hash)? {
                    return Err(Error::new(Kind::Conflict, "username_taken", "this user name is taken"));
                }
                login.store(tx, user.id)?;
                let invite = gate.invite().filter(|_| !first);
                let details = json!({"role": role.as_str(), "invite": invite});
                audit::on_user(tx, &trail, action::REGISTERED, user.id, &user.username, Some(&details))?;
                Ok((login.clone(), user))
            }
        })
        .await?;
    login.answer(app, user)
}

/// Logs in.
///
/// # Errors
/// 401 `invalid_credentials`: the same answer in the same time for an unknown user and a wrong password; 401
/// `totp_required` where a second factor is on.
pub async fn login(app: &Arc<App>, request: LoginRequest, client: ClientInfo) -> Result<TokenResponse> {
    let wrong = || Error::new(Kind::Unauthorized, "invalid_credentials", "the user name or the password is wrong");
    let attempt = limits::begin_login(app, &request.username, client.ip)
        .inspect_err(|_| audit::login_failed(app, None, client.ip, "rate_limited"))?;
    // No account has such a name; the comparison below is made all the same.
    let name = Username::parse(&request.username).map(Username::into_string).unwrap_or_default();
    let account = app.db.read(move |tx| store::users::by_name(tx, &name)).await?;
    let hash = account.as_ref().map_or_else(|| decoy(app.config.bcrypt_cost), |a| a.password_hash.clone());
    let password = request.password;
    // Beyond 72 bytes bcrypt would compare a prefix: such a password is nobody's.
    let fits = password.len() <= 72;
    let cost = app.config.bcrypt_cost;
    let (matches, anew) = app
        .hasher
        .run(move || {
            let matches = fits && bcrypt::verify(&password, &hash).unwrap_or(false);
            // The administrator wants another cost than this hash was made with.
            let anew = (matches && cost_of(&hash) != Some(cost)).then(|| bcrypt::hash(&password, cost).ok()).flatten();
            (matches, anew)
        })
        .await?;
    let named = account.as_ref().map(|a| (a.user.id, a.user.username.clone()));
    let disabled = account.as_ref().is_some_and(|a| matches && a.disabled);
    let Some(account) = account.filter(|a| matches && !a.disabled) else {
        let reason = match named {
            None => "unknown_user",
            Some(_) if disabled => "disabled",
            Some(_) => "wrong_password",
        };
        audit::login_failed(app, named, client.ip, reason);
        return Err(wrong());
    };
    attempt.succeeded();
    let trail = audit::trail_as(app, account.user.id, &account.user.username, Some(client.ip));
    let login = Arc::new(Login::new(app, client));
    let user = account.user.id;
    let stored = login.clone();
    let checked = account.password_hash;
    let second = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            // The password may have been reset, or the account shut, while this one was compared.
            let now = store::users::held(tx, user)?;
            if now.is_none_or(|now| now.disabled || now.password_hash != checked) {
                return Err(wrong());
            }
            let mut hash = &checked;
            if let Some(anew) = &anew
                && store::users::set_password(tx, user, anew, &checked)?
            {
                hash = anew;
            }
            match store::totp::of_user(tx, user)?.filter(|factor| factor.confirmed) {
                Some(factor) => Ok(Some((hash.clone(), factor.sealed))),
                None => {
                    stored.store(tx, user)?;
                    audit::on_session(tx, &trail, action::LOGIN, stored.session(), None)?;
                    Ok(None)
                }
            }
        })
        .await?;
    match second {
        None => {
            app.metrics.logins.count_word("ok");
            login.answer(app, account.user)
        }
        Some((hash, sealed)) => Err(totp::required(app, user, &hash, &sealed)),
    }
}

/// The caller's own account.
///
/// # Errors
/// 401 where it is gone.
pub async fn me(app: &App, caller: &Caller) -> Result<User> {
    let (id, now) = (caller.user_id, app.clock.now_ms());
    if let Some(user) = app.profiles.get(&id, now) {
        return Ok((*user).clone());
    }
    let asked = app.profiles.ask();
    let account = app.db.read(move |tx| store::users::by_id(tx, id)).await?.ok_or_else(gone)?;
    app.profiles.remember(id, Arc::new(account.user.clone()), now, asked);
    Ok(account.user)
}

/// Changes what the caller is called, and their address; what is absent stays.
///
/// # Errors
/// 422 with every field that is not allowed.
pub async fn update_me(app: &App, caller: &Caller, request: UpdateMeRequest) -> Result<User> {
    let mut fields = Fields::default();
    let email = request.email.as_ref().map(Option::as_deref);
    let change = ProfileChange::check(&mut fields, request.display_name.as_deref(), email);
    fields.check()?;
    let id = caller.user_id;
    let changed = app
        .db
        .write(id.uuid().as_u128(), move |tx| {
            let user = store::users::by_id(tx, id)?.ok_or_else(gone)?.user;
            let (display_name, email) = change.over(&user.display_name, user.email.as_deref());
            store::users::update_profile(tx, id, display_name, email)?;
            let (display_name, email) = (display_name.to_owned(), email.map(str::to_owned));
            Ok(User { display_name, email, ..user })
        })
        .await;
    // Whatever came of it: a commit whose outcome was lost may have been made.
    app.profiles.forget(&id);
    changed
}

pub(super) fn gone() -> Error {
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
    let matches = app.hasher.run(move || bcrypt::verify(current, &checked)).await?.unwrap_or(false);
    if !(matches && fits) {
        audit::login_failed(app, Some((id, account.user.username)), client.ip, "wrong_current_password");
        return Err(Error::new(Kind::Forbidden, "invalid_credentials", "the current password is wrong"));
    }
    attempt.succeeded();
    let (cost, new) = (app.config.bcrypt_cost, request.new_password);
    let hash = app.hasher.run(move || bcrypt::hash(new, cost)).await?.map_err(Error::internal)?;
    let (keep, now) = (caller.session_id, app.clock.now_ms());
    let trail = audit::trail_of(app, caller, Some(client.ip));
    app.db
        .write(id.uuid().as_u128(), move |tx| {
            if !store::users::set_password(tx, id, &hash, &account.password_hash)? {
                let message = "the password was changed from elsewhere in the meantime";
                return Err(Error::new(Kind::Conflict, "conflict", message));
            }
            audit::on_user(tx, &trail, action::PASSWORD_CHANGED, id, &account.user.username, None)?;
            sessions::end_others(tx, id, Some(keep), now, Ending::LoggedOut).map(drop)
        })
        .await
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decoy_is_a_hash_that_nothing_matches() {
        assert_eq!(bcrypt::verify("", &super::decoy(4)).ok(), Some(false));
        assert_eq!(bcrypt::verify("correct horse", &super::decoy(4)).ok(), Some(false));
    }
}
