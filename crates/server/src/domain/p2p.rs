//! Sessions between two agents: who may say what next, and what ends them.
//!
//! A session is asked for, then made, then over. Each side hears that it is over once, and nothing of it after that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_protocol::{
    P2pSessionId, PeerId, RoomId, SessionId, UserId,
    event::p2p::{CloseReason, SessionKind},
    limits::{MAX_P2P_ASKED, MAX_P2P_TAKEN, P2P_ANSWER_SECONDS},
};

use super::{
    gone::{End, Gone},
    policy::{self, RoomAction},
};

/// How long an answer may take, milliseconds.
pub const ANSWER_MS: i64 = 1_000 * P2P_ANSWER_SECONDS as i64;

/// How somebody is reached, and known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Addresses.
    pub endpoints: Vec<String>,
    /// The certificate's fingerprint.
    pub fingerprint: String,
}

/// One side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Who.
    pub party: End,
    /// Where.
    pub offer: Offer,
}

/// What a session is, apart from who answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matter {
    /// The session.
    pub id: P2pSessionId,
    /// The room that both are members of.
    pub room: RoomId,
    /// What for.
    pub kind: SessionKind,
    /// The login that the capability of who asked stands on.
    pub login: SessionId,
}

/// A session is over: a peer is to be told. There are two of these for each, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Which session.
    pub id: P2pSessionId,
    /// Whom to tell.
    pub to: End,
    /// Who did it, where it was a peer.
    pub by: Option<PeerId>,
    /// Why.
    pub reason: CloseReason,
    /// What the one who rejected it said.
    pub message: Option<String>,
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such session, or none of the caller's.
    Absent,
    /// It stands already, or its time is over.
    TooLate,
    /// The caller has too many.
    AskedTooMany,
    /// The other has too many.
    TakenTooMany,
}

struct Session {
    matter: Matter,
    initiator: Side,
    responder: End,
    /// Until when it can be accepted, while it is not.
    until: Option<i64>,
}

impl Session {
    fn falls_with(&self, gone: &Gone<'_>) -> bool {
        let has = |is_it: &dyn Fn(&End) -> bool| is_it(&self.initiator.party) || is_it(&self.responder);
        let asked_by = |user| self.initiator.party.user == user;
        match gone {
            Gone::Peer(end) => has(&|party| party.conn == end.conn),
            Gone::Member { user, room, .. } => self.matter.room == *room && has(&|party| party.user == *user),
            Gone::Role { user, room, role } => {
                let may = |capability: &_| policy::allows(*role, RoomAction::Hold(*capability));
                self.matter.room == *room && asked_by(*user) && !self.matter.kind.capabilities().iter().any(may)
            }
            Gone::Room(room) => self.matter.room == *room,
            Gone::Logins { user, sessions } => asked_by(*user) && sessions.contains(&self.matter.login),
            Gone::Account(user) => has(&|party| party.user == *user),
        }
    }
}

/// The sessions of one process.
#[derive(Default)]
pub struct Sessions {
    by_id: HashMap<P2pSessionId, Session>,
    by_party: BTreeMap<(UserId, u64), BTreeSet<P2pSessionId>>,
    due: BTreeSet<(i64, P2pSessionId)>,
}

