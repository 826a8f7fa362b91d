//! Of what happened, what is due: who is away, and wants to hear of it.

use std::collections::{HashMap, HashSet};

use mesh_protocol::{UserId, push::PushKind};

use super::{KEY, MOST};
use crate::{
    app::App,
    domain::push::{BACK_MS, HOLD_MS, priority, wanted},
    error::Result,
    store::{
        Tx,
        push::{
            causes::{self, Cause, Reader},
            due::{self, NewDue},
        },
    },
};

/// What happened, looked at together.
const CAUSES: i64 = 200;
/// Members looked at in one transaction: its writers make chat wait.
const MEMBERS: i64 = 50;

/// Something whose members are looked at: a call, or a room's messages from one on.
struct Lap {
    cause: Cause,
    /// Messages up to this number are told by it.
    upto: u64,
}

/// Makes what is due of what happened; whether there may be more.
///
/// # Errors
/// As the store says.
pub async fn expand(app: &App) -> Result<bool> {
    let causes = app.db.read(|tx| causes::happened(tx, CAUSES)).await?;
    let mut more = i64::try_from(causes.len()).is_ok_and(|n| n == CAUSES);
    let (messages, calls): (Vec<_>, Vec<_>) = causes.into_iter().partition(|cause| cause.kind == PushKind::Message);
    let mut laps: Vec<Lap> = calls.into_iter().map(|cause| Lap { upto: 0, cause }).collect();
    let mut rooms: HashMap<String, Vec<Cause>> = HashMap::new();
    for cause in messages {
        rooms.entry(cause.room.clone()).or_default().push(cause);
    }
    for mut of_room in rooms.into_values() {
        // What came while members are being looked at is the next lap's, all of it together: a room that talks faster than
        // its members can be looked at keeps two rows.
        of_room.sort_by_key(|cause| (cause.after.is_empty(), cause.seq));
        let upto = of_room.iter().map(|cause| cause.seq).max().unwrap_or(0);
        let mut of_room = of_room.into_iter();
        let Some(cause) = of_room.next() else { continue };
        let under_way = !cause.after.is_empty();
        let waits = of_room.next();
        more |= under_way && waits.is_some();
        laps.push(Lap { upto: if under_way { cause.seq } else { upto }, cause });
    }
    for lap in laps {
        more |= look(app, lap).await?;
    }
    Ok(more)
}

/// What is known of the next members.
struct Page {
    readers: Vec<Reader>,
    direct: bool,
    /// The number of the room's last message.
    last_seq: u64,
    named: HashSet<UserId>,
    /// The first message that is not of the lap's author.
    another: Option<u64>,
}

fn page(tx: &mut Tx<'_>, cause: &Cause) -> Result<Page> {
    let readers = causes::readers(tx, &cause.room, &cause.after, MEMBERS)?;
    let (direct, last_seq) = causes::room(tx, &cause.room)?.unwrap_or_default();
    let mut page = Page { readers, direct, last_seq, named: HashSet::new(), another: None };
    if let (PushKind::Message, Some(first), Some(last)) = (cause.kind, page.readers.first(), page.readers.last()) {
        let (first, last) = (first.user.to_string(), last.user.to_string());
        page.named = causes::named(tx, &cause.room, &first, &last, cause.seq)?;
        if (first..=last).contains(&cause.author) {
            page.another = causes::another(tx, &cause.room, cause.seq, &cause.author)?;
        }
    }
    Ok(page)
}

/// Looks at the next members for a lap; whether there is more to look at.
async fn look(app: &App, lap: Lap) -> Result<bool> {
    let cause = lap.cause.clone();
    let page = app.db.read(move |tx| page(tx, &cause)).await?;
    let now = app.clock.now_ms();
    let to = if i64::try_from(page.readers.len()).is_ok_and(|n| n == MEMBERS) {
        page.readers.last().map(|reader| reader.user.to_string())
    } else {
        None
    };
    let due: Vec<NewDue> = page
        .readers
        .iter()
        .filter(|reader| !app.presence.is_online(reader.user))
        .filter_map(|reader| due_of(app, reader, &lap.cause, &page, now))
        .collect();
    let unfinished = to.is_some();
    let added = app
        .db
        .write(KEY, move |tx| {
            let cause = &lap.cause;
            if !causes::looked(tx, cause, to.as_deref())? {
                // A ring that was taken back meanwhile; or another process looks at it.
                return Ok(false);
            }
            if lap.upto > cause.seq {
                causes::covered(tx, cause, lap.upto)?;
            }
            // Whoever is to be told already, and as urgently, costs nothing more: the row stands for what was said since.
            let waiting: HashMap<String, u8> = match (due.first(), due.last()) {
                (Some(first), Some(last)) if cause.kind == PushKind::Message => {
                    due::waiting(tx, &cause.room, &first.user, &last.user)?.into_iter().collect()
                }
                _ => HashMap::new(),
            };
            let mut added = false;
            for new in due.iter().filter(|new| waiting.get(&new.user).is_none_or(|urgent| *urgent < new.priority)) {
                due::add(tx, new, MOST, now)?;
                added = true;
            }
            Ok(added)
        })
        .await?;
    if added {
        app.push.due.notify_one();
    }
    Ok(unfinished)
}

/// What one member is to be told.
fn due_of(app: &App, reader: &Reader, cause: &Cause, page: &Page, now: i64) -> Option<NewDue> {
    let driver = app.push.driver()?;
    let reached = driver.has_default() || (driver.takes_own_tokens() && reader.own_token);
    if !reader.enabled || !reached {
        return None;
    }
    let (message, me) = (cause.kind == PushKind::Message, reader.user.to_string());
    let first_seq = match (message, me == cause.author) {
        (true, true) => page.another?,
        (false, true) => return None,
        (_, false) => cause.seq,
    };
    let named = page.named.contains(&reader.user);
    let urgent = priority(cause.kind, named, page.direct);
    if (message && page.last_seq <= reader.read_seq)
        || urgent < reader.min_priority
        || !wanted(cause.kind, named, page.direct, reader.level, reader.muted_until, now)
    {
        return None;
    }
    Some(NewDue {
        id: app.ids.uuid().to_string(),
        user: me,
        room: cause.room.clone(),
        kind: cause.kind,
        author: cause.author.clone(),
        call: (!message).then(|| cause.id.clone()),
        priority: urgent,
        count: 1,
        first_seq,
        at: cause.at,
        due_at: match cause.kind {
            PushKind::Message if cause.at < app.started_ms => app.started_ms + BACK_MS,
            PushKind::Message => cause.at + HOLD_MS,
            PushKind::Ring | PushKind::Missed => cause.at,
        },
    })
}
