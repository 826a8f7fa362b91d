//! Accounts in the hands of administrators. What the command line does too takes a transaction and a trail.

use mesh_protocol::{
    Timestamp, UserId,
    admin::{AdminUser, CreateUserRequest, UpdateUserRequest},
    model::UserRole,
    text::{Username, check_password},
};
use serde_json::{Value, json};

pub use crate::store::admin::Filter;

use super::{
    Page,
    admin::Admin,
    audit::{action, on_user},
    page,
    profile::{NewProfile, ProfileChange},
    sessions,
};
use crate::{
    app::App,
    domain::happening::Ending,
    error::{Error, Fields, Kind, Result},
    store::{self, Tx, audit::Trail},
};

fn absent() -> Error {
    Error::new(Kind::NotFound, "not_found", "there is no such user")
}

/// Accounts by user name.
///
/// # Errors
/// 403; 422 for a cursor that this server did not give.
pub async fn list(
    app: &App,
    admin: &Admin,
    filter: Filter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<AdminUser>> {
    let bad = |_| Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list");
    let after = cursor.map(Username::parse).transpose().map_err(bad)?.map(|name| name.key()).unwrap_or_default();
    let admin = admin.clone();
    let users = app
        .db
        .read(move |tx| {
            admin.still(tx)?;
            store::admin::list(tx, &filter, &after, limit + 1)
        })
        .await?;
    Ok(page(users, limit, String::clone))
}

/// One account.
///
/// # Errors
/// 403; 404 where it is absent.
pub async fn get(app: &App, admin: &Admin, id: UserId) -> Result<AdminUser> {
    let admin = admin.clone();
    let found = app
        .db
        .read(move |tx| {
            admin.still(tx)?;
            store::admin::one(tx, id)
        })
        .await?;
    found.ok_or_else(absent)
}

/// An account to be made, checked.
#[derive(Clone)]
pub struct NewAccount {
    profile: NewProfile,
    role: UserRole,
}

impl NewAccount {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// 422 with every field that is not allowed.
    pub fn check(request: &CreateUserRequest) -> Result<Self> {
        let (email, display_name) = (request.email.as_deref(), request.display_name.as_deref());
        let profile = NewProfile::check(&request.username, &request.password, email, display_name)?;
        Ok(Self { profile, role: request.role.unwrap_or(UserRole::User) })
    }

    /// Makes the account, whose password has this hash.
    ///
    /// # Errors
    /// 409 `username_taken`.
    pub fn create(&self, tx: &mut Tx<'_>, trail: &Trail, hash: &str) -> Result<AdminUser> {
        let (id, at) = (UserId::new(trail.ids.uuid()), Timestamp::from_millis(trail.now));
        let user = self.profile.user(id, self.role, at);
        if !store::users::insert(tx, &user, hash)? {
            return Err(Error::new(Kind::Conflict, "username_taken", "this user name is taken"));
        }
        let details = json!({"role": self.role.as_str()});
        on_user(tx, trail, action::USER_CREATED, user.id, &user.username, Some(&details))?;
        store::admin::one(tx, user.id)?.ok_or_else(absent)
    }
}

/// Makes an account.
///
/// # Errors
/// 403; 409 `username_taken`; 422 with every field that is not allowed.
pub async fn create(app: &App, admin: &Admin, request: CreateUserRequest) -> Result<AdminUser> {
    let new = NewAccount::check(&request)?;
    let hash = hash(app, request.password).await?;
    let (admin, trail) = (admin.clone(), admin.trail(app));
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            new.create(tx, &trail, &hash)
        })
        .await
}

async fn hash(app: &App, password: String) -> Result<String> {
    let cost = app.config.bcrypt_cost;
    app.hasher.run(move || bcrypt::hash(password, cost)).await?.map_err(Error::internal)
}

/// What is to be changed of an account, checked; what is none stays.
#[derive(Clone, Default)]
pub struct Change {
    /// What the account may do on the whole server.
    pub role: Option<UserRole>,
    /// Whether it is shut.
    pub disabled: Option<bool>,
    /// The hash of its new password.
    pub password_hash: Option<String>,
    /// What it says of the person.
    pub profile: ProfileChange,
}

