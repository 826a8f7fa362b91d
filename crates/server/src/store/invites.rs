//! Registration invites.

use mesh_protocol::UserId;
use uuid::Uuid;

use super::{
    db::{Row, Tx},
    statements,
};
use crate::error::{Error, Result};

statements! {
    INSERT = "INSERT INTO registration_invites (id, created_by, created_at, expires_at, max_uses, uses) \
        VALUES ($1, $2, $3, $4, $5, 0)";
    USE = "UPDATE registration_invites SET uses = uses + 1 WHERE id = $1 AND revoked_at IS NULL \
        AND (expires_at IS NULL OR expires_at > $2) AND (max_uses IS NULL OR uses < max_uses)";
    USABLE = "SELECT id FROM registration_invites WHERE id = $1 AND revoked_at IS NULL \
        AND (expires_at IS NULL OR expires_at > $2) AND (max_uses IS NULL OR uses < max_uses)";
    REVOKE = "UPDATE registration_invites SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
    LIST = "SELECT id, created_by, created_at, expires_at, max_uses, uses FROM registration_invites \
        WHERE revoked_at IS NULL AND (created_at < $1 OR (created_at = $1 AND id < $2)) \
        ORDER BY created_at DESC, id DESC LIMIT $3";
}

/// An invite, as it is stored: its code is made of the id by whoever knows the server's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Its id.
    pub id: Uuid,
    /// Who made it; none for the command line.
    pub created_by: Option<UserId>,
    /// When, Unix milliseconds.
    pub created_at: i64,
    /// When it ends, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// How many accounts may be made with it.
    pub max_uses: Option<i64>,
    /// How many were.
    pub uses: i64,
}

fn invite(row: &Row) -> Result<Invite> {
    Ok(Invite {
        id: Uuid::try_parse(row.text(0)?).map_err(Error::internal)?,
        created_by: row.opt_text(1)?.map(UserId::parse),
        created_at: row.int(2)?,
        expires_at: row.opt_int(3)?,
        max_uses: row.opt_int(4)?,
        uses: row.int(5)?,
    })
}

/// Adds an invite that nobody has used.
pub fn insert(tx: &mut Tx<'_>, invite: &Invite) -> Result<()> {
    tx.exec(
        INSERT,
        &[
            (&invite.id.to_string()).into(),
            invite.created_by.map(|id| id.to_string()).as_ref().into(),
            invite.created_at.into(),
            invite.expires_at.into(),
            invite.max_uses.into(),
        ],
    )
    .map(drop)
}

/// Uses an invite once; false where it is none, or used up, ended or revoked.
pub fn take(tx: &mut Tx<'_>, id: Uuid, now: i64) -> Result<bool> {
    Ok(tx.exec(USE, &[(&id.to_string()).into(), now.into()])? == 1)
}

/// Whether [`take`] would succeed now.
pub fn usable(tx: &mut Tx<'_>, id: Uuid, now: i64) -> Result<bool> {
    Ok(tx.row(USABLE, &[(&id.to_string()).into(), now.into()])?.is_some())
}

/// Ends an invite; false where it is none, or was ended before.
pub fn revoke(tx: &mut Tx<'_>, id: Uuid, now: i64) -> Result<bool> {
    Ok(tx.exec(REVOKE, &[now.into(), (&id.to_string()).into()])? == 1)
}

/// Those that were not revoked and are older than `(at, id)`, newest first.
pub fn list(tx: &mut Tx<'_>, at: i64, id: &str, limit: usize) -> Result<Vec<Invite>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(LIST, &[at.into(), id.into(), limit.into()])?.iter().map(invite).collect()
}
