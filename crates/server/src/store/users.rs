//! Accounts.

use mesh_protocol::{
    Timestamp, UserId,
    model::{User, UserRole},
};

use super::{
    db::{Row, Tx},
    migrate, statements,
};
use crate::error::{Error, Result};

statements! {
    INSERT = "INSERT INTO users (id, username, username_key, display_name, email, password_hash, role, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (username_key) DO NOTHING";
    ANY = "SELECT id FROM users LIMIT 1";
    BY_ID = "SELECT id, username, display_name, email, role, created_at, password_hash, disabled_at \
        FROM users WHERE id = $1 AND deleted_at IS NULL";
    HOLD = "UPDATE users SET role = role WHERE id = $1";
    BY_KEY = "SELECT id, username, display_name, email, role, created_at, password_hash, disabled_at \
        FROM users WHERE username_key = $1 AND deleted_at IS NULL";
    UPDATE_PROFILE = "UPDATE users SET display_name = $1, email = $2 WHERE id = $3";
    SET_PASSWORD = "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3";
}

/// An account with what only the server may see.
#[derive(Clone, Debug)]
pub struct Account {
    /// What its owner sees.
    pub user: User,
    /// bcrypt.
    pub password_hash: String,
    /// Whether an administrator shut it.
    pub disabled: bool,
}

fn account(row: &Row) -> Result<Account> {
    let user = User {
        id: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        display_name: row.text(2)?.to_owned(),
        email: row.opt_text(3)?.map(str::to_owned),
        role: UserRole::parse(row.text(4)?).ok_or_else(|| Error::internal("an unknown role in users"))?,
        created_at: Timestamp::from_millis(row.int(5)?),
    };
    Ok(Account { user, password_hash: row.text(6)?.to_owned(), disabled: row.opt_int(7)?.is_some() })
}

/// Whether there is any account.
pub fn any(tx: &mut Tx<'_>) -> Result<bool> {
    Ok(tx.row(ANY, &[])?.is_some())
}

/// Whether an account made now is the first one. Who hears yes holds that place until the transaction ends: where two
/// servers on one PostgreSQL make an account at once, the second waits, and then hears of the first.
pub fn would_be_first(tx: &mut Tx<'_>) -> Result<bool> {
    if any(tx)? {
        return Ok(false);
    }
    migrate::touch(tx)?;
    Ok(!any(tx)?)
}

/// Adds an account; false where the name is taken, in whatever case.
pub fn insert(tx: &mut Tx<'_>, user: &User, password_hash: &str) -> Result<bool> {
    let key = user.username.to_ascii_lowercase();
    let changed = tx.exec(
        INSERT,
        &[
            (&user.id.to_string()).into(),
            (&user.username).into(),
            (&key).into(),
            (&user.display_name).into(),
            user.email.as_ref().into(),
            password_hash.into(),
            user.role.as_str().into(),
            user.created_at.as_millis().into(),
        ],
    )?;
    Ok(changed == 1)
}

/// The account with this id.
pub fn by_id(tx: &mut Tx<'_>, id: UserId) -> Result<Option<Account>> {
    tx.row(BY_ID, &[(&id.to_string()).into()])?.as_ref().map(account).transpose()
}

/// The account with this id, which no other server changes until this transaction has ended: what is made of it now falls
/// with what is changed afterwards.
pub fn held(tx: &mut Tx<'_>, id: UserId) -> Result<Option<Account>> {
    tx.exec(HOLD, &[(&id.to_string()).into()])?;
    by_id(tx, id)
}

/// The account with this name, in any case.
pub fn by_name(tx: &mut Tx<'_>, username: &str) -> Result<Option<Account>> {
    tx.row(BY_KEY, &[(&username.to_ascii_lowercase()).into()])?.as_ref().map(account).transpose()
}

/// Changes what a person is called, and their address.
pub fn update_profile(tx: &mut Tx<'_>, id: UserId, display_name: &str, email: Option<&str>) -> Result<()> {
    tx.exec(UPDATE_PROFILE, &[display_name.into(), email.into(), (&id.to_string()).into()]).map(drop)
}

/// Changes a password's hash; false where it is no longer the one that was checked.
pub fn set_password(tx: &mut Tx<'_>, id: UserId, new: &str, checked: &str) -> Result<bool> {
    Ok(tx.exec(SET_PASSWORD, &[new.into(), (&id.to_string()).into(), checked.into()])? == 1)
}