/// An account that was changed, and what must be forgotten of it.
#[derive(Debug)]
pub struct Changed {
    /// As it is now.
    pub user: AdminUser,
    /// Its logins, whether they ended or may now do something else.
    pub sessions: Vec<mesh_protocol::SessionId>,
}

/// Changes an account. The last active administrator stays one.
///
/// # Errors
/// 404 where it is absent; 409 `last_admin`.
pub fn change(tx: &mut Tx<'_>, trail: &Trail, id: UserId, change: &Change) -> Result<Changed> {
    let before = store::admin::one(tx, id)?.ok_or_else(absent)?;
    let loses = change.role == Some(UserRole::User) || change.disabled == Some(true);
    let mut user = before;
    if loses && user.role == UserRole::Admin && !user.disabled {
        if !store::admin::another_admin(tx, id)? {
            let message = "this is the last active administrator: make somebody else one first";
            return Err(Error::new(Kind::Conflict, "last_admin", message));
        }
        // Others may have changed it while this waited for them.
        user = store::admin::one(tx, id)?.ok_or_else(absent)?;
    }
    let sessions = store::admin::sessions_of(tx, id)?;
    let name = user.username.clone();
    let log = |tx: &mut Tx<'_>, action, details: Option<Value>| on_user(tx, trail, action, id, &name, details.as_ref());
    if let Some(role) = change.role.filter(|role| *role != user.role) {
        store::admin::set_role(tx, id, role)?;
        log(tx, action::ROLE_CHANGED, Some(json!({"from": user.role.as_str(), "to": role.as_str()})))?;
    }
    if let Some(disabled) = change.disabled.filter(|disabled| *disabled != user.disabled) {
        store::admin::set_disabled(tx, id, disabled.then_some(trail.now))?;
        log(tx, if disabled { action::DISABLED } else { action::ENABLED }, None)?;
    }
    if let Some(hash) = &change.password_hash {
        store::admin::set_password(tx, id, hash)?;
        log(tx, action::PASSWORD_RESET, None)?;
    }
    let profile = &change.profile;
    if !profile.is_empty() {
        let (display_name, email) = profile.over(&user.display_name, user.email.as_deref());
        store::users::update_profile(tx, id, display_name, email)?;
        let fields = json!({"display_name": profile.display_name.is_some(), "email": profile.email.is_some()});
        log(tx, action::PROFILE_CHANGED, Some(fields))?;
    }
    // Logins from before are over, also where the account was shut already.
    if change.disabled == Some(true) {
        sessions::end_others(tx, id, None, trail.now, Ending::Disabled)?;
    } else if change.password_hash.is_some() {
        sessions::end_others(tx, id, None, trail.now, Ending::LoggedOut)?;
    }
    let user = store::admin::one(tx, id)?.ok_or_else(absent)?;
    Ok(Changed { user, sessions })
}

/// Changes an account: disabling it or setting its password ends its logins.
///
/// # Errors
/// 403; 404 where it is absent; 409 `last_admin`; 422 with every field that is not allowed.
pub async fn update(app: &App, admin: &Admin, id: UserId, request: UpdateUserRequest) -> Result<AdminUser> {
    let mut fields = Fields::default();
    if let Some(password) = &request.password {
        fields.take("password", check_password(password));
    }
    let email = request.email.as_ref().map(Option::as_deref);
    let profile = ProfileChange::check(&mut fields, request.display_name.as_deref(), email);
    fields.check()?;
    let password_hash = match request.password {
        Some(password) => Some(hash(app, password).await?),
        None => None,
    };
    let wanted = Change { role: request.role, disabled: request.disabled, password_hash, profile };
    let (admin, trail) = (admin.clone(), admin.trail(app));
    let outcome = app
        .db
        .write(0, move |tx| {
            admin.still(tx)?;
            change(tx, &trail, id, &wanted)
        })
        .await;
    app.profiles.forget(&id);
    let changed = outcome?;
    changed.sessions.into_iter().for_each(|session| app.callers.forget(session));
    Ok(changed.user)
}
