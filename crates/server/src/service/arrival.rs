//! What somebody who connects needs to begin, asked of the store at once.

use mesh_protocol::{
    RoomId,
    event::system::WelcomeUser,
    model::{Room, Scope},
};

use super::auth::{self, Caller};
use crate::{
    app::App,
    error::Result,
    store::{self, rooms::After},
};

/// What a connection begins with.
pub struct Arrival {
    /// Who it is.
    pub user: WelcomeUser,
    /// The rooms that it is told of; none where its credential may not list them.
    pub rooms: Vec<Room>,
    /// Whether those are all.
    pub rooms_complete: bool,
    /// The rooms in which it shows, listed or not.
    pub memberships: Vec<RoomId>,
}

/// Reads what `caller`'s connection begins with, at most `limit` rooms. Their login is judged once more, by the store: the
/// connection hears of ends only from now on, and what is believed of a login may be older.
///
/// # Errors
/// 401 `token_invalid` where the login has ended.
pub async fn arrive(app: &App, caller: &Caller, limit: usize) -> Result<Arrival> {
    let (user, session, lists) = (caller.user_id, caller.session_id, caller.may(Scope::RoomsRead));
    let found = app.db.read(move |tx| {
        let Some(holder) = auth::holder(tx, session)? else { return Ok(None) };
        let mut listed = match lists {
            true => store::rooms::list(tx, user, false, &After::default(), limit + 1)?,
            false => Vec::new(),
        };
        let rooms_complete = lists && listed.len() <= limit;
        listed.truncate(limit);
        let rooms: Vec<_> = listed.into_iter().map(|(room, _)| room).collect();
        let memberships = match rooms_complete {
            true => rooms.iter().map(|room| room.id).collect(),
            false => store::members::rooms_of(tx, user)?,
        };
        Ok(Some(Arrival { user: holder, rooms, rooms_complete, memberships }))
    });
    match found.await? {
        Some(arrival) => Ok(arrival),
        None => {
            app.callers.forget(session);
            Err(auth::ended())
        }
    }
}
