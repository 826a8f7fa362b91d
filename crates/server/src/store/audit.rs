//! The audit log: who did what, to whom, from where.

use std::sync::Arc;

use mesh_protocol::{Timestamp, UserId, admin::AuditEntry};
use serde_json::Value;

use super::{
    db::{Row, Tx},
    statements,
};
use crate::{error::Result, ids::Ids};

statements! {
    INSERT = "INSERT INTO audit_log (id, at, actor_id, actor_name, action, target_kind, target_id, target_name, ip, \
        details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    PAGE = "SELECT id, at, actor_id, actor_name, action, target_kind, target_id, target_name, ip, details \
        FROM audit_log WHERE ($1 = '' OR action = $1) AND ($2 = '' OR actor_id = $2 OR LOWER(actor_name) = $2) \
        AND at >= $3 AND (at < $4 OR (at = $4 AND id < $5)) ORDER BY at DESC, id DESC LIMIT $6";
    NTH_NEWEST = "SELECT at FROM audit_log ORDER BY at DESC, id DESC LIMIT 1 OFFSET $1";
    SWEEP = "DELETE FROM audit_log WHERE id IN \
        (SELECT id FROM audit_log WHERE at <= $1 ORDER BY at, id LIMIT $2)";
}

/// Who acts, when and from where: what the entries of one use-case have in common.
#[derive(Clone)]
pub struct Trail {
    /// Whence the entries' ids.
    pub ids: Ids,
    /// Now, Unix milliseconds.
    pub now: i64,
    /// Whose account acts; none for somebody unknown, and for the command line.
    pub actor: Option<UserId>,
    /// What the actor is called.
    pub name: Option<Arc<str>>,
    /// Where the request comes from.
    pub ip: Option<String>,
}

/// What something was done to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `user`, `session`, `invite`, `room`.
    pub kind: &'a str,
    /// Which one.
    pub id: &'a str,
    /// What it is called.
    pub name: Option<&'a str>,
}

/// Writes down that something was done. `details` must hold no secret.
pub fn record(
    tx: &mut Tx<'_>,
    trail: &Trail,
    action: &str,
    target: Option<Target<'_>>,
    details: Option<&Value>,
) -> Result<()> {
    tx.exec(
        INSERT,
        &[
            (&trail.ids.uuid().to_string()).into(),
            trail.now.into(),
            trail.actor.map(|id| id.to_string()).as_ref().into(),
            trail.name.as_deref().into(),
            action.into(),
            target.map(|t| t.kind).into(),
            target.map(|t| t.id).into(),
            target.and_then(|t| t.name).into(),
            trail.ip.as_ref().into(),
            details.map(Value::to_string).as_ref().into(),
        ],
    )
    .map(drop)
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this action; any where empty.
    pub action: String,
    /// Only what this account did, by its id or its name in lower case; anybody's where empty.
    pub actor: String,
    /// Only from this time on, Unix milliseconds.
    pub since: i64,
}

/// Where a page of the log begins: with the newest entry before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// When it was, Unix milliseconds.
    pub at: i64,
    /// Its id.
    pub id: String,
}

fn entry(row: &Row) -> Result<AuditEntry> {
    let owned = |column| Ok(row.opt_text(column)?.map(str::to_owned));
    Ok(AuditEntry {
        id: row.text(0)?.to_owned(),
        at: Timestamp::from_millis(row.int(1)?),
        actor_id: row.opt_text(2)?.map(UserId::parse),
        actor_name: owned(3)?,
        action: row.text(4)?.to_owned(),
        target_kind: owned(5)?,
        target_id: owned(6)?,
        target_name: owned(7)?,
        ip: owned(8)?,
        details: row.opt_text(9)?.and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// A part of the log, newest first. With each entry, where the part after it begins.
pub fn list(tx: &mut Tx<'_>, filter: &Filter, before: &Before, limit: usize) -> Result<Vec<(AuditEntry, Before)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.rows(
        PAGE,
        &[
            (&filter.action).into(),
            (&filter.actor).into(),
            filter.since.into(),
            before.at.into(),
            (&before.id).into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(|row| Ok((entry(row)?, Before { at: row.int(1)?, id: row.text(0)?.to_owned() }))).collect()
}

/// When the newest entry beyond the newest `count` was written; none where there are no more than that.
pub fn beyond(tx: &mut Tx<'_>, count: i64) -> Result<Option<i64>> {
    tx.row(NTH_NEWEST, &[count.into()])?.map(|row| row.int(0)).transpose()
}

/// Forgets up to `limit` of the oldest entries that are no newer than `until`; how many.
pub fn sweep(tx: &mut Tx<'_>, until: i64, limit: i64) -> Result<u64> {
    tx.exec(SWEEP, &[until.into(), limit.into()])
}
