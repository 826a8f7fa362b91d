//! A room, whole, for its owner to take along.

use std::sync::Arc;

use mesh_protocol::{
    RoomId,
    model::{ExportLine, Room},
};

use super::rooms::authorise;
use crate::{
    app::App,
    domain::policy::RoomAction,
    error::{Error, Result},
    service::auth::Caller,
    store,
};

/// Members or messages that an export holds at once.
const AT_ONCE: usize = 200;

/// What comes next.
enum Next {
    Room,
    Members(String),
    Messages(u64),
    Nothing,
}

/// A room's export: the room, its members by name, its messages oldest first; a page at a time, so that whoever exports
/// a million holds hundreds. At each page it is asked again whether they may.
pub struct Export {
    app: Arc<App>,
    caller: Caller,
    room: RoomId,
    next: Next,
}

impl Export {
    /// Begins one.
    pub fn new(app: Arc<App>, caller: Caller, room: RoomId) -> Self {
        Self { app, caller, room, next: Next::Room }
    }

    /// The next lines; none at the end. Messages are those that are there when their page is read.
    ///
    /// # Errors
    /// 404 and 403 as the room says; 401 where the login is over.
    pub async fn next(&mut self) -> Result<Option<Vec<ExportLine>>> {
        let (lines, next) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Room => (vec![ExportLine::Room(self.about().await?)], Next::Members(String::new())),
            Next::Members(after) => self.members(after).await?,
            Next::Messages(after) => self.messages(after).await?,
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some(lines))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut store::Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (room, user, session) = (self.room.to_string(), self.caller.user_id.to_string(), self.caller.session_id);
        self.app
            .db
            .read(move |tx| {
                let over = || Error::new(crate::error::Kind::Unauthorized, "token_invalid", "the login is over");
                store::sessions::live(tx, session)?.ok_or_else(over)?;
                authorise(tx, &room, &user, RoomAction::Export)?;
                work(tx)
            })
            .await
    }

    async fn about(&self) -> Result<Room> {
        let (room, user) = (self.room, self.caller.user_id);
        self.read(move |tx| store::rooms::for_user(tx, room, user)?.ok_or_else(Error::room_not_found)).await
    }

    async fn members(&self, after: String) -> Result<(Vec<ExportLine>, Next)> {
        let room = self.room;
        let members = self.read(move |tx| store::members::by_name(tx, room, &after, AT_ONCE)).await?;
        let next = match members.last() {
            Some((_, key)) if members.len() == AT_ONCE => Next::Members(key.clone()),
            _ => Next::Messages(0),
        };
        Ok((members.into_iter().map(|(member, _)| ExportLine::Member(member)).collect(), next))
    }

    async fn messages(&self, after: u64) -> Result<(Vec<ExportLine>, Next)> {
        let room = self.room;
        let messages = self.read(move |tx| store::messages::after(tx, room, after, AT_ONCE)).await?;
        let next = match messages.last() {
            Some(last) if messages.len() == AT_ONCE => Next::Messages(last.seq),
            _ => Next::Nothing,
        };
        Ok((messages.into_iter().map(ExportLine::Message).collect(), next))
    }
}
