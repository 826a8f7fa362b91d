//! The second factor of a login: codes of an authenticator app, and recovery codes.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    UserId,
    credentials::{ConfirmTotpRequest, DisableTotpRequest, RecoveryCodes, TotpLoginRequest, TotpSecret, TotpStatus},
    limits::{CHALLENGE_SECONDS, FRESH_LOGIN_SECONDS, RECOVERY_CODES},
    rest::TokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    accounts::ClientInfo,
    admin::Admin,
    audit::{self, action},
    auth::{Caller, hash_token},
    limits,
    sessions::Login,
};
use crate::{
    app::App,
    domain::totp,
    error::{Error, Kind, Result},
    keys::types,
    store::{self, Tx, audit::Trail, totp::Factor, users::Account},
};

/// Second factors read at once when they are sealed anew.
const SEALED_AT_ONCE: i64 = 100;

/// What stands between a password and its second factor.
#[derive(Serialize, Deserialize)]
struct Challenge {
    iss: String,
    sub: UserId,
    jti: Uuid,
    iat: i64,
    exp: i64,
    /// Derived from the password's hash and the factor's secret: where either changes, the challenge is dead.
    state: String,
}

/// The same for this password and this second factor only.
fn state<'a>(user: &'a Uuid, password_hash: &'a str, secret: &'a [u8]) -> [&'a [u8]; 3] {
    [user.as_bytes(), password_hash.as_bytes(), secret]
}

/// The secret itself, which stays the same when it is sealed anew; where it can't be opened, as it is sealed.
fn opened(app: &App, user: UserId, sealed: &str) -> Vec<u8> {
    app.keys.open(&purpose(user), sealed).unwrap_or_else(|| sealed.as_bytes().to_vec())
}

const STATE: &str = "totp-challenge";

fn purpose(user: UserId) -> String {
    format!("totp:{user}")
}

fn enabled() -> Error {
    Error::new(Kind::Conflict, "totp_enabled", "the second factor is on already")
}

fn dead() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the challenge has been used, or has ended; log in again")
}

fn gone() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the account behind this token is gone")
}

/// A wrong code from somebody who is not logged in yet (401), or who is (403: their token is as good as before).
fn wrong_code(kind: Kind) -> Error {
    Error::new(kind, "invalid_code", "the code is wrong, or was used")
}

/// The answer to a right password that is not enough.
pub(super) fn required(app: &App, user: UserId, password_hash: &str, sealed: &str) -> Error {
    let now = app.clock.now_ms() / 1000;
    let state = app.keys.derive(STATE, &state(&user.uuid(), password_hash, &opened(app, user, sealed)));
    let challenge = Challenge {
        iss: app.keys.issuer().to_owned(),
        sub: user,
        jti: app.ids.uuid(),
        iat: now,
        exp: now.saturating_add(CHALLENGE_SECONDS),
        state: BASE64_URL_SAFE_NO_PAD.encode(state),
    };
    match app.keys.sign(types::TOTP, &challenge) {
        Ok(signed) => {
            let message = "the password is right; complete the login with a code of your authenticator app";
            Error::new(Kind::Unauthorized, "totp_required", message).with_challenge(signed)
        }
        Err(e) => e,
    }
}

/// Uses a code of the app, or a recovery code; which of them it was, or none where it is neither, or was used.
fn spend(
    app: &App,
    tx: &mut Tx<'_>,
    user: UserId,
    factor: &Factor,
    code: &str,
    now: i64,
) -> Result<Option<&'static str>> {
    let secret = app.keys.open(&purpose(user), &factor.sealed);
    if secret.is_none() {
        tracing::error!(%user, "a second factor cannot be opened with the server's secret; recovery codes still work");
    }
    let (used, by) = match secret.and_then(|secret| totp::step_of(&secret, code, now)) {
        Some(step) => (store::totp::use_step(tx, user, &factor.sealed, step)?, "totp"),
        None => (store::totp::use_code(tx, user, &hash_token(code))?, "recovery_code"),
    };
    Ok(used.then_some(by))
}

