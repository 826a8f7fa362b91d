//! The events of `p2p`: two agents of a room are introduced to each other, and hear when their session is over.

use std::sync::Arc;

use mesh_protocol::{
    P2pSessionId, PeerId, Timestamp,
    event::{
        Payload,
        p2p::{Accept, Closed, Created, Reject, Request, Requested, SessionPeer},
        system::Ack,
    },
};

use super::{
    dispatch::{Answer, Command},
    hub::{Hub, locked},
    relay::{Counterpart, own_end},
};
use crate::{
    domain::{
        gone::{End, Gone},
        outqueue::Class,
        p2p::{Action, Matter, Refusal, Side},
    },
    error::{Error, Kind, Result},
    service::{
        auth::{self, Caller},
        capabilities, p2p, peers,
    },
};

/// Asks another peer; what that needs is looked up first.
pub(super) fn request(caller: Arc<Caller>, ask: Request, answer: Answer) -> Option<Command> {
    Some(Box::pin(async move {
        match requested(&answer, &caller, ask).await {
            Ok(session) if answer.id.is_some() => {
                let ack = Ack { session_id: Some(session), ..Ack::default() };
                answer.send(answer.hub.encoder.event(&ack, answer.peer(), answer.id.as_deref()));
            }
            Ok(_) => {}
            Err(e) => answer.outcome(Err(e)),
        }
    }))
}

async fn requested(answer: &Answer, caller: &Caller, ask: Request) -> Result<P2pSessionId> {
    let (hub, room) = (&answer.hub, ask.room_id);
    let app = hub.app();
    let Some(own) = own_end(&answer.conn) else { return Err(Error::internal("a connection without a name")) };
    let to = hub.counterpart(caller, &own.peer, "target_peer_id", Some(ask.target_peer_id.as_str()), room)?;
    let offer = p2p::offer(ask.endpoints, ask.fingerprint, ask.meta.as_ref())?;
    let wanted = ask.kind.capabilities();
    let token = ask.capability_token.as_deref();
    let claims = capabilities::shown(app, caller, token, room, wanted, &to.end.peer).await?;
    p2p::must_be_bound(&claims, &offer)?;
    let id = P2pSessionId::new(app.ids.uuid());
    let matter = Matter { id, room, kind: ask.kind, login: claims.sid };
    hub.open_session(matter, Side { party: own, offer }, &to, ask.meta)?;
    // The login may have ended since it was looked at, before there was a session to end.
    if auth::session_lives(app, claims.sid).await.is_err() {
        hub.gone(&Gone::Logins { user: caller.user_id, sessions: &[claims.sid] });
    }
    Ok(id)
}

/// The caller takes what it was asked for.
pub(super) fn accept(ask: Accept, answer: &Answer) {
    answer.outcome(p2p::offer(ask.endpoints, ask.fingerprint, None).and_then(|offer| {
        let (hub, conn, now) = (&answer.hub, answer.conn.number, answer.hub.app().clock.now_ms());
        let Some(own) = own_end(&answer.conn) else { return Ok(()) };
        let asked = locked(&hub.sessions).asked(ask.session_id, conn, now).map(|(m, side)| (m.clone(), side.clone()));
        let (matter, initiator) = asked.map_err(refused)?;
        // Signing takes a moment; what ends meanwhile is found afterwards.
        let responder = Side { party: own, offer };
        let signed = p2p::token(hub.app(), &matter, &initiator, &responder)?;
        let mut sessions = locked(&hub.sessions);
        sessions.accept(ask.session_id, conn, now).map_err(refused)?;
        hub.app().metrics.p2p.count_word("created");
        hub.tell_created(&matter, [&initiator, &responder], signed, answer);
        Ok(())
    }));
}

/// The caller does not take what it was asked for.
pub(super) fn reject(ask: Reject, answer: &Answer) {
    let session = ask.session_id;
    answer.outcome(p2p::reason(ask).and_then(|reason| {
        let now = answer.hub.app().clock.now_ms();
        let mut sessions = locked(&answer.hub.sessions);
        let actions = sessions.reject(session, answer.conn.number, reason, now).map_err(refused)?;
        answer.hub.tell_closed(actions, sessions.len(), Some(answer));
        Ok(())
    }));
}

/// The caller closes one of its sessions.
pub(super) fn close(session: P2pSessionId, answer: &Answer) {
    let mut sessions = locked(&answer.hub.sessions);
    match sessions.close(session, answer.conn.number) {
        Ok(actions) => answer.hub.tell_closed(actions, sessions.len(), Some(answer)),
        Err(e) => answer.outcome(Err(refused(e))),
    }
}

