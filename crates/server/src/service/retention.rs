//! How long messages live: what is too old, and what deleted rooms left, is taken away in small steps.

use mesh_protocol::RoomId;

use crate::{
    app::App,
    error::Result,
    store::{self, Tx},
};

const DAY_MS: i64 = 86_400_000;
/// Rows that one transaction takes away; sends wait for no more than that.
const AT_ONCE: u64 = 500;
/// Rooms that are looked at in one go.
const ROOMS: i64 = 200;

/// Before when messages of a room are too old, Unix milliseconds: by the server's days or its own, whichever are fewer.
fn cutoff(server: Option<u32>, own: Option<i64>, deleted: bool, now: i64) -> Option<i64> {
    if deleted {
        return Some(i64::MAX);
    }
    let days = [server.map(i64::from), own].into_iter().flatten().min()?;
    Some(now.saturating_sub(days.saturating_mul(DAY_MS)))
}

/// Takes away all that is too old now, and the deleted rooms; how many messages.
///
/// # Errors
/// As the store says; what was taken away until then is gone.
pub async fn purge(app: &App) -> Result<u64> {
    let (server, now) = (app.config.retention_days, app.clock.now_ms());
    let (mut after, mut all) = (String::new(), 0);
    loop {
        let from = after.clone();
        let rooms = app.db.read(move |tx| store::purge::walk(tx, &from, ROOMS)).await?;
        let Some(last) = rooms.last() else { return Ok(all) };
        after.clone_from(&last.key);
        for room in rooms {
            let cutoff = cutoff(server, room.retention_days, room.deleted, now);
            let due = cutoff.is_some_and(|cutoff| room.deleted || room.oldest.is_some_and(|at| at < cutoff));
            if due {
                all += purge_room(app, room.id, now).await?;
            }
            if app.tasks.is_stopping() {
                return Ok(all);
            }
        }
    }
}

async fn purge_room(app: &App, room: RoomId, now: i64) -> Result<u64> {
    let (server, mut all) = (app.config.retention_days, 0);
    loop {
        // Between two of these, whoever sends has the store most of the time.
        let begun = tokio::time::Instant::now();
        let (gone, more) = app.db.write(room.uuid().as_u128(), move |tx| step(tx, room, server, now)).await?;
        all += gone;
        if !more || app.tasks.is_stopping() {
            return Ok(all);
        }
        tokio::time::sleep(begun.elapsed() * 4).await;
    }
}

/// One transaction's part: how many messages went, and whether there may be more.
fn step(tx: &mut Tx<'_>, room: RoomId, server: Option<u32>, now: i64) -> Result<(u64, bool)> {
    let room = room.to_string();
    let Some(held) = store::purge::hold(tx, &room)? else { return Ok((0, false)) };
    // What the room says may have changed since the walk.
    let Some(cutoff) = cutoff(server, held.retention_days, held.deleted, now) else { return Ok((0, false)) };
    let (gone, more) = store::purge::step(tx, &room, &held, cutoff, AT_ONCE)?;
    if !more && held.deleted {
        store::purge::forget_room(tx, &room)?;
    }
    Ok((gone, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewer_days_count() {
        let now = 1_000 * DAY_MS;
        for (server, own, deleted, expected) in [
            (None, None, false, None),
            (Some(30), None, false, Some(970 * DAY_MS)),
            (None, Some(7), false, Some(993 * DAY_MS)),
            (Some(30), Some(7), false, Some(993 * DAY_MS)),
            (Some(7), Some(30), false, Some(993 * DAY_MS)),
            (None, None, true, Some(i64::MAX)),
        ] {
            assert_eq!(cutoff(server, own, deleted, now), expected);
        }
    }
}
