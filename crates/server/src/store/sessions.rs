//! Logins.

use mesh_protocol::{SessionId, UserId, model::UserRole};

use super::{db::Tx, statements};
use crate::error::{Error, Result};

statements! {
    INSERT = "INSERT INTO sessions (id, user_id, refresh_hash, user_agent, ip, created_at, last_seen_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
    LIVE = "SELECT u.id, u.username, u.role FROM sessions s JOIN users u ON u.id = s.user_id \
        WHERE s.id = $1 AND s.revoked_at IS NULL AND u.disabled_at IS NULL";
}

/// A new login.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of the refresh token, hexadecimal.
    pub refresh_hash: &'a str,
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
            new.user_agent.into(),
            new.ip.into(),
            new.now.into(),
            new.expires_at.into(),
        ],
    )
    .map(drop)
}

/// Whose login this is, where it and the account are neither revoked nor disabled.
pub fn live(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<(UserId, String, UserRole)>> {
    let Some(row) = tx.row(LIVE, &[(&id.to_string()).into()])? else { return Ok(None) };
    let role = UserRole::parse(row.text(2)?).ok_or_else(|| Error::internal("an unknown role in users"))?;
    Ok(Some((UserId::parse(row.text(0)?), row.text(1)?.to_owned(), role)))
}
