//! Personal access tokens.

use mesh_protocol::{SessionId, Timestamp, UserId, credentials::TokenInfo, model::UserRole};

use super::{
    db::{Row, Tx},
    statements,
};
use crate::{
    domain::scope::Scopes,
    error::{Error, Result},
};

statements! {
    // Changes nothing, but holds the row until the transaction ends: of two that each add the last token, the second
    // waits, and then counts the first.
    HOLD_OWNER = "UPDATE users SET role = role WHERE id = $1";
    SWEEP = "DELETE FROM access_tokens WHERE user_id = $1 AND (expires_at <= $2 OR revoked_at <= $3)";
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) FROM access_tokens WHERE user_id = $1 AND revoked_at IS NULL";
    INSERT = "INSERT INTO access_tokens (id, user_id, hash, name, scopes, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    BY_HASH = "SELECT id FROM access_tokens WHERE hash = $1 AND revoked_at IS NULL";
    LIVE = "SELECT u.id, u.username, u.role, t.scopes, t.last_used_at, t.expires_at, u.display_name FROM access_tokens t \
        JOIN users u ON u.id = t.user_id WHERE t.id = $1 AND t.revoked_at IS NULL AND u.disabled_at IS NULL";
    TOUCH = "UPDATE access_tokens SET last_used_at = $1 WHERE id = $2";
    OF_USER = "SELECT id, name, scopes, created_at, last_used_at, expires_at FROM access_tokens \
        WHERE user_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC, id DESC";
    REVOKE = "UPDATE access_tokens SET revoked_at = $1 WHERE id = $2 AND user_id = $3 AND revoked_at IS NULL \
        RETURNING name";
    REVOKE_ALL = "UPDATE access_tokens SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL RETURNING id";
}

/// How long a revoked token is remembered at least, so that every server hears of its end, milliseconds.
const REMEMBERED_MS: i64 = 3_600_000;

/// A new token.
pub struct NewAccessToken<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of the token, hexadecimal.
    pub hash: &'a str,
    /// What it is for.
    pub name: &'a str,
    /// What it may do.
    pub scopes: Scopes,
    /// Now, Unix milliseconds.
    pub now: i64,
    /// When it ends, Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// Adds a token, and forgets those of its owner that have ended; false where they have `max` already.
pub fn insert(tx: &mut Tx<'_>, new: &NewAccessToken<'_>, max: u64) -> Result<bool> {
    let (id, user) = (new.id.to_string(), new.user.to_string());
    tx.exec(HOLD_OWNER, &[(&user).into()])?;
    tx.exec(SWEEP, &[(&user).into(), new.now.into(), new.now.saturating_sub(REMEMBERED_MS).into()])?;
    if tx.row(COUNT, &[(&user).into()])?.map_or(Ok(0), |row| row.count(0))? >= max {
        return Ok(false);
    }
    tx.exec(
        INSERT,
        &[
            (&id).into(),
            (&user).into(),
            new.hash.into(),
            new.name.into(),
            (&new.scopes.words()).into(),
            new.now.into(),
            new.expires_at.into(),
        ],
    )?;
    Ok(true)
}

/// The id of the token with this hash, where it is not revoked.
pub fn by_hash(tx: &mut Tx<'_>, hash: &str) -> Result<Option<SessionId>> {
    tx.row(BY_HASH, &[hash.into()])?.map(|row| Ok(SessionId::parse(row.text(0)?))).transpose()
}

/// A token that is neither revoked nor of a disabled account.
pub struct LiveToken {
    /// Whose.
    pub user: UserId,
    /// The account's name.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
    /// What the account may do on the whole server.
    pub role: UserRole,
    /// What the token may do.
    pub scopes: Scopes,
    /// When it was last used, Unix milliseconds, within a few minutes.
    pub last_used_at: Option<i64>,
    /// When it ends, Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// Whose token this is, where it is not revoked and the account not disabled. Whether it has ended is judged after.
pub fn live(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<LiveToken>> {
    let Some(row) = tx.row(LIVE, &[(&id.to_string()).into()])? else { return Ok(None) };
    Ok(Some(LiveToken {
        user: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        display_name: row.text(6)?.to_owned(),
        role: UserRole::parse(row.text(2)?).ok_or_else(|| Error::internal("an unknown role in users"))?,
        scopes: Scopes::parse(row.text(3)?),
        last_used_at: row.opt_int(4)?,
        expires_at: row.opt_int(5)?,
    }))
}

/// Remembers that a token was used.
pub fn touch(tx: &mut Tx<'_>, id: SessionId, now: i64) -> Result<()> {
    tx.exec(TOUCH, &[now.into(), (&id.to_string()).into()]).map(drop)
}

fn info(row: &Row) -> Result<TokenInfo> {
    Ok(TokenInfo {
        id: SessionId::parse(row.text(0)?),
        name: row.text(1)?.to_owned(),
        scopes: Scopes::parse(row.text(2)?).list(),
        created_at: Timestamp::from_millis(row.int(3)?),
        last_used_at: row.opt_int(4)?.map(Timestamp::from_millis),
        expires_at: row.opt_int(5)?.map(Timestamp::from_millis),
    })
}

/// The tokens of `user` that are not revoked, newest first.
pub fn of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<TokenInfo>> {
    tx.rows(OF_USER, &[(&user.to_string()).into()])?.iter().map(info).collect()
}

/// Revokes a token of `user`; its name, or none where it is none of theirs.
pub fn revoke(tx: &mut Tx<'_>, id: SessionId, user: UserId, now: i64) -> Result<Option<String>> {
    let row = tx.row(REVOKE, &[now.into(), (&id.to_string()).into(), (&user.to_string()).into()])?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

/// Revokes every token of `user`; which ones.
pub fn revoke_all(tx: &mut Tx<'_>, user: UserId, now: i64) -> Result<Vec<SessionId>> {
    let rows = tx.rows(REVOKE_ALL, &[now.into(), (&user.to_string()).into()])?;
    rows.iter().map(|row| Ok(SessionId::parse(row.text(0)?))).collect()
}