/// Completes a login that was answered with `totp_required`.
///
/// # Errors
/// 401 `invalid_code`; 401 `token_invalid` or `token_expired` for the challenge; 429 after too many failures.
pub async fn login(app: &Arc<App>, request: TotpLoginRequest, client: ClientInfo) -> Result<TokenResponse> {
    let now = app.clock.now_ms();
    let challenge: Challenge = app.keys.verify(types::TOTP, &request.challenge, now / 1000)?;
    let shown = BASE64_URL_SAFE_NO_PAD.decode(&challenge.state).map_err(|_| dead())?;
    let user = challenge.sub;
    let account = app.db.read(move |tx| store::users::by_id(tx, user)).await?.ok_or_else(dead)?;
    // Counted as a login: codes must not be found by trying.
    let ip = client.ip;
    let attempt = limits::begin_second_factor(app, user, &account.user.username, ip)
        .inspect_err(|_| audit::login_failed(app, None, ip, "rate_limited"))?;
    let trail = audit::trail_as(app, user, &account.user.username, Some(ip));
    let login = Arc::new(Login::new(app, client));
    let (house, stored, code) = (app.clone(), login.clone(), totp::normal(&request.code));
    let done = app
        .db
        .write(user.uuid().as_u128(), move |tx| {
            let account = store::users::held(tx, user)?.filter(|a| !a.disabled).ok_or_else(dead)?;
            let factor = store::totp::of_user(tx, user)?.filter(|f| f.confirmed).ok_or_else(dead)?;
            let (id, secret) = (user.uuid(), opened(&house, user, &factor.sealed));
            if !house.keys.is_derived(STATE, &state(&id, &account.password_hash, &secret), &shown) {
                return Err(dead());
            }
            let ends_at = challenge.exp.saturating_mul(1000);
            if !store::totp::use_challenge(tx, &challenge.jti.to_string(), ends_at, now)? {
                return Err(dead());
            }
            // Where the code is wrong, the challenge's use is rolled back with it.
            let by = spend(&house, tx, user, &factor, &code, now / 1000)?;
            let by = by.ok_or_else(|| wrong_code(Kind::Unauthorized))?;
            stored.store(tx, user)?;
            audit::on_session(tx, &trail, action::LOGIN, stored.session(), Some(&json!({"second_factor": by})))?;
            Ok(account.user)
        })
        .await;
    let user = done.inspect_err(|e| {
        if e.code == "invalid_code" {
            audit::login_failed(app, Some((account.user.id, account.user.username.clone())), ip, "wrong_code");
        }
    })?;
    attempt.succeeded();
    login.answer(app, user)
}

/// Whether logins of the caller ask for a code.
///
/// # Errors
/// As the store says.
pub async fn status(app: &App, caller: &Caller) -> Result<TotpStatus> {
    let user = caller.user_id;
    app.db
        .read(move |tx| {
            let enabled = store::totp::of_user(tx, user)?.is_some_and(|f| f.confirmed);
            Ok(TotpStatus { enabled, recovery_codes_left: store::totp::codes_left(tx, user)? })
        })
        .await
}

/// Begins a second factor; it is in force once a code of it was shown. A new beginning replaces one that was not.
///
/// # Errors
/// 409 `totp_enabled`.
pub async fn begin(app: &App, caller: &Caller) -> Result<TotpSecret> {
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let bytes = app.ids.random::<{ totp::SECRET }>();
    let sealed = app.keys.seal(&purpose(user), &bytes)?;
    if !app.db.write(user.uuid().as_u128(), move |tx| store::totp::begin(tx, user, &sealed, now)).await? {
        return Err(enabled());
    }
    let secret = totp::base32(&bytes);
    Ok(TotpSecret { otpauth_url: totp::otpauth_url(&caller.username, &secret), secret })
}