fn refused(refusal: Refusal) -> Error {
    let conflict = |code, message: &str| Error::new(Kind::Conflict, code, message);
    match refusal {
        Refusal::Absent => Error::new(Kind::NotFound, "not_found", "there is no such session, or it is not yours"),
        Refusal::TooLate => conflict("conflict", "this session stands already, or it was not accepted in time"),
        Refusal::AskedTooMany => conflict("too_many", "you have too many sessions; close one"),
        Refusal::TakenTooMany => conflict("too_many", "that peer has too many sessions"),
    }
}

impl Hub {
    /// Asks a peer for a session, which is there from then on.
    fn open_session(
        &self,
        matter: Matter,
        from: Side,
        to: &Counterpart,
        meta: Option<serde_json::Map<String, serde_json::Value>>,
    ) -> Result<()> {
        // Under the lock, so that what the two hear is in the order in which it was judged.
        let mut sessions = locked(&self.sessions);
        if !self.still_there(matter.room, [&from.party, &to.end]) {
            return Err(peers::offline(&to.end.peer));
        }
        let until = sessions
            .request(matter.clone(), from.clone(), to.end.clone(), self.app().clock.now_ms())
            .map_err(refused)?;
        let own = from.party.peer.clone();
        let asked = Requested {
            session_id: matter.id,
            room_id: matter.room,
            from_peer: from.party.peer,
            from_user: from.party.user,
            kind: matter.kind,
            endpoints: from.offer.endpoints,
            fingerprint: from.offer.fingerprint,
            meta,
            expires_at: Timestamp::from_millis(until),
        };
        if !self.relay(&asked, &own, &to.conn) {
            sessions.forget(matter.id);
            return Err(peers::offline(&to.end.peer));
        }
        self.app().metrics.p2p.count_word("requested");
        self.app().metrics.p2p_open.set(sessions.len());
        self.ticks.wake();
        Ok(())
    }

    fn tell_created(&self, matter: &Matter, sides: [&Side; 2], signed: (String, Timestamp), answer: &Answer) {
        let [initiator, responder] = sides;
        for (own, other) in [(initiator, responder), (responder, initiator)] {
            let peer = SessionPeer {
                peer_id: other.party.peer.clone(),
                user_id: other.party.user,
                endpoints: other.offer.endpoints.clone(),
                fingerprint: other.offer.fingerprint.clone(),
            };
            let created = Created {
                session_id: matter.id,
                room_id: matter.room,
                kind: matter.kind,
                session_token: signed.0.clone(),
                peer,
                expires_at: signed.1,
            };
            self.tell_one(&created, Some(&responder.party.peer), &own.party, Some(answer));
        }
    }

    /// Tells each side that a session is over; `open` are left.
    fn tell_closed(&self, actions: Vec<Action>, open: usize, answer: Option<&Answer>) {
        for (at, Action { id, to, by, reason, message }) in actions.into_iter().enumerate() {
            let closed = Closed { session_id: id, reason, message };
            self.tell_one(&closed, by.as_ref(), &to, answer);
            // Two of each.
            if at % 2 == 0 {
                self.app().metrics.p2p.count_word(reason.as_str());
            }
        }
        self.app().metrics.p2p_open.set(open);
    }

    /// Tells a connection something that a peer, or the server, caused; as the answer where it asked for it.
    pub(super) fn tell_one<P: Payload>(&self, payload: &P, from: Option<&PeerId>, to: &End, answer: Option<&Answer>) {
        let Some((conn, _)) = self.held(&to.peer).filter(|(conn, _)| conn.number == to.conn) else { return };
        let reply_to = answer.filter(|answer| answer.conn.number == to.conn).and_then(|answer| answer.id.as_deref());
        let from = from.map_or("server", PeerId::as_str);
        conn.push(Class::Reply, self.encoder.event_from(payload, from, to.peer.as_str(), reply_to));
    }

    /// Ends the sessions that stand on what is gone.
    pub(super) fn end_sessions(&self, gone: &Gone<'_>) {
        let mut sessions = locked(&self.sessions);
        if !sessions.is_empty() {
            let actions = sessions.end_with(gone);
            self.tell_closed(actions, sessions.len(), None);
        }
    }

    /// Ends the sessions that nobody has accepted in time; when to look again.
    pub(super) fn time_sessions(&self, now: i64) -> Option<i64> {
        let mut sessions = locked(&self.sessions);
        let (actions, next) = sessions.due(now);
        self.tell_closed(actions, sessions.len(), None);
        next
    }

    /// The connections that stand on logins that have ended: they are being closed, and take part in nothing more.
    pub(super) fn standing_on(&self, gone: &Gone<'_>) -> Vec<End> {
        let (user, sessions) = match gone {
            Gone::Logins { user, sessions } => (*user, Some(*sessions)),
            Gone::Account(user) => (*user, None),
            _ => return Vec::new(),
        };
        let conns = self.connections_of(user).into_iter();
        let ended = conns.filter(|conn| sessions.is_none_or(|ended| ended.contains(&conn.caller().session_id)));
        ended.filter_map(|conn| own_end(&conn)).collect()
    }
}
