//! Second factors: secrets, recovery codes, and what was used of them.

use mesh_protocol::UserId;

use super::{db::Tx, statements};
use crate::error::Result;

statements! {
    BEGIN = "INSERT INTO totp (user_id, sealed_secret, last_step, created_at) VALUES ($1, $2, 0, $3) \
        ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_at = excluded.created_at \
        WHERE totp.confirmed_at IS NULL";
    OF_USER = "SELECT sealed_secret, confirmed_at FROM totp WHERE user_id = $1";
    CONFIRM = "UPDATE totp SET confirmed_at = $1, last_step = $2 \
        WHERE user_id = $3 AND sealed_secret = $4 AND confirmed_at IS NULL";
    USE_STEP = "UPDATE totp SET last_step = $1 WHERE user_id = $2 AND sealed_secret = $3 AND last_step < $1";
    AFTER = "SELECT user_id, sealed_secret FROM totp WHERE user_id > $1 ORDER BY user_id LIMIT $2";
    SEAL_ANEW = "UPDATE totp SET sealed_secret = $1 WHERE user_id = $2 AND sealed_secret = $3";
    REMOVE = "DELETE FROM totp WHERE user_id = $1";
    ADD_CODE = "INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)";
    USE_CODE = "DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2";
    CODES_LEFT = "SELECT CAST(COUNT(*) AS BIGINT) FROM recovery_codes WHERE user_id = $1";
    SWEEP_CHALLENGES = "DELETE FROM used_challenges WHERE expires_at <= $1";
    USE_CHALLENGE = "INSERT INTO used_challenges (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
}

/// A user's second factor.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Its secret, sealed.
    pub sealed: String,
    /// Whether logins ask for it: its owner has shown a code of it.
    pub confirmed: bool,
}

/// Begins a second factor, in the place of one that was begun; false where there is one in force.
pub fn begin(tx: &mut Tx<'_>, user: UserId, sealed: &str, now: i64) -> Result<bool> {
    Ok(tx.exec(BEGIN, &[(&user.to_string()).into(), sealed.into(), now.into()])? == 1)
}

/// A user's second factor, in force or begun.
pub fn of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Factor>> {
    let Some(row) = tx.row(OF_USER, &[(&user.to_string()).into()])? else { return Ok(None) };
    Ok(Some(Factor { sealed: row.text(0)?.to_owned(), confirmed: row.opt_int(1)?.is_some() }))
}

/// Puts a second factor in force, by the code of a time step; false where it is no longer the one that was begun.
pub fn confirm(tx: &mut Tx<'_>, user: UserId, sealed: &str, step: i64, now: i64) -> Result<bool> {
    Ok(tx.exec(CONFIRM, &[now.into(), step.into(), (&user.to_string()).into(), sealed.into()])? == 1)
}

/// Uses the code of a time step; false where it, or a later one, was used.
pub fn use_step(tx: &mut Tx<'_>, user: UserId, sealed: &str, step: i64) -> Result<bool> {
    Ok(tx.exec(USE_STEP, &[step.into(), (&user.to_string()).into(), sealed.into()])? == 1)
}

/// Sealed secrets by user, after one user's; at most `limit`.
pub fn after(tx: &mut Tx<'_>, user: Option<UserId>, limit: i64) -> Result<Vec<(UserId, String)>> {
    let after = user.map(|user| user.to_string()).unwrap_or_default();
    let rows = tx.rows(AFTER, &[(&after).into(), limit.into()])?;
    rows.iter().map(|row| Ok((UserId::parse(row.text(0)?), row.text(1)?.to_owned()))).collect()
}

/// Puts the same secret, sealed anew, in the place of what was sealed before; false where that is gone.
pub fn seal_anew(tx: &mut Tx<'_>, user: UserId, before: &str, sealed: &str) -> Result<bool> {
    Ok(tx.exec(SEAL_ANEW, &[sealed.into(), (&user.to_string()).into(), before.into()])? == 1)
}

/// Forgets a second factor and its recovery codes; false where there is none.
pub fn remove(tx: &mut Tx<'_>, user: UserId) -> Result<bool> {
    Ok(tx.exec(REMOVE, &[(&user.to_string()).into()])? == 1)
}

/// Adds a recovery code, by hash.
pub fn add_code(tx: &mut Tx<'_>, user: UserId, hash: &str) -> Result<()> {
    tx.exec(ADD_CODE, &[(&user.to_string()).into(), hash.into()]).map(drop)
}

/// Uses a recovery code; false where it is none, or was used.
pub fn use_code(tx: &mut Tx<'_>, user: UserId, hash: &str) -> Result<bool> {
    Ok(tx.exec(USE_CODE, &[(&user.to_string()).into(), hash.into()])? == 1)
}

/// How many recovery codes are unused.
pub fn codes_left(tx: &mut Tx<'_>, user: UserId) -> Result<u64> {
    tx.row(CODES_LEFT, &[(&user.to_string()).into()])?.map_or(Ok(0), |row| row.count(0))
}

/// Uses a challenge; false where a login was completed with it. Forgets those that have ended.
pub fn use_challenge(tx: &mut Tx<'_>, id: &str, expires_at: i64, now: i64) -> Result<bool> {
    tx.exec(SWEEP_CHALLENGES, &[now.into()])?;
    Ok(tx.exec(USE_CHALLENGE, &[id.into(), expires_at.into()])? == 1)
}