impl Sessions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// `from` asks `to`, at `now` (Unix milliseconds). Until when it can be accepted.
    ///
    /// # Errors
    /// Where one of the two has too many.
    pub fn request(&mut self, matter: Matter, from: Side, to: End, now: i64) -> Result<i64, Refusal> {
        let asked = |session: &Session| session.initiator.party.conn == from.party.conn;
        if self.count(&from.party, asked) >= MAX_P2P_ASKED {
            return Err(Refusal::AskedTooMany);
        }
        if self.count(&to, |session| session.responder.conn == to.conn) >= MAX_P2P_TAKEN {
            return Err(Refusal::TakenTooMany);
        }
        let (id, until) = (matter.id, now.saturating_add(ANSWER_MS));
        for party in [&from.party, &to] {
            self.by_party.entry((party.user, party.conn)).or_default().insert(id);
        }
        self.due.insert((until, id));
        self.by_id.insert(id, Session { matter, initiator: from, responder: to, until: Some(until) });
        Ok(until)
    }

    fn count(&self, party: &End, is_such: impl Fn(&Session) -> bool) -> usize {
        let ids = self.by_party.get(&(party.user, party.conn));
        ids.map_or(0, |ids| ids.iter().filter_map(|id| self.by_id.get(id)).filter(|s| is_such(s)).count())
    }

    /// What `conn` would accept: the matter and who asked.
    ///
    /// # Errors
    /// Where it was not asked, or is too late.
    pub fn asked(&self, id: P2pSessionId, conn: u64, now: i64) -> Result<(&Matter, &Side), Refusal> {
        let session = self.by_id.get(&id).filter(|s| s.responder.conn == conn).ok_or(Refusal::Absent)?;
        match session.until {
            Some(until) if now < until => Ok((&session.matter, &session.initiator)),
            _ => Err(Refusal::TooLate),
        }
    }

    /// `conn` takes what it was asked for.
    ///
    /// # Errors
    /// As [`Self::asked`].
    pub fn accept(&mut self, id: P2pSessionId, conn: u64, now: i64) -> Result<(), Refusal> {
        self.asked(id, conn, now)?;
        if let Some(until) = self.by_id.get_mut(&id).and_then(|session| session.until.take()) {
            self.due.remove(&(until, id));
        }
        Ok(())
    }

    /// `conn` does not take what it was asked for.
    ///
    /// # Errors
    /// As [`Self::asked`].
    pub fn reject(
        &mut self,
        id: P2pSessionId,
        conn: u64,
        message: Option<String>,
        now: i64,
    ) -> Result<Vec<Action>, Refusal> {
        self.asked(id, conn, now)?;
        let by = self.by_id.get(&id).map(|session| session.responder.peer.clone());
        Ok(self.end(id, by, CloseReason::Rejected, message))
    }

    /// `conn`, one of the two, closes it.
    ///
    /// # Errors
    /// Where it is not one of the two.
    pub fn close(&mut self, id: P2pSessionId, conn: u64) -> Result<Vec<Action>, Refusal> {
        let session = self.by_id.get(&id).ok_or(Refusal::Absent)?;
        let by = [&session.initiator.party, &session.responder].into_iter().find(|party| party.conn == conn);
        let by = by.ok_or(Refusal::Absent)?.peer.clone();
        Ok(self.end(id, Some(by), CloseReason::Closed, None))
    }

    /// It never was: nobody has heard of it.
    pub fn forget(&mut self, id: P2pSessionId) {
        self.end(id, None, CloseReason::PeerGone, None);
    }

    /// Ends what stands on something that is gone.
    pub fn end_with(&mut self, gone: &Gone<'_>) -> Vec<Action> {
        let reason = match gone {
            Gone::Peer(_) | Gone::Logins { .. } | Gone::Account(_) => CloseReason::PeerGone,
            Gone::Member { .. } => CloseReason::MemberRemoved,
            Gone::Role { .. } => CloseReason::RoleChanged,
            Gone::Room(_) => CloseReason::RoomDeleted,
        };
        let ids = |sessions: &mut dyn Iterator<Item = &Session>| -> BTreeSet<_> {
            sessions.filter(|session| session.falls_with(gone)).map(|session| session.matter.id).collect()
        };
        let ids = match gone.user() {
            Some(user) => ids(&mut self.of_user(user)),
            None => ids(&mut self.by_id.values()),
        };
        ids.into_iter().flat_map(|id| self.end(id, None, reason, None)).collect()
    }

    fn of_user(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let ids = self.by_party.range((user, 0)..=(user, u64::MAX)).flat_map(|(_, ids)| ids);
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// What time has ended at `now`, and when to ask again.
    pub fn due(&mut self, now: i64) -> (Vec<Action>, Option<i64>) {
        let mut actions = Vec::new();
        while let Some((until, id)) = self.due.first().copied() {
            if until > now {
                // A clock that was set back makes nobody wait longer than it may take.
                let soon = now.saturating_add(ANSWER_MS);
                if until > soon {
                    self.due.remove(&(until, id));
                    self.due.insert((soon, id));
                    if let Some(session) = self.by_id.get_mut(&id) {
                        session.until = Some(soon);
                    }
                    continue;
                }
                return (actions, Some(until));
            }
            actions.extend(self.end(id, None, CloseReason::Timeout, None));
        }
        (actions, None)
    }

    fn end(
        &mut self,
        id: P2pSessionId,
        by: Option<PeerId>,
        reason: CloseReason,
        message: Option<String>,
    ) -> Vec<Action> {
        let Some(session) = self.by_id.remove(&id) else { return Vec::new() };
        if let Some(until) = session.until {
            self.due.remove(&(until, id));
        }
        let parties = [session.initiator.party, session.responder];
        for party in &parties {
            let key = (party.user, party.conn);
            if let Some(ids) = self.by_party.get_mut(&key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_party.remove(&key);
                }
            }
        }
        let close = |to| Action { id, to, by: by.clone(), reason, message: message.clone() };
        parties.into_iter().map(close).collect()
    }
}

#[cfg(test)]
mod tests;