/// Puts a second factor in force; the recovery codes, which nobody sees again.
///
/// # Errors
/// 403 `invalid_code`; 409 `totp_not_begun` or `totp_enabled`; 429 after too many failures.
pub async fn confirm(
    app: &Arc<App>,
    caller: &Caller,
    request: ConfirmTotpRequest,
    client: ClientInfo,
) -> Result<RecoveryCodes> {
    let attempt = limits::begin_login(app, &caller.username, client.ip)?;
    let (user, now) = (caller.user_id, app.clock.now_ms());
    let codes: Vec<_> =
        std::iter::repeat_with(|| totp::recovery_code(&app.ids.random())).take(RECOVERY_CODES).collect();
    let hashes: Vec<_> = codes.iter().map(|code| hash_token(&totp::normal(code))).collect();
    let (house, code) = (app.clone(), totp::normal(&request.code));
    let (trail, name) = (audit::trail_of(app, caller, Some(client.ip)), caller.username.clone());
    app.db
        .write(user.uuid().as_u128(), move |tx| {
            let factor = store::totp::of_user(tx, user)?
                .ok_or_else(|| Error::new(Kind::Conflict, "totp_not_begun", "begin with POST /api/auth/totp"))?;
            if factor.confirmed {
                return Err(enabled());
            }
            let secret = house.keys.open(&purpose(user), &factor.sealed);
            let step = secret.and_then(|secret| totp::step_of(&secret, &code, now / 1000));
            let Some(step) = step else { return Err(wrong_code(Kind::Forbidden)) };
            if !store::totp::confirm(tx, user, &factor.sealed, step, now)? {
                return Err(enabled());
            }
            hashes.iter().try_for_each(|hash| store::totp::add_code(tx, user, hash))?;
            audit::on_user(tx, &trail, action::TOTP_ENABLED, user, &name, None)
        })
        .await?;
    attempt.succeeded();
    Ok(RecoveryCodes { recovery_codes: codes })
}

/// Ends the caller's second factor, by a code of it, a recovery code, the password, or a login that was just made.
///
/// # Errors
/// 403 `invalid_code` or `invalid_credentials`; 404 where it is not on; 422 where both are given, or neither and the login
/// is older than ten minutes; 429 after too many failures.
pub async fn disable(app: &Arc<App>, caller: &Caller, request: DisableTotpRequest, client: ClientInfo) -> Result<()> {
    if request.code.is_some() && request.password.is_some() {
        return Err(Error::invalid_field("code", "invalid", "give either code or password"));
    }
    let (user, session, asked) =
        (caller.user_id, caller.session_id, request.code.is_some() || request.password.is_some());
    let attempt = match request.code {
        Some(_) => limits::begin_second_factor(app, user, &caller.username, client.ip)?,
        None => limits::begin_login(app, &caller.username, client.ip)?,
    };
    let checked = match request.password {
        Some(password) => Some(check_password(app, user, password).await?.password_hash),
        None => None,
    };
    let (house, now) = (app.clone(), app.clock.now_ms() / 1000);
    let (trail, name) = (audit::trail_of(app, caller, Some(client.ip)), caller.username.clone());
    let code = request.code.as_deref().map(totp::normal);
    app.db
        .write(user.uuid().as_u128(), move |tx| {
            let factor = store::totp::of_user(tx, user)?.filter(|f| f.confirmed);
            let factor =
                factor.ok_or_else(|| Error::new(Kind::NotFound, "not_found", "the second factor is not on"))?;
            if !asked && store::sessions::begun(tx, session)?.is_none_or(|at| now - at / 1000 > FRESH_LOGIN_SECONDS) {
                let message = "give code or password: this login is older than ten minutes";
                return Err(Error::invalid_field("code", "required", message));
            }
            if let Some(code) = &code
                && spend(&house, tx, user, &factor, code, now)?.is_none()
            {
                return Err(wrong_code(Kind::Forbidden));
            }
            if let Some(checked) = &checked
                && store::users::by_id(tx, user)?.is_none_or(|a| a.password_hash != *checked)
            {
                return Err(wrong_password());
            }
            store::totp::remove(tx, user)?;
            audit::on_user(tx, &trail, action::TOTP_DISABLED, user, &name, None)
        })
        .await?;
    attempt.succeeded();
    Ok(())
}

