//! Parameters of `/api/admin`.

use mesh_protocol::{Timestamp, model::UserRole, push::OutboxState};
use utoipa::{IntoParams, ToSchema};

use super::{FromQuery, Given};

/// Of `GET /api/admin/users`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsersQuery {
    /// Only accounts whose user name, display name or address holds this text, in any case.
    #[param(value_type = String, required = false, max_length = 100)]
    pub(in crate::http) q: Option<String>,
    /// Only accounts with this role.
    #[param(value_type = UserRole, required = false)]
    pub(in crate::http) role: Option<UserRole>,
    /// Only disabled accounts, or only those that are not.
    #[param(value_type = bool, required = false)]
    pub(in crate::http) disabled: Option<bool>,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(in crate::http) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9._-]{3,32}$")]
    pub(in crate::http) cursor: Option<String>,
}

/// Characters of a search.
const MAX_SEARCH: usize = 100;

impl FromQuery for UsersQuery {
    fn read(given: &mut Given<'_>) -> Self {
        let q = given.text("q");
        if q.as_deref().is_some_and(|text| text.chars().count() > MAX_SEARCH) {
            given.wrong.add("q", "too_long", format!("must have at most {MAX_SEARCH} characters"));
        }
        if q.as_deref().is_some_and(|text| text.contains('\0')) {
            given.wrong.add("q", "invalid", "must not contain the control character U+0000");
        }
        let role = given.text("role").and_then(|word| {
            let role = UserRole::parse(&word);
            if role.is_none() {
                given.wrong.add("role", "invalid", "must be \"admin\" or \"user\"");
            }
            role
        });
        let disabled = given.text("disabled").and_then(|word| match word.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                given.wrong.add("disabled", "invalid_type", "must be true or false");
                None
            }
        });
        Self { q, role, disabled, limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// The forms of the log.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only describes the parameter")]
enum Form {
    Json,
    Ndjson,
}

/// Of `GET /api/admin/audit`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditQuery {
    /// Only this action.
    #[param(value_type = String, required = false, max_length = 100)]
    pub(in crate::http) action: Option<String>,
    /// Only what this account did: its id or its user name.
    #[param(value_type = String, required = false, max_length = 100)]
    pub(in crate::http) actor: Option<String>,
    /// From this time on (RFC 3339).
    #[param(value_type = Timestamp, required = false)]
    pub(in crate::http) since: Option<i64>,
    /// Before this time (RFC 3339).
    #[param(value_type = Timestamp, required = false)]
    pub(in crate::http) until: Option<i64>,
    /// `ndjson` exports all of it, one entry a line, like `Accept: application/x-ndjson`; without `limit` and `cursor`.
    #[param(rename = "format", value_type = Form, inline, required = false)]
    pub(in crate::http) export: bool,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(in crate::http) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}\\.[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    pub(in crate::http) cursor: Option<String>,
}

fn word(given: &mut Given<'_>, name: &str) -> Option<String> {
    let text = given.text(name)?;
    if text.chars().count() > MAX_SEARCH || text.contains('\0') {
        given.wrong.add(name, "invalid", format!("must have at most {MAX_SEARCH} characters, and no U+0000"));
    }
    Some(text)
}

fn time(given: &mut Given<'_>, name: &str) -> Option<i64> {
    let text = given.text(name)?;
    let time = text.parse::<Timestamp>().ok().map(Timestamp::as_millis);
    if time.is_none() {
        given.wrong.add(name, "invalid", "must be an RFC 3339 time, such as 2026-01-02T03:04:05.678Z");
    }
    time
}

impl FromQuery for AuditQuery {
    fn read(given: &mut Given<'_>) -> Self {
        let export = match given.text("format").as_deref() {
            None | Some("json") => false,
            Some("ndjson") => true,
            Some(_) => {
                given.wrong.add("format", "invalid", "must be \"json\" or \"ndjson\"");
                false
            }
        };
        let (action, actor) = (word(given, "action"), word(given, "actor"));
        let (since, until) = (time(given, "since"), time(given, "until"));
        Self { action, actor, since, until, export, limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// Of `GET /api/admin/outbox`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct OutboxQuery {
    /// Only those that wait, or only those that were given up.
    #[param(value_type = OutboxState, required = false)]
    pub(in crate::http) state: Option<OutboxState>,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(in crate::http) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}\\.[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    pub(in crate::http) cursor: Option<String>,
}

impl FromQuery for OutboxQuery {
    fn read(given: &mut Given<'_>) -> Self {
        let state = match given.text("state").as_deref() {
            None => None,
            Some("waiting") => Some(OutboxState::Waiting),
            Some("dead") => Some(OutboxState::Dead),
            Some(_) => {
                given.wrong.add("state", "invalid", "must be \"waiting\" or \"dead\"");
                None
            }
        };
        Self { state, limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// A page of a list without filters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PageQuery {
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(in crate::http) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}\\.[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    pub(in crate::http) cursor: Option<String>,
}

impl FromQuery for PageQuery {
    fn read(given: &mut Given<'_>) -> Self {
        Self { limit: given.limit(), cursor: given.text("cursor") }
    }
}
