//! The events of `file` and `terminal`: what peers share in a room, and who types in it.

use std::sync::Arc;

use mesh_protocol::{
    PeerId, RoomId, Timestamp,
    event::{
        Payload,
        file::{self, SharedFile},
        terminal::{self, ControlChanged, ControlEnd, ControlGrant, ControlRequest, ControlRequested, SharedTerminal},
    },
    model::Capability,
};

use super::{
    dispatch::{Answer, Command},
    hub::{Hub, locked},
    relay::own_end,
};
use crate::{
    domain::{
        gone::{End, Gone},
        outqueue::Class,
        shares::{News, Refusal, Shares},
        terminal::{Input, Refusal as ControlRefusal},
    },
    error::{Error, Kind, Result},
    service::{auth::Caller, capabilities, peers, shares},
};

/// Announces a file.
pub(super) fn share_file(caller: Arc<Caller>, ask: file::Share, answer: Answer) -> Option<Command> {
    Some(Box::pin(async move {
        let room = ask.room_id;
        let share = |own: &End, now| {
            let view = shares::file(ask, own.user, own.peer.clone(), now)?;
            Ok(move |shares: &mut Shares, own: End| shares.share_file(room, own, view))
        };
        answer.outcome(shared(&answer, &caller, room, share).await);
    }))
}

/// Announces a terminal.
pub(super) fn share_terminal(caller: Arc<Caller>, ask: terminal::Share, answer: Answer) -> Option<Command> {
    Some(Box::pin(async move {
        let room = ask.room_id;
        let share = |own: &End, now| {
            let view = shares::terminal(&ask, own.user, own.peer.clone(), now)?;
            Ok(move |shares: &mut Shares, own: End| shares.share_terminal(room, own, view))
        };
        answer.outcome(shared(&answer, &caller, room, share).await);
    }))
}

async fn shared<S>(
    answer: &Answer,
    caller: &Caller,
    room: RoomId,
    share: impl FnOnce(&End, Timestamp) -> Result<S>,
) -> Result<()>
where
    S: FnOnce(&mut Shares, End) -> Result<News, Refusal>,
{
    let hub = &answer.hub;
    let Some(own) = own_end(&answer.conn) else { return Ok(()) };
    let share = share(&own, hub.app().clock.now())?;
    shares::must_be_allowed(hub.app(), caller, room).await?;
    {
        let mut shares = locked(&hub.shares);
        // What is gone later finds it.
        if !hub.still_there(room, [&own, &own]) {
            return Err(Error::room_not_found());
        }
        let news = share(&mut shares, own.clone()).map_err(refused)?;
        hub.tell_share(room, news, Some(answer));
        hub.count_shares(&shares);
    }
    // The role may have changed since it was looked at, before there was something to withdraw.
    if shares::must_be_allowed(hub.app(), caller, room).await.is_err() {
        hub.withdraw(room, own.user);
    }
    Ok(())
}

/// Takes a file back.
pub(super) fn unshare_file(caller: &Caller, ask: &file::Unshare, answer: &Answer) {
    unshared(caller, ask.room_id, answer, |shares, conn| shares.unshare_file(ask.room_id, conn, &ask.file_id));
}

/// Takes a terminal back.
pub(super) fn unshare_terminal(caller: &Caller, ask: &terminal::Unshare, answer: &Answer) {
    let take = |shares: &mut Shares, conn| shares.unshare_terminal(ask.room_id, conn, &ask.terminal_id);
    unshared(caller, ask.room_id, answer, take);
}

fn unshared(caller: &Caller, room: RoomId, answer: &Answer, take: impl FnOnce(&mut Shares, u64) -> Option<News>) {
    let hub = &answer.hub;
    if let Err(e) = peers::must_be_in(hub.app(), caller.user_id, room) {
        return answer.outcome(Err(e));
    }
    let mut shares = locked(&hub.shares);
    match take(&mut shares, answer.conn.number) {
        Some(news) => hub.tell_share(room, news, Some(answer)),
        None => answer.ack(),
    }
    hub.count_shares(&shares);
}

/// Asks a terminal's owner; what that needs is looked up first.
pub(super) fn ask_control(caller: Arc<Caller>, ask: ControlRequest, answer: Answer) -> Option<Command> {
    Some(Box::pin(async move {
        match control_asked(&answer, &caller, &ask).await {
            Ok(()) => answer.ack(),
            Err(e) => answer.outcome(Err(e)),
        }
    }))
}

async fn control_asked(answer: &Answer, caller: &Caller, ask: &ControlRequest) -> Result<()> {
    let hub = &answer.hub;
    let app = hub.app();
    let Some(own) = own_end(&answer.conn) else { return Ok(()) };
    let claims = shares::claims(app, ask.capability_token.as_deref())?;
    let room = claims.room_id;
    // Somebody else's token tells nothing of the room that it is for.
    if claims.sub != caller.user_id {
        return Err(capabilities::invalid("it is somebody else's"));
    }
    peers::must_be_in(app, caller.user_id, room)?;
    let owner = locked(&hub.shares).owner_of(room, &ask.terminal_id).cloned().ok_or_else(shares::no_terminal)?;
    let wanted = [Capability::TerminalControl];
    capabilities::shown(app, caller, ask.capability_token.as_deref(), room, &wanted, &owner.peer).await?;
    let mut shares = locked(&hub.shares);
    let found = hub.held(&owner.peer).filter(|(conn, _)| conn.number == owner.conn);
    let Some((conn, _)) = found.filter(|_| hub.still_there(room, [&own, &owner])) else {
        return Err(peers::offline(&owner.peer));
    };
    let (until, now) = (claims.exp.saturating_mul(1000), app.clock.now_ms());
    shares.ask(room, &ask.terminal_id, own.clone(), until, now).map_err(refused)?;
    let asked = ControlRequested {
        room_id: room,
        terminal_id: ask.terminal_id.clone(),
        from_peer: own.peer.clone(),
        from_user: own.user,
        expires_at: Timestamp::from_millis(until),
    };
    if !hub.relay(&asked, &own.peer, &conn) {
        shares.take_back(room, &ask.terminal_id, own.conn);
        return Err(peers::offline(&owner.peer));
    }
    Ok(())
}

