//! Bodies of `/api/admin`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Timestamp, UserId, model::UserRole};

/// An account, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminUser {
    /// The account's id.
    pub id: UserId,
    /// 3–32 of `A-Za-z0-9._-`; unique without case.
    pub username: String,
    /// What the person is called.
    pub display_name: String,
    /// An address, if one was given.
    #[schema(required)]
    pub email: Option<String>,
    /// `admin` or `user`.
    pub role: UserRole,
    /// Whether an administrator shut the account: it has no logins and gets none.
    pub disabled: bool,
    /// Since when.
    #[schema(required)]
    pub disabled_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When any login of the account was last used, within a few minutes.
    #[schema(required)]
    pub last_seen_at: Option<Timestamp>,
}

/// `POST /api/admin/users`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreateUserRequest {
    /// 3–32 of `A-Za-z0-9._-`; unique without case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9._-]+$", example = "ana")]
    pub username: String,
    /// At least 8 characters, at most 72 bytes.
    #[schema(min_length = 8, max_length = 72, example = "correct horse battery")]
    pub password: String,
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 3, max_length = 254, example = "ana@example.org")]
    pub email: Option<String>,
    /// What the person is called; the user name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Ana")]
    pub display_name: Option<String>,
    /// `user` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<UserRole>,
}

/// `PATCH /api/admin/users/{id}`: what is absent stays.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct UpdateUserRequest {
    /// What the account may do on the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<UserRole>,
    /// `true` shuts the account and ends its logins; `false` opens it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// A new password: at least 8 characters, at most 72 bytes. Ends the account's logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 8, max_length = 72)]
    pub password: Option<String>,
    /// What the person is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Ana")]
    pub display_name: Option<String>,
    /// An address for mail; null removes it.
    #[serde(default, with = "crate::rest::double_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 3, max_length = 254, example = "ana@example.org")]
    pub email: Option<Option<String>>,
}

/// `GET /api/admin/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The server's version, SemVer.
    pub version: String,
    /// Seconds since this process started.
    pub uptime_seconds: u64,
    /// Accounts.
    pub users: UserCounts,
    /// Logins that have not ended.
    pub sessions: u64,
    /// Rooms.
    pub rooms: u64,
    /// Messages, deleted ones included.
    pub messages: u64,
    /// WebSocket connections of this process that said hello.
    pub connections: u64,
    /// The database.
    pub database: DatabaseStats,
}

/// How many accounts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserCounts {
    /// All.
    pub total: u64,
    /// Those that are not disabled.
    pub active: u64,
    /// Active administrators.
    pub admins: u64,
}

/// What the data lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseStats {
    /// `sqlite` or `postgres`.
    #[schema(example = "sqlite")]
    pub kind: String,
    /// Bytes that it takes.
    pub size_bytes: u64,
    /// The newest migration.
    pub schema_version: u64,
}

/// Something that was done: who, what, to whom, from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The entry's id.
    pub id: String,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it; null for somebody unknown, and for the command line.
    #[schema(required)]
    pub actor_id: Option<UserId>,
    /// That account's name then; `(command line)` for the command line.
    #[schema(required)]
    pub actor_name: Option<String>,
    /// What was done: `login.succeeded`, `user.disabled`, …
    #[schema(example = "user.disabled")]
    pub action: String,
    /// What it was done to: `user`, `session`, `invite`, `room`.
    #[schema(required)]
    pub target_kind: Option<String>,
    /// Which one.
    #[schema(required)]
    pub target_id: Option<String>,
    /// What that was called then.
    #[schema(required)]
    pub target_name: Option<String>,
    /// The address that it was asked from.
    #[schema(required)]
    pub ip: Option<String>,
    /// What else is worth knowing; never a secret.
    #[schema(required, value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
}

/// `POST /api/admin/invites`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateInviteRequest {
    /// How many accounts may be made with it; any number unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000, example = 5)]
    pub max_uses: Option<u32>,
    /// Seconds until it ends; it does not end unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 31_536_000, example = 604_800)]
    pub expires_in: Option<u32>,
}

/// A registration invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrationInvite {
    /// For `invite` of `POST /api/auth/register`.
    pub code: String,
    /// A link that bears the code.
    pub url: String,
    /// How many accounts may be made with it; null for any number.
    #[schema(required)]
    pub max_uses: Option<u32>,
    /// How many were.
    pub uses: u32,
    /// When it ends; null for never.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom; null for the command line.
    #[schema(required)]
    pub created_by: Option<UserId>,
}
