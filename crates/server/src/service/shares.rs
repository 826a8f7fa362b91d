//! What a peer shares in a room: who may, and what it may be called.

use mesh_protocol::{
    PeerId, RoomId, Timestamp, UserId,
    event::{
        file::{self, SharedFile},
        terminal::{self, SharedTerminal},
    },
    limits::{MAX_FILE_SIZE, MAX_TERMINAL_CELLS},
    text::{ClientId, FileName, MediaType, Sha256, Title},
};

use super::{auth::Caller, capabilities, rooms::authorise};
use crate::{
    app::App,
    domain::policy::RoomAction,
    error::{Error, Fields, Result},
    keys::CapabilityClaims,
};

/// Refuses whoever may not announce anything in a room.
///
/// # Errors
/// 404, 403 as [`authorise`] says.
pub async fn must_be_allowed(app: &App, caller: &Caller, room: RoomId) -> Result<()> {
    let (room, user) = (room.to_string(), caller.user_id.to_string());
    app.db.read(move |tx| authorise(tx, &room, &user, RoomAction::Share).map(drop)).await
}

/// A file as it is announced.
///
/// # Errors
/// 422 with every field that is not allowed.
pub fn file(ask: file::Share, user_id: UserId, peer_id: PeerId, now: Timestamp) -> Result<SharedFile> {
    let mut fields = Fields::default();
    let file_id = fields.take("file_id", ClientId::parse(&ask.file_id));
    let name = fields.take("name", FileName::parse(&ask.name));
    let mime = fields.take_opt("mime", ask.mime.as_deref().map(MediaType::parse));
    let sha256 = fields.take_opt("sha256", ask.sha256.as_deref().map(Sha256::parse));
    if ask.size > MAX_FILE_SIZE {
        fields.add("size", "out_of_range", format!("must be at most {MAX_FILE_SIZE} bytes"));
    }
    let (Some(file_id), Some(name)) = (file_id, name) else { return Err(fields.into_error()) };
    fields.check()?;
    Ok(SharedFile {
        file_id: file_id.into_string(),
        peer_id,
        user_id,
        name: name.into_string(),
        size: ask.size,
        mime: mime.map(MediaType::into_string),
        sha256: sha256.map(Sha256::into_string),
        shared_at: now,
    })
}

/// A terminal as it is announced.
///
/// # Errors
/// 422 with every field that is not allowed.
pub fn terminal(ask: &terminal::Share, user_id: UserId, peer_id: PeerId, now: Timestamp) -> Result<SharedTerminal> {
    let mut fields = Fields::default();
    let terminal_id = fields.take("terminal_id", ClientId::parse(&ask.terminal_id));
    let title = fields.take("title", Title::parse(&ask.title));
    for (field, cells) in [("cols", ask.cols), ("rows", ask.rows)] {
        if !(1..=MAX_TERMINAL_CELLS).contains(&cells) {
            fields.add(field, "out_of_range", format!("must be from 1 to {MAX_TERMINAL_CELLS}"));
        }
    }
    let (Some(terminal_id), Some(title)) = (terminal_id, title) else { return Err(fields.into_error()) };
    fields.check()?;
    Ok(SharedTerminal {
        terminal_id: terminal_id.into_string(),
        peer_id,
        user_id,
        title: title.into_string(),
        cols: ask.cols,
        rows: ask.rows,
        controller: None,
        shared_at: now,
    })
}

/// What a capability token for a terminal's control says: in which room the terminal is.
///
/// # Errors
/// As [`capabilities::shown`].
pub fn claims(app: &App, token: Option<&str>) -> Result<CapabilityClaims> {
    let token = capabilities::given(token, &[mesh_protocol::model::Capability::TerminalControl])?;
    let claims = app.keys.verify_capability(token, app.clock.now_ms() / 1000);
    claims.map_err(|e| capabilities::invalid(&e.message))
}

/// There is no such terminal, for this caller.
pub fn no_terminal() -> Error {
    Error::new(
        crate::error::Kind::NotFound,
        "not_found",
        "there is no such terminal, or it is not yours to do that with",
    )
}
