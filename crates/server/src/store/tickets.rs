//! Single-use tickets for a WebSocket: each stands for the login, or the personal access token, that asked for it.

use mesh_protocol::SessionId;

use super::{db::Tx, statements};
use crate::error::Result;

statements! {
    OF_LOGIN = "INSERT INTO ws_tickets (hash, session_id, credential_ends_at, expires_at) VALUES ($1, $2, $3, $4)";
    // A token that has ended is forgotten when its owner makes another one: then nothing is added.
    OF_TOKEN = "INSERT INTO token_tickets (hash, token_id, expires_at) SELECT CAST($1 AS TEXT), id, \
        CAST($2 AS BIGINT) FROM access_tokens WHERE id = $3 AND revoked_at IS NULL";
    USE_OF_LOGIN = "DELETE FROM ws_tickets WHERE hash = $1 RETURNING session_id, credential_ends_at, expires_at";
    USE_OF_TOKEN = "DELETE FROM token_tickets WHERE hash = $1 RETURNING token_id, expires_at";
    SWEEP_OF_LOGINS = "DELETE FROM ws_tickets WHERE expires_at <= $1";
    SWEEP_OF_TOKENS = "DELETE FROM token_tickets WHERE expires_at <= $1";
}

/// A new ticket.
pub struct NewTicket<'a> {
    /// SHA-256 of the ticket, hexadecimal.
    pub hash: &'a str,
    /// The login, or the personal access token, that it stands for.
    pub of: SessionId,
    /// When it ends, Unix milliseconds.
    pub expires_at: i64,
    /// Now, Unix milliseconds.
    pub now: i64,
}

/// Adds a ticket of a login whose access token ends at `credential_ends_at` (Unix seconds), and forgets those that have
/// ended.
pub fn add_of_login(tx: &mut Tx<'_>, new: &NewTicket<'_>, credential_ends_at: i64) -> Result<()> {
    sweep(tx, new.now)?;
    let of = new.of.to_string();
    let params = [new.hash.into(), (&of).into(), credential_ends_at.into(), new.expires_at.into()];
    tx.exec(OF_LOGIN, &params).map(drop)
}

/// Adds a ticket of a personal access token, which ends when that does, and forgets those that have ended; false where
/// there is no such token any more.
pub fn add_of_token(tx: &mut Tx<'_>, new: &NewTicket<'_>) -> Result<bool> {
    sweep(tx, new.now)?;
    Ok(tx.exec(OF_TOKEN, &[new.hash.into(), new.expires_at.into(), (&new.of.to_string()).into()])? == 1)
}

/// Takes a ticket, which nobody can take again: what it stands for, and when the login's access token ends (Unix
/// seconds), or the end of time for a personal access token, which knows its end itself.
pub fn take(tx: &mut Tx<'_>, hash: &str, now: i64) -> Result<Option<(SessionId, i64)>> {
    if let Some(row) = tx.row(USE_OF_LOGIN, &[hash.into()])? {
        return Ok((row.int(2)? > now).then_some((SessionId::parse(row.text(0)?), row.int(1)?)));
    }
    let Some(row) = tx.row(USE_OF_TOKEN, &[hash.into()])? else { return Ok(None) };
    Ok((row.int(1)? > now).then_some((SessionId::parse(row.text(0)?), i64::MAX)))
}

/// Forgets the tickets that have ended.
pub fn sweep(tx: &mut Tx<'_>, now: i64) -> Result<()> {
    tx.exec(SWEEP_OF_LOGINS, &[now.into()])?;
    tx.exec(SWEEP_OF_TOKENS, &[now.into()]).map(drop)
}