/// Asks once more for a code, where a second factor is on.
pub(super) fn confirm_again(app: &App, tx: &mut Tx<'_>, user: UserId, code: Option<&str>, now: i64) -> Result<()> {
    let Some(factor) = store::totp::of_user(tx, user)?.filter(|factor| factor.confirmed) else { return Ok(()) };
    let needed = || Error::invalid_field("code", "required", "is required: a second factor is on");
    let code = totp::normal(code.ok_or_else(needed)?);
    spend(app, tx, user, &factor, &code, now)?.map(drop).ok_or_else(|| wrong_code(Kind::Forbidden))
}

/// Takes away a second factor that somebody has lost: their next login asks for the password alone. What is logged in
/// stays.
///
/// # Errors
/// 404 where there is no such user, or their second factor is not on.
pub fn reset(tx: &mut Tx<'_>, trail: &Trail, user: UserId) -> Result<()> {
    let account = store::users::by_id(tx, user)?;
    let account = account.ok_or_else(|| Error::new(Kind::NotFound, "not_found", "there is no such user"))?;
    if !store::totp::of_user(tx, user)?.is_some_and(|factor| factor.confirmed) {
        return Err(Error::new(Kind::NotFound, "not_found", "their second factor is not on"));
    }
    store::totp::remove(tx, user)?;
    audit::on_user(tx, trail, action::TOTP_RESET, user, &account.user.username, None)
}

/// [`reset`], by an administrator.
///
/// # Errors
/// 403, and as [`reset`].
pub async fn reset_for(app: &App, admin: &Admin, user: UserId) -> Result<()> {
    let (admin, trail) = (admin.clone(), admin.trail(app));
    let work = move |tx: &mut Tx<'_>| {
        admin.still(tx)?;
        reset(tx, &trail, user)
    };
    app.db.write(user.uuid().as_u128(), work).await
}

/// Seals every second factor with the secret in use that was sealed with one before it, so that nothing stands on the
/// old one any more; how many. Each is a transaction of its own. Costs nothing while there is one secret.
///
/// # Errors
/// As the store says.
pub async fn seal_anew(app: &App) -> Result<u64> {
    let (mut sealed_anew, mut last) = (0, None);
    if !app.keys.has_older_secrets() {
        return Ok(0);
    }
    loop {
        let page = app.db.read(move |tx| store::totp::after(tx, last, SEALED_AT_ONCE)).await?;
        let Some((newest, _)) = page.last() else { return Ok(sealed_anew) };
        last = Some(*newest);
        for (user, before) in page {
            let Some(sealed) = app.keys.seal_anew(&purpose(user), &before)? else { continue };
            let work = move |tx: &mut Tx<'_>| store::totp::seal_anew(tx, user, &before, &sealed);
            sealed_anew += u64::from(app.db.write(user.uuid().as_u128(), work).await?);
        }
        if app.tasks.is_stopping() {
            return Ok(sealed_anew);
        }
    }
}

fn wrong_password() -> Error {
    Error::new(Kind::Forbidden, "invalid_credentials", "the password is wrong")
}

/// The account, where this is its password.
pub(super) async fn check_password(app: &App, user: UserId, password: String) -> Result<Account> {
    let account = app.db.read(move |tx| store::users::by_id(tx, user)).await?.ok_or_else(gone)?;
    let hash = account.password_hash.clone();
    // Beyond 72 bytes bcrypt would compare a prefix.
    let fits = password.len() <= 72;
    let matches = app.hasher.run(move || bcrypt::verify(password, &hash)).await?.unwrap_or(false);
    if matches && fits { Ok(account) } else { Err(wrong_password()) }
}