/// The owner lets a peer type.
pub(super) fn grant(ask: ControlGrant, answer: &Answer) {
    control(answer, &ask.terminal_id, ask.room_id, Input::Grant(ask.peer_id));
}

/// The controller types no more.
pub(super) fn release(ask: &ControlEnd, answer: &Answer) {
    control(answer, &ask.terminal_id, ask.room_id, Input::Release(answer.conn.number));
}

/// The owner lets nobody else type.
pub(super) fn revoke(ask: &ControlEnd, answer: &Answer) {
    control(answer, &ask.terminal_id, ask.room_id, Input::Revoke);
}

fn control(answer: &Answer, terminal_id: &str, room: Option<RoomId>, input: Input) {
    let hub = &answer.hub;
    let Some(own) = own_end(&answer.conn) else { return };
    let mut shares = locked(&hub.shares);
    match shares.control(&own, terminal_id, room, input, hub.app().clock.now_ms()) {
        Ok(Some((room, news))) => hub.tell_share(room, news, Some(answer)),
        Ok(None) => answer.ack(),
        Err(e) => answer.outcome(Err(refused(e))),
    }
}

fn refused(refusal: Refusal) -> Error {
    let conflict = |code, message: &str| Error::new(Kind::Conflict, code, message);
    match refusal {
        Refusal::Absent => shares::no_terminal(),
        Refusal::IdTaken => conflict("conflict", "another peer shares something of this id in this room"),
        Refusal::RoomFull => conflict("too_many", "as much is shared in this room as can be"),
        Refusal::PeerFull => conflict("too_many", "you share as much as a peer can; take something back"),
        Refusal::OwnTerminal => conflict("conflict", "this terminal is your own"),
        Refusal::WhichRoom => Error::invalid_field("room_id", "required", "several terminals of yours have this id"),
        Refusal::Control(ControlRefusal::Taken) => conflict("conflict", "another peer controls it; revoke that first"),
        Refusal::Control(ControlRefusal::NotAsked) => {
            conflict("conflict", "peer_id: that peer has not asked, or its capability has ended")
        }
        Refusal::Control(ControlRefusal::TooMany) => conflict("too_many", "too many peers have asked already"),
        Refusal::Control(ControlRefusal::NotControlling) => shares::no_terminal(),
    }
}

impl Hub {
    /// What is shared in a room, for who joins it: read after the join has begun, so that what changes later is told.
    pub(super) fn shared_in(&self, room: RoomId) -> (Vec<SharedFile>, Vec<SharedTerminal>) {
        locked(&self.shares).of_room(room)
    }

    /// Withdraws what stands on something that is gone.
    pub(super) fn end_shares(&self, gone: &Gone<'_>) {
        let mut shares = locked(&self.shares);
        if !shares.is_empty() {
            for (room, news) in shares.end_with(gone) {
                self.tell_share(room, news, None);
            }
            self.count_shares(&shares);
        }
    }

    fn withdraw(&self, room: RoomId, user: mesh_protocol::UserId) {
        self.end_shares(&Gone::Role { user, room, role: mesh_protocol::model::MemberRole::Guest });
    }

    fn count_shares(&self, shares: &Shares) {
        let (files, terminals) = shares.count();
        self.app().metrics.shared_files.set(files);
        self.app().metrics.shared_terminals.set(terminals);
    }

    /// Tells a room what was done in it, and who did it as the answer. Under the lock of the shares, so that everybody
    /// hears it in the order in which it was done.
    fn tell_share(&self, room_id: RoomId, news: News, answer: Option<&Answer>) {
        match news {
            News::File(file) => self.tell_all(room_id, &file::Shared { room_id, file }, answer),
            News::FileGone { file_id, peer: peer_id, reason } => {
                self.tell_all(room_id, &file::Unshared { room_id, file_id, peer_id, reason }, answer);
            }
            News::Terminal(terminal) => self.tell_all(room_id, &terminal::Shared { room_id, terminal }, answer),
            News::TerminalGone { terminal_id, peer: peer_id, reason } => {
                self.tell_all(room_id, &terminal::Unshared { room_id, terminal_id, peer_id, reason }, answer);
            }
            News::Control { terminal_id, controller } => {
                self.tell_all(room_id, &ControlChanged { room_id, terminal_id, controller }, answer);
            }
        }
    }

    fn tell_all<P: Payload>(&self, room: RoomId, payload: &P, answer: Option<&Answer>) {
        let to = room.to_string();
        let from = answer.and_then(|answer| answer.conn.peer()).map_or("server", PeerId::as_str);
        if let Some(topic) = self.topic(room) {
            let frame = self.encoder.event_from(payload, from, &to, None);
            locked(&topic).tell(Class::Ordered, &frame, answer.map(|answer| answer.conn.number), &self.encoder);
        }
        if let Some(answer) = answer {
            answer.send(self.encoder.event_from(payload, from, &to, answer.id.as_deref()));
        }
    }
}
