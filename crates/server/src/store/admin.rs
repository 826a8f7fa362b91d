//! Accounts as administrators see them, and how much of everything there is.

use mesh_protocol::{
    SessionId, Timestamp, UserId,
    admin::{AdminUser, DatabaseStats, UserCounts},
    model::UserRole,
};

use super::{
    db::{Row, Tx},
    migrate, statements, tickets,
};
use crate::error::{Error, Result};

macro_rules! user_columns {
    () => {
        "SELECT u.id, u.username, u.display_name, u.email, u.role, u.disabled_at, u.created_at, \
         (SELECT MAX(s.last_seen_at) FROM sessions s WHERE s.user_id = u.id), u.username_key FROM users u \
         WHERE u.deleted_at IS NULL AND "
    };
}

statements! {
    ONE = concat!(user_columns!(), "u.id = $1");
    // Lower-cased by SQLite are A–Z alone: the text as it was given is looked for too.
    LIST = concat!(user_columns!(), "($1 = '' OR u.username_key LIKE $1 ESCAPE '!' \
        OR LOWER(u.display_name) LIKE $1 ESCAPE '!' OR LOWER(u.email) LIKE $1 ESCAPE '!' \
        OR u.display_name LIKE $2 ESCAPE '!') AND ($3 = '' OR u.role = $3) \
        AND ($4 = '' OR ($4 = 'true' AND u.disabled_at IS NOT NULL) OR ($4 = 'false' AND u.disabled_at IS NULL)) \
        AND u.username_key > $5 ORDER BY u.username_key LIMIT $6");
    // Changes nothing, but holds the rows until the transaction ends: of two that each take away one of the last two
    // administrators, the second waits, and then sees one.
    HOLD_ADMINS = "UPDATE users SET role = role WHERE role = 'admin' AND disabled_at IS NULL RETURNING id";
    SET_ROLE = "UPDATE users SET role = $1 WHERE id = $2";
    SET_DISABLED = "UPDATE users SET disabled_at = $1 WHERE id = $2";
    SET_PASSWORD = "UPDATE users SET password_hash = $1 WHERE id = $2";
    SESSIONS_OF = "SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL";
    // A join that begins at the index of what was revoked.
    ENDED_SINCE = "SELECT s.id, s.user_id, u.disabled_at, s.revoked_at FROM sessions s \
        JOIN users u ON u.id = s.user_id WHERE s.revoked_at IS NOT NULL AND s.revoked_at > $1 \
        UNION ALL SELECT t.id, t.user_id, u.disabled_at, t.revoked_at FROM access_tokens t \
        JOIN users u ON u.id = t.user_id WHERE t.revoked_at IS NOT NULL AND t.revoked_at > $1 ORDER BY 4 DESC LIMIT $2";
    SWEEP_SESSIONS = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2)";
    SWEEP_REVOKED = "DELETE FROM sessions WHERE id IN \
        (SELECT id FROM sessions WHERE revoked_at IS NOT NULL AND revoked_at < $1 LIMIT $2)";
    COUNTS = "SELECT (SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE deleted_at IS NULL), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE disabled_at IS NULL), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE disabled_at IS NULL AND role = 'admin'), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM sessions s JOIN users u ON u.id = s.user_id \
            WHERE s.revoked_at IS NULL AND s.expires_at > $1 AND u.disabled_at IS NULL), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM rooms WHERE deleted_at IS NULL), \
        (SELECT CAST(COUNT(*) AS BIGINT) FROM messages)";
}

const SQLITE_SIZE: &str = "SELECT c.page_count * s.page_size FROM pragma_page_count() c, pragma_page_size() s";
const POSTGRES_SIZE: &str = "SELECT pg_database_size(current_database())";

fn user(row: &Row) -> Result<AdminUser> {
    let disabled_at = row.opt_int(5)?.map(Timestamp::from_millis);
    Ok(AdminUser {
        id: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        display_name: row.text(2)?.to_owned(),
        email: row.opt_text(3)?.map(str::to_owned),
        role: UserRole::parse(row.text(4)?).ok_or_else(|| Error::internal("an unknown role in users"))?,
        disabled: disabled_at.is_some(),
        disabled_at,
        created_at: Timestamp::from_millis(row.int(6)?),
        last_seen_at: row.opt_int(7)?.map(Timestamp::from_millis),
    })
}

/// One account.
pub fn one(tx: &mut Tx<'_>, id: UserId) -> Result<Option<AdminUser>> {
    tx.row(ONE, &[(&id.to_string()).into()])?.as_ref().map(user).transpose()
}

/// Which accounts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Whose user name, display name or address holds this text.
    pub text: Option<String>,
    /// Only with this role.
    pub role: Option<UserRole>,
    /// Only disabled ones, or only those that are not.
    pub disabled: Option<bool>,
}

