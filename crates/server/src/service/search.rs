//! Finding what was said.

use mesh_protocol::{RoomId, model::Message};

use super::{Page, page, rooms::authorise};
use crate::{
    app::App,
    domain::{policy::RoomAction, search::Wanted},
    error::{Error, Result},
    service::auth::Caller,
    store,
};

/// Messages that one transaction brings into the index: sends wait for no more than that.
const AT_ONCE: usize = 500;
/// Transactions that a search waits for, until the index has what was said before it.
const PATIENCE: usize = 40;
/// Characters of a question.
const MOST_CHARS: usize = 200;

/// The room's messages with all these words, newest first; the last word by its beginning. Finds what was said before
/// the call, unless more than 20,000 messages came at once and are still on their way into the index.
///
/// # Errors
/// 404, 403 as the room says; 422 for a question that is none, or a cursor that this server did not give.
pub async fn messages(
    app: &App,
    caller: &Caller,
    room: RoomId,
    text: Option<&str>,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<Message>> {
    let text = question(text)?.to_owned();
    let before = match cursor {
        None => u64::MAX,
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                Error::invalid_field("cursor", "invalid", "must be the cursor of a Link header of this list")
            })?,
    };
    let user = caller.user_id;
    let behind = app
        .db
        .read(move |tx| {
            authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Read)?;
            store::search::behind(tx)
        })
        .await?
        .0;
    let Some(wanted) = Wanted::parse(&text) else { return Ok(page(Vec::new(), limit, u64::to_string)) };
    for _ in 0..usize::try_from(behind).unwrap_or(usize::MAX).div_ceil(AT_ONCE).min(PATIENCE) {
        index(app).await?;
    }
    let found = app
        .db
        .read(move |tx| {
            // Once more: meanwhile they may have left.
            authorise(tx, &room.to_string(), &user.to_string(), RoomAction::Read)?;
            store::search::find(tx, room, &wanted, before, limit + 1)
        })
        .await?;
    let found = found.into_iter().map(with_seq).collect();
    Ok(page(found, limit, u64::to_string))
}

/// With where the page after it begins.
fn with_seq(message: Message) -> (Message, u64) {
    let seq = message.seq;
    (message, seq)
}

fn question(text: Option<&str>) -> Result<&str> {
    let wrong = |code: &str, message: String| Error::invalid_field("q", code, message);
    let text = text.ok_or_else(|| wrong("required", "is required".to_owned()))?;
    if text.is_empty() {
        return Err(wrong("too_short", "must have at least 1 character".to_owned()));
    }
    if text.chars().count() > MOST_CHARS {
        return Err(wrong("too_long", format!("must have at most {MOST_CHARS} characters")));
    }
    Ok(text)
}

/// Brings some messages into the index; how many.
///
/// # Errors
/// As the store says.
async fn index(app: &App) -> Result<usize> {
    app.db.write(0, |tx| store::search::catch_up(tx, AT_ONCE)).await
}

/// How busy senders may be, in messages since the last look, before the index keeps out of their way.
const BUSY: u64 = 5_000;

/// Brings what was said since the last look into the index, in steps, with a pause after each that is long against it:
/// whoever sends has the store most of the time. Where very much is sent, one step only: the rest is done when it has
/// become quieter, or somebody searches. `seen` is how far the messages reached at the last look.
///
/// # Errors
/// As the store says.
pub async fn follow(app: &App, seen: &mut u64) -> Result<()> {
    let (behind, reach) = app.db.read(store::search::behind).await?;
    let busy = reach.saturating_sub(*seen) > BUSY;
    *seen = reach;
    let mut left = usize::try_from(behind).unwrap_or(usize::MAX).div_ceil(AT_ONCE);
    if busy {
        left = left.min(1);
    }
    // No more than this at a look, so that the next one sees whether it has become busy.
    for _ in 0..left.min(20) {
        let begun = tokio::time::Instant::now();
        index(app).await?;
        if app.tasks.is_stopping() {
            break;
        }
        tokio::time::sleep(begun.elapsed() * 4).await;
    }
    Ok(())
}
