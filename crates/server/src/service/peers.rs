//! Whom a peer may say something to: both are members of the room that it is about.

use mesh_protocol::{PeerId, RoomId, UserId};

use crate::{
    app::App,
    error::{Error, Kind, Result},
};

/// Whether `user` is connected and a member of `room`. It follows the commits, so that it is true at every event.
pub fn is_in(app: &App, user: UserId, room: RoomId) -> bool {
    app.presence.shows_in(user, room)
}

/// Refuses whoever is not in a room: for what goes between its members it is absent then, public or not.
///
/// # Errors
/// 404.
pub fn must_be_in(app: &App, user: UserId, room: RoomId) -> Result<()> {
    if is_in(app, user, room) { Ok(()) } else { Err(Error::room_not_found()) }
}

/// A peer that is not there; one that is nobody's who is in the room looks the same.
pub fn offline(peer: &PeerId) -> Error {
    let message = format!("{peer} is not there, or does not take this now");
    Error::new(Kind::Conflict, "peer_offline", message)
}
