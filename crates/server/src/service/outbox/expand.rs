//! Of what happened, what is due: who is away, and wants to hear of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mesh_protocol::{UserId, push::PushKind};

use super::{KEY, MOST};
use crate::{
    app::App,
    domain::push::{BACK_MS, HOLD_MS, priority, wanted},
    error::{Error, Result},
    store::push::{
        causes::{self, Cause, Reader},
        due::{self, NewDue},
    },
};

/// What happened, looked at together.
const CAUSES: i64 = 100;
/// Members looked at in one transaction: its writers make chat wait.
const MEMBERS: i64 = 50;

/// Makes what is due of what happened; whether there may be more.
///
/// # Errors
/// As the store says.
pub async fn expand(app: &App) -> Result<bool> {
    let causes = app.db.read(|tx| causes::happened(tx, CAUSES)).await?;
    let more = i64::try_from(causes.len()).is_ok_and(|n| n == CAUSES);
    // Messages of one room are looked at together, as long as nobody was before.
    let mut groups: Vec<Vec<Cause>> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for cause in causes {
        let joins = cause.kind == PushKind::Message && cause.after.is_empty();
        match open.get(&cause.room).and_then(|at| groups.get_mut(*at)).filter(|_| joins) {
            Some(group) => group.push(cause),
            None => {
                if joins {
                    open.insert(cause.room.clone(), groups.len());
                }
                groups.push(vec![cause]);
            }
        }
    }
    let mut unfinished = false;
    for group in groups {
        unfinished |= look(app, group).await?;
    }
    Ok(more || unfinished)
}

/// Looks at the next members for some causes of one room; whether there are more members.
async fn look(app: &App, causes: Vec<Cause>) -> Result<bool> {
    let causes = Arc::new(causes);
    let looked = causes.clone();
    let (readers, direct, named) = app
        .db
        .read(move |tx| {
            let Some(first) = looked.first() else { return Ok((Vec::new(), false, HashMap::new())) };
            let (readers, direct) = causes::readers(tx, &first.room, &first.after, MEMBERS)?;
            let mut named: HashMap<u64, HashSet<UserId>> = HashMap::new();
            for cause in looked.iter().filter(|cause| cause.kind == PushKind::Message) {
                named.insert(cause.seq, causes::named(tx, &cause.room, cause.seq)?.into_iter().collect());
            }
            Ok((readers, direct, named))
        })
        .await?;
    let now = app.clock.now_ms();
    let to = if i64::try_from(readers.len()).is_ok_and(|n| n == MEMBERS) {
        readers.last().map(|reader| reader.user.to_string())
    } else {
        None
    };
    let due: Vec<NewDue> = readers
        .iter()
        .filter(|reader| !app.presence.is_online(reader.user))
        .filter_map(|reader| due_of(app, reader, &causes, direct, &named, now))
        .collect();
    let unfinished = to.is_some();
    let added = app
        .db
        .write(KEY, move |tx| {
            let mut fresh = true;
            for cause in causes.iter() {
                fresh &= causes::looked(tx, cause, to.as_deref())?;
            }
            if !fresh && causes.len() == 1 {
                // A ring that was taken back meanwhile.
                return Ok(None);
            }
            if !fresh {
                // What is changed here is undone.
                return Err(Error::internal("another process looked at the outbox at the same time"));
            }
            // Whoever is to be told already, and as urgently, costs nothing more: the row stands for what was said since.
            let waiting: HashMap<String, u8> = match (due.first(), due.last()) {
                (Some(first), Some(last)) if first.kind == PushKind::Message => {
                    due::waiting(tx, &first.room, &first.user, &last.user)?.into_iter().collect()
                }
                _ => HashMap::new(),
            };
            let mut added = false;
            for new in due.iter().filter(|new| waiting.get(&new.user).is_none_or(|urgent| *urgent < new.priority)) {
                due::add(tx, new, MOST, now)?;
                added = true;
            }
            Ok(Some(added))
        })
        .await?;
    if added == Some(true) {
        app.push.due.notify_one();
    }
    Ok(unfinished || added.is_none())
}

/// What one member is to be told of some causes of one room.
fn due_of(
    app: &App,
    reader: &Reader,
    causes: &[Cause],
    direct: bool,
    named: &HashMap<u64, HashSet<UserId>>,
    now: i64,
) -> Option<NewDue> {
    let driver = app.push.driver()?;
    let reached = driver.has_default() || (driver.takes_own_tokens() && reader.own_token);
    if !reader.enabled || !reached {
        return None;
    }
    let me = reader.user.to_string();
    let mut due: Option<NewDue> = None;
    for cause in causes.iter().filter(|cause| cause.author != me) {
        let message = cause.kind == PushKind::Message;
        let is_named = named.get(&cause.seq).is_some_and(|names| names.contains(&reader.user));
        let urgent = priority(cause.kind, is_named, direct);
        if (message && cause.seq <= reader.read_seq)
            || urgent < reader.min_priority
            || !wanted(cause.kind, is_named, direct, reader.level, reader.muted_until, now)
        {
            continue;
        }
        let due = due.get_or_insert_with(|| NewDue {
            id: app.ids.uuid().to_string(),
            user: me.clone(),
            room: cause.room.clone(),
            kind: cause.kind,
            author: cause.author.clone(),
            call: (!message).then(|| cause.id.clone()),
            priority: 0,
            count: 1,
            first_seq: cause.seq,
            at: cause.at,
            due_at: match cause.kind {
                PushKind::Message if cause.at < app.started_ms => app.started_ms + BACK_MS,
                PushKind::Message => cause.at + HOLD_MS,
                PushKind::Ring | PushKind::Missed => cause.at,
            },
        });
        // Those of one millisecond come in any order.
        due.first_seq = due.first_seq.min(cause.seq);
        due.priority = due.priority.max(urgent);
    }
    due
}
