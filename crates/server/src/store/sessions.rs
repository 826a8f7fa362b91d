//! Logins.

use mesh_protocol::{SessionId, Timestamp, UserId, model::UserRole, rest::SessionInfo};

use super::{db::Tx, statements};
use crate::error::{Error, Result};

statements! {
    INSERT = "INSERT INTO sessions (id, user_id, refresh_hash, refresh_nonce, user_agent, ip, created_at, last_seen_at, \
        expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)";
    LIVE = "SELECT u.id, u.username, u.role, s.last_seen_at, u.display_name FROM sessions s \
        JOIN users u ON u.id = s.user_id \
        WHERE s.id = $1 AND s.revoked_at IS NULL AND u.disabled_at IS NULL";
    BEGUN = "SELECT created_at FROM sessions WHERE id = $1 AND revoked_at IS NULL";
    REFRESH = "SELECT s.user_id, s.refresh_hash, s.previous_hash, s.refresh_nonce, s.rotated_at, s.expires_at \
        FROM sessions s JOIN users u ON u.id = s.user_id \
        WHERE s.id = $1 AND s.revoked_at IS NULL AND u.disabled_at IS NULL";
    ROTATE = "UPDATE sessions SET previous_hash = refresh_hash, refresh_hash = $1, refresh_nonce = $2, rotated_at = $3, \
        last_seen_at = $3, expires_at = $4 WHERE id = $5 AND refresh_hash = $6 AND revoked_at IS NULL";
    REVOKE = "UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND user_id = $3 AND revoked_at IS NULL";
    REVOKE_OTHERS = "UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND id <> $3 AND revoked_at IS NULL \
        RETURNING id";
    TOUCH = "UPDATE sessions SET last_seen_at = $1 WHERE id = $2 AND last_seen_at < $1";
    OF_USER = "SELECT id, created_at, last_seen_at, user_agent, ip FROM sessions \
        WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY last_seen_at DESC, id LIMIT 200";
}

/// A new login.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of the refresh token, hexadecimal.
    pub refresh_hash: &'a str,
    /// What the refresh token was derived from, hexadecimal; worth nothing without the server's secret.
    pub refresh_nonce: &'a str,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// Where it came from.
    pub ip: &'a str,
    /// Now, Unix milliseconds.
    pub now: i64,
    /// When it ends unless it is used, Unix milliseconds.
    pub expires_at: i64,
}

/// Adds a login.
pub fn insert(tx: &mut Tx<'_>, new: &NewSession<'_>) -> Result<()> {
    tx.exec(
        INSERT,
        &[
            (&new.id.to_string()).into(),
            (&new.user.to_string()).into(),
            new.refresh_hash.into(),
            new.refresh_nonce.into(),
            new.user_agent.into(),
            new.ip.into(),
            new.now.into(),
            new.expires_at.into(),
        ],
    )
    .map(drop)
}

/// A login that is neither revoked nor of a disabled account.
pub struct Live {
    /// Whose.
    pub user: UserId,
    /// The account's name.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
    /// What the account may do on the whole server.
    pub role: UserRole,
    /// When it was last used, Unix milliseconds, within a few minutes.
    pub last_seen_at: i64,
}

/// Whose login this is, where it and the account are neither revoked nor disabled.
pub fn live(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<Live>> {
    let Some(row) = tx.row(LIVE, &[(&id.to_string()).into()])? else { return Ok(None) };
    Ok(Some(Live {
        user: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        display_name: row.text(4)?.to_owned(),
        role: UserRole::parse(row.text(2)?).ok_or_else(|| Error::internal("an unknown role in users"))?,
        last_seen_at: row.int(3)?,
    }))
}

/// When a login that was not revoked was made, Unix milliseconds.
pub fn begun(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<i64>> {
    tx.row(BEGUN, &[(&id.to_string()).into()])?.map(|row| row.int(0)).transpose()
}

/// What a refresh is judged by.
pub struct Refresh {
    /// Whose login.
    pub user: UserId,
    /// The current token's hash.
    pub hash: String,
    /// The one before it.
    pub previous_hash: Option<String>,
    /// What the current token was derived from.
    pub nonce: String,
    /// When it became current, Unix milliseconds.
    pub rotated_at: i64,
    /// When the login ends, Unix milliseconds.
    pub expires_at: i64,
}

/// What a refresh of a live login is judged by.
pub fn for_refresh(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<Refresh>> {
    let Some(row) = tx.row(REFRESH, &[(&id.to_string()).into()])? else { return Ok(None) };
    Ok(Some(Refresh {
        user: UserId::parse(row.text(0)?),
        hash: row.text(1)?.to_owned(),
        previous_hash: row.opt_text(2)?.map(str::to_owned),
        nonce: row.text(3)?.to_owned(),
        rotated_at: row.int(4)?,
        expires_at: row.int(5)?,
    }))
}

/// The token that takes the place of the current one.
pub struct Rotation<'a> {
    /// The new token's hash.
    pub hash: &'a str,
    /// What it was derived from.
    pub nonce: &'a str,
    /// The current one's hash, which must still be current.
    pub current: &'a str,
    /// Now, Unix milliseconds.
    pub now: i64,
    /// When the login now ends, Unix milliseconds.
    pub expires_at: i64,
}

/// Rotates the refresh token; false where somebody else did so first.
pub fn rotate(tx: &mut Tx<'_>, id: SessionId, to: &Rotation<'_>) -> Result<bool> {
    let id = id.to_string();
    let params =
        [to.hash.into(), to.nonce.into(), to.now.into(), to.expires_at.into(), (&id).into(), to.current.into()];
    Ok(tx.exec(ROTATE, &params)? == 1)
}

/// Ends a login of `user`; false where it is none, or has ended.
pub fn revoke(tx: &mut Tx<'_>, id: SessionId, user: UserId, now: i64) -> Result<bool> {
    Ok(tx.exec(REVOKE, &[now.into(), (&id.to_string()).into(), (&user.to_string()).into()])? == 1)
}

/// Ends every login of `user`, but the one to keep; which ones.
pub fn revoke_others(tx: &mut Tx<'_>, user: UserId, keep: Option<SessionId>, now: i64) -> Result<Vec<SessionId>> {
    let keep = keep.unwrap_or(SessionId::NOTHING).to_string();
    let rows = tx.rows(REVOKE_OTHERS, &[now.into(), (&user.to_string()).into(), (&keep).into()])?;
    rows.iter().map(|row| Ok(SessionId::parse(row.text(0)?))).collect()
}

/// Remembers that a login was used.
pub fn touch(tx: &mut Tx<'_>, id: SessionId, now: i64) -> Result<()> {
    tx.exec(TOUCH, &[now.into(), (&id.to_string()).into()]).map(drop)
}

/// The logins of `user` that have not ended, last used first, at most 200.
pub fn of_user(tx: &mut Tx<'_>, user: UserId, current: SessionId, now: i64) -> Result<Vec<SessionInfo>> {
    let rows = tx.rows(OF_USER, &[(&user.to_string()).into(), now.into()])?;
    rows.iter()
        .map(|row| {
            let id = SessionId::parse(row.text(0)?);
            Ok(SessionInfo {
                id,
                created_at: Timestamp::from_millis(row.int(1)?),
                last_seen_at: Timestamp::from_millis(row.int(2)?),
                user_agent: row.opt_text(3)?.map(str::to_owned),
                ip: row.text(4)?.to_owned(),
                current: id == current,
            })
        })
        .collect()
}
