//! Registration invites: a code is the invite's id with the server's mark on it, so that a forged one costs no query.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{
    Timestamp,
    admin::{CreateInviteRequest, RegistrationInvite},
    limits::{MAX_INVITE_SECONDS, MAX_INVITE_USES, MIN_INVITE_SECONDS},
};
use serde_json::json;
use uuid::Uuid;

use super::{Page, admin::Admin, audit::action, page};
use crate::{
    app::App,
    error::{Error, Fields, Kind, Result},
    store::{self, Tx, audit::Target, invites::Invite},
};

const PURPOSE: &str = "registration-invite";

fn code(app: &App, id: Uuid) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes.extend_from_slice(&app.keys.derive(PURPOSE, &[id.as_bytes()]));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The invite behind a code; none where this server did not make it.
pub(super) fn parse(app: &App, code: &str) -> Option<Uuid> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(code.trim()).ok()?;
    let (id, mark) = bytes.split_first_chunk::<16>()?;
    app.keys.is_derived(PURPOSE, &[id], mark).then(|| Uuid::from_bytes(*id))
}

/// 403 for whoever comes with an invite that is not valid, whatever is wrong with it.
pub(super) fn invalid() -> Error {
    Error::new(Kind::Forbidden, "invite_invalid", "the invite is not valid: used up, ended, or not of this server")
}

/// Uses an invite for one account.
///
/// # Errors
/// 403 `invite_invalid`.
pub(super) fn take(tx: &mut Tx<'_>, id: Uuid, now: i64) -> Result<()> {
    if store::invites::take(tx, id, now)? { Ok(()) } else { Err(invalid()) }
}

fn shown(app: &App, invite: &Invite) -> RegistrationInvite {
    let code = code(app, invite.id);
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    RegistrationInvite {
        url: format!("{}/register?invite={code}", app.config.public_url),
        code,
        max_uses: invite.max_uses.map(count),
        uses: count(invite.uses),
        expires_at: invite.expires_at.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(invite.created_at),
        created_by: invite.created_by,
    }
}

/// Makes an invite.
///
/// # Errors
/// 403; 422 for bounds that are not allowed.
pub async fn create(app: &App, admin: &Admin, request: CreateInviteRequest) -> Result<RegistrationInvite> {
    let mut fields = Fields::default();
    fields.within("max_uses", request.max_uses, &(1..=MAX_INVITE_USES));
    fields.within("expires_in", request.expires_in, &(MIN_INVITE_SECONDS..=MAX_INVITE_SECONDS));
    fields.check()?;
    let now = app.clock.now_ms();
    let invite = Invite {
        id: app.ids.uuid(),
        created_by: Some(admin.caller().user_id),
        created_at: now,
        expires_at: request.expires_in.map(|seconds| now + i64::from(seconds) * 1_000),
        max_uses: request.max_uses.map(i64::from),
        uses: 0,
    };
    let (admin, trail) = (admin.clone(), admin.trail(app));
    let made = invite.clone();
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            store::invites::insert(tx, &made)?;
            let details = json!({"max_uses": made.max_uses, "expires_in": request.expires_in});
            let target = Target { kind: "invite", id: &made.id.to_string(), name: None };
            store::audit::record(tx, &trail, action::INVITE_CREATED, Some(target), Some(&details))
        })
        .await?;
    Ok(shown(app, &invite))
}

/// The invites that were not revoked, newest first; used up and ended ones too.
///
/// # Errors
/// 403; 422 for a cursor that this server did not give.
pub async fn list(app: &App, admin: &Admin, limit: usize, cursor: Option<&str>) -> Result<Page<RegistrationInvite>> {
    let bad = || Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list");
    let (at, id) = match cursor {
        None => (i64::MAX, String::new()),
        Some(text) => {
            let (at, id) = text.split_once('.').ok_or_else(bad)?;
            (at.parse().map_err(|_| bad())?, Uuid::try_parse(id).map_err(|_| bad())?.to_string())
        }
    };
    let admin = admin.clone();
    let invites = app
        .db
        .read(move |tx| {
            admin.still(tx)?;
            store::invites::list(tx, at, &id, limit + 1)
        })
        .await?;
    let items = invites.into_iter().map(|invite| (shown(app, &invite), invite)).collect();
    Ok(page(items, limit, |last: &Invite| format!("{}.{}", last.created_at, last.id)))
}

/// Ends an invite: nobody makes an account with it any more.
///
/// # Errors
/// 403; 404 where it is none, or was ended before.
pub async fn revoke(app: &App, admin: &Admin, code: &str) -> Result<()> {
    let absent = || Error::new(Kind::NotFound, "not_found", "there is no such invite");
    let id = parse(app, code);
    let (admin, trail, now) = (admin.clone(), admin.trail(app), app.clock.now_ms());
    app.db
        .write(0, move |tx| {
            admin.still(tx)?;
            let id = id.ok_or_else(absent)?;
            if !store::invites::revoke(tx, id, now)? {
                return Err(absent());
            }
            let target = Target { kind: "invite", id: &id.to_string(), name: None };
            store::audit::record(tx, &trail, action::INVITE_REVOKED, Some(target), None)
        })
        .await
}
