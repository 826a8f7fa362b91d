//! Push: how each person wants it; on the pages below, what happened, what is due, and what was given up.

pub mod causes;
pub mod dead;
pub mod due;

use mesh_protocol::{
    UserId,
    push::{Locale, NotificationLevel, PushKind},
};

use super::{
    db::{Row, Tx},
    messages::param,
    statements,
};
use crate::{
    domain::push::Quiet,
    error::{Error, Result},
};

statements! {
    SETTINGS = "SELECT sealed_token, enabled, min_priority, quiet_from, quiet_to, time_zone, locale FROM push_settings \
        WHERE user_id = $1";
    SAVE = "INSERT INTO push_settings (user_id, sealed_token, enabled, min_priority, quiet_from, quiet_to, time_zone, locale) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_id) DO UPDATE SET sealed_token = excluded.sealed_token, \
        enabled = excluded.enabled, min_priority = excluded.min_priority, quiet_from = excluded.quiet_from, \
        quiet_to = excluded.quiet_to, time_zone = excluded.time_zone, locale = excluded.locale";
    LEVEL = "SELECT level, muted_until FROM push_levels WHERE room_id = $1 AND user_id = $2";
    SET_LEVEL = "INSERT INTO push_levels (room_id, user_id, level, muted_until) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (room_id, user_id) DO UPDATE SET level = excluded.level, muted_until = excluded.muted_until";
    SEALED = "SELECT user_id, sealed_token FROM push_settings WHERE user_id > $1 AND sealed_token IS NOT NULL \
        ORDER BY user_id LIMIT $2";
    SEAL_ANEW = "UPDATE push_settings SET sealed_token = $1 WHERE user_id = $2 AND sealed_token = $3";
}

/// The statements of the pages below.
pub(super) const PAGES: [&[(&str, &str)]; 3] = [causes::ALL, dead::ALL, due::ALL];

/// How somebody wants to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Their own token, sealed.
    pub sealed_token: Option<String>,
    /// Whether at all.
    pub enabled: bool,
    /// Only what is so urgent.
    pub min_priority: u8,
    /// When not.
    pub quiet: Option<Quiet>,
    /// In which time zone that is meant.
    pub time_zone: String,
    /// In which language.
    pub locale: Locale,
}

impl Default for Settings {
    fn default() -> Self {
        let time_zone = "UTC".to_owned();
        Self { sealed_token: None, enabled: true, min_priority: 0, quiet: None, time_zone, locale: Locale::En }
    }
}

fn small<T: TryFrom<i64> + Default>(value: Option<i64>) -> T {
    value.and_then(|n| T::try_from(n).ok()).unwrap_or_default()
}

/// Reads settings whose first column is `at`; the defaults where there are none.
fn settings_at(row: &Row, at: usize) -> Result<Settings> {
    let Some(enabled) = row.opt_int(at + 1)? else { return Ok(Settings::default()) };
    let quiet = match (row.opt_int(at + 3)?, row.opt_int(at + 4)?) {
        (Some(from), Some(to)) => Some(Quiet { from: small(Some(from)), to: small(Some(to)) }),
        _ => None,
    };
    Ok(Settings {
        sealed_token: row.opt_text(at)?.map(str::to_owned),
        enabled: enabled != 0,
        min_priority: small(row.opt_int(at + 2)?),
        quiet,
        time_zone: row.text(at + 5)?.to_owned(),
        locale: Locale::parse(row.text(at + 6)?).unwrap_or_default(),
    })
}

/// Somebody's settings.
pub fn settings(tx: &mut Tx<'_>, user: UserId) -> Result<Settings> {
    let row = tx.row(SETTINGS, &[(&user.to_string()).into()])?;
    row.map_or_else(|| Ok(Settings::default()), |row| settings_at(&row, 0))
}

/// Keeps somebody's settings.
pub fn save(tx: &mut Tx<'_>, user: UserId, settings: &Settings) -> Result<()> {
    let quiet = settings.quiet;
    tx.exec(
        SAVE,
        &[
            (&user.to_string()).into(),
            settings.sealed_token.as_deref().into(),
            i64::from(settings.enabled).into(),
            i64::from(settings.min_priority).into(),
            quiet.map(|q| i64::from(q.from)).into(),
            quiet.map(|q| i64::from(q.to)).into(),
            (&settings.time_zone).into(),
            settings.locale.as_str().into(),
        ],
    )
    .map(drop)
}

/// What a member wants to hear of a room, and until when nothing.
pub fn level(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<(NotificationLevel, Option<i64>)> {
    let Some(row) = tx.row(LEVEL, &[room.into(), user.into()])? else { return Ok(Default::default()) };
    Ok((NotificationLevel::parse(row.text(0)?).unwrap_or_default(), row.opt_int(1)?))
}

/// Sets it; the member must be one.
pub fn set_level(
    tx: &mut Tx<'_>,
    room: &str,
    user: &str,
    level: NotificationLevel,
    muted_until: Option<i64>,
) -> Result<()> {
    tx.exec(SET_LEVEL, &[room.into(), user.into(), level.as_str().into(), muted_until.into()]).map(drop)
}

/// Tokens by their owners' ids, after one: owner, and what is sealed.
pub fn sealed_after(tx: &mut Tx<'_>, last: Option<UserId>, limit: u64) -> Result<Vec<(UserId, String)>> {
    let last = last.map(|user| user.to_string()).unwrap_or_default();
    let rows = tx.rows(SEALED, &[(&last).into(), param(limit).into()])?;
    rows.iter().map(|row| Ok((UserId::parse(row.text(0)?), row.text(1)?.to_owned()))).collect()
}

/// Keeps a token sealed anew; false where it has become another meanwhile.
pub fn seal_anew(tx: &mut Tx<'_>, user: UserId, before: &str, sealed: &str) -> Result<bool> {
    Ok(tx.exec(SEAL_ANEW, &[sealed.into(), (&user.to_string()).into(), before.into()])? == 1)
}

fn kind(word: &str) -> Result<PushKind> {
    PushKind::parse(word).ok_or_else(|| Error::internal("an unknown kind of notification"))
}