/// What `LIKE` takes for "holds this text"; empty for no text.
fn holding(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out.push('%');
    out
}

/// Accounts by user name, after the one whose name's key is `after`. With each, its name's key.
pub fn list(tx: &mut Tx<'_>, filter: &Filter, after: &str, limit: usize) -> Result<Vec<(AdminUser, String)>> {
    let text = filter.text.as_deref().unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let disabled = filter.disabled.map_or("", |yes| if yes { "true" } else { "false" });
    let rows = tx.rows(
        LIST,
        &[
            (&holding(&text.to_lowercase())).into(),
            (&holding(text)).into(),
            filter.role.map_or("", UserRole::as_str).into(),
            disabled.into(),
            after.into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(|row| Ok((user(row)?, row.text(8)?.to_owned()))).collect()
}

/// Whether an active administrator other than `id` is there, and stays until the transaction ends.
pub fn another_admin(tx: &mut Tx<'_>, id: UserId) -> Result<bool> {
    let id = id.to_string();
    for row in tx.rows(HOLD_ADMINS, &[])? {
        if row.text(0)? != id {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Changes what an account may do on the whole server.
pub fn set_role(tx: &mut Tx<'_>, id: UserId, role: UserRole) -> Result<()> {
    tx.exec(SET_ROLE, &[role.as_str().into(), (&id.to_string()).into()]).map(drop)
}

/// Shuts an account since `at`, or opens it again.
pub fn set_disabled(tx: &mut Tx<'_>, id: UserId, at: Option<i64>) -> Result<()> {
    tx.exec(SET_DISABLED, &[at.into(), (&id.to_string()).into()]).map(drop)
}

/// Sets a password's hash, whatever it was.
pub fn set_password(tx: &mut Tx<'_>, id: UserId, hash: &str) -> Result<()> {
    tx.exec(SET_PASSWORD, &[hash.into(), (&id.to_string()).into()]).map(drop)
}

/// The logins of `user` that were not revoked.
pub fn sessions_of(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<SessionId>> {
    tx.rows(SESSIONS_OF, &[(&user.to_string()).into()])?.iter().map(|row| Ok(SessionId::parse(row.text(0)?))).collect()
}

/// A login that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// Whether the account is disabled.
    pub disabled: bool,
}

/// The logins that were revoked after `since` (Unix milliseconds), newest first.
pub fn ended_since(tx: &mut Tx<'_>, since: i64, limit: i64) -> Result<Vec<Ended>> {
    let rows = tx.rows(ENDED_SINCE, &[since.into(), limit.into()])?;
    rows.iter()
        .map(|row| {
            let (session, user) = (SessionId::parse(row.text(0)?), UserId::parse(row.text(1)?));
            Ok(Ended { session, user, disabled: row.opt_int(2)?.is_some() })
        })
        .collect()
}

/// Forgets up to `limit` logins of each kind: those that ended by themselves before `expired`, those that were revoked
/// before `revoked`; and every ticket that has ended. How many rows.
pub fn sweep_sessions(tx: &mut Tx<'_>, expired: i64, revoked: i64, now: i64, limit: i64) -> Result<u64> {
    let gone = tx.exec(SWEEP_SESSIONS, &[expired.into(), limit.into()])?;
    let gone = gone + tx.exec(SWEEP_REVOKED, &[revoked.into(), limit.into()])?;
    tickets::sweep(tx, now)?;
    Ok(gone)
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Accounts.
    pub users: UserCounts,
    /// Logins that have not ended.
    pub sessions: u64,
    /// Rooms.
    pub rooms: u64,
    /// Messages.
    pub messages: u64,
}

/// Counts everything, at a time in Unix milliseconds.
pub fn counts(tx: &mut Tx<'_>, now: i64) -> Result<Counts> {
    let row = tx.row(COUNTS, &[now.into()])?.ok_or_else(|| Error::internal("no counts"))?;
    Ok(Counts {
        users: UserCounts { total: row.count(0)?, active: row.count(1)?, admins: row.count(2)? },
        sessions: row.count(3)?,
        rooms: row.count(4)?,
        messages: row.count(5)?,
    })
}

/// What the data lies in, and how much room it takes.
pub fn database(tx: &mut Tx<'_>) -> Result<DatabaseStats> {
    let (kind, size) = if tx.is_postgres() { ("postgres", POSTGRES_SIZE) } else { ("sqlite", SQLITE_SIZE) };
    let row = tx.row(size, &[])?.ok_or_else(|| Error::internal("no size"))?;
    let schema_version = u64::try_from(migrate::version(tx)?).unwrap_or(0);
    Ok(DatabaseStats { kind: kind.to_owned(), size_bytes: row.count(0)?, schema_version })
}
