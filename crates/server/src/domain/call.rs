//! Calls between two peers of a room: who may say what next, and what ends one.
//!
//! The server relays offers in the order in which they come to it, and lets one be under way at a time. So an offer that
//! reaches a peer has won: whoever gets one while making their own takes that back.

use std::collections::{BTreeSet, HashMap};

use mesh_protocol::{CallId, RoomId, SessionId, UserId, event::rtc::ByeReason, model::Capability};

use super::{
    gone::{End, Gone},
    policy::{RoomAction, allows},
};

/// Calls that one connection may have opened at once: a meeting of a hundred where each talks with each.
pub const MAX_OPENED: usize = 128;

/// One of the two peers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Opener,
    Other,
}

/// Where the two stand with one another (RFC 8829, section 3.2, as the server sees it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What was offered is answered.
    Stable,
    /// One has made an offer that the other has not answered.
    Offered(Side),
}

/// What one peer says to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// An offer, by a capability token that stands on this login.
    Offer(SessionId),
    /// An answer.
    Answer,
    /// An ICE candidate.
    Ice,
    /// The end.
    Bye,
}

/// Why a word is not relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such call between the two.
    NoCall,
    /// The other one's offer is under way: it has won.
    Glare,
    /// There is no offer of the other one to answer.
    NothingToAnswer,
    /// The connection has opened [`MAX_OPENED`] calls.
    TooMany,
    /// The other one did not get it.
    NotDelivered,
}

/// A call between two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    /// Who opened it, and the other one.
    ends: [End; 2],
    /// The logins on which the capability tokens of their offers stand.
    stands_on: [Option<SessionId>; 2],
    phase: Phase,
}

impl Call {
    fn side(&self, conn: u64) -> Side {
        if self.ends[0].conn == conn { Side::Opener } else { Side::Other }
    }
}

/// What becomes of a call when `from` says `word` to `to`; none is one that is not open.
fn next(call: Option<&Call>, from: &End, to: &End, word: Word) -> Result<Option<Call>, Refused> {
    let Some(call) = call else {
        return match word {
            Word::Offer(login) => Ok(Some(Call {
                ends: [from.clone(), to.clone()],
                stands_on: [Some(login), None],
                phase: Phase::Offered(Side::Opener),
            })),
            _ => Err(Refused::NoCall),
        };
    };
    let by = call.side(from.conn);
    let mut after = call.clone();
    match (word, call.phase) {
        // Before it is answered, who made an offer may make it anew: the other one takes the last (RFC 8829, section 3.2).
        (Word::Offer(login), phase) if phase == Phase::Stable || phase == Phase::Offered(by) => {
            after.stands_on[by as usize] = Some(login);
            after.phase = Phase::Offered(by);
        }
        (Word::Offer(_), _) => return Err(Refused::Glare),
        (Word::Answer, Phase::Offered(side)) if side != by => after.phase = Phase::Stable,
        (Word::Answer, _) => return Err(Refused::NothingToAnswer),
        (Word::Ice, _) => {}
        (Word::Bye, _) => return Ok(None),
    }
    Ok(Some(after))
}

/// Why a call falls with what is gone, where it does.
fn ended(key: &Key, call: &Call, gone: &Gone<'_>) -> Option<ByeReason> {
    let has = |user: &UserId| call.ends.iter().any(|end| end.user == *user);
    match gone {
        Gone::Peer(end) => call.ends.iter().any(|e| e.conn == end.conn).then_some(ByeReason::PeerGone),
        Gone::Member { user, room, reason } => (*room == key.room && has(user)).then_some((*reason).into()),
        Gone::Role { user, room, role } => {
            let may = [Capability::Call, Capability::Screen].iter().any(|c| allows(*role, RoomAction::Hold(*c)));
            (*room == key.room && has(user) && !may).then_some(ByeReason::NotAllowed)
        }
        Gone::Room(room) => (*room == key.room).then_some(ByeReason::RoomDeleted),
        Gone::Logins { user, sessions } => {
            let stands = |at: usize| call.stands_on[at].is_some_and(|login| sessions.contains(&login));
            let falls = (0..2).any(|at| call.ends[at].user == *user && stands(at));
            falls.then_some(ByeReason::SessionEnded)
        }
        Gone::Account(user) => has(user).then_some(ByeReason::AccountDisabled),
    }
}

/// Which call: its name belongs to a room and two connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    room: RoomId,
    call: CallId,
    low: u64,
    high: u64,
}

/// A call that the server has ended, and what each of the two is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// In which room.
    pub room: RoomId,
    /// Its name.
    pub call: CallId,
    /// Between whom.
    pub ends: [End; 2],
    /// Why.
    pub reason: ByeReason,
}

/// The calls that are open.
#[derive(Debug, Default)]
pub struct Calls {
    open: HashMap<Key, Call>,
    /// Those of each user.
    of: HashMap<UserId, BTreeSet<Key>>,
}

impl Calls {
    /// Judges what `from` says to `to` within a call, and remembers it where `deliver` could hand it on.
    ///
    /// # Errors
    /// [`Refused`]; then all is as before.
    pub fn say(
        &mut self,
        room: RoomId,
        call: &CallId,
        [from, to]: [&End; 2],
        word: Word,
        deliver: impl FnOnce() -> bool,
    ) -> Result<(), Refused> {
        let (low, high) = (from.conn.min(to.conn), from.conn.max(to.conn));
        let key = Key { room, call: call.clone(), low, high };
        let before = self.open.get(&key);
        let after = next(before, from, to, word)?;
        if before.is_none() && self.opened_by(from) >= MAX_OPENED {
            return Err(Refused::TooMany);
        }
        if !deliver() {
            return Err(Refused::NotDelivered);
        }
        match after {
            Some(after) => {
                for end in &after.ends {
                    self.of.entry(end.user).or_default().insert(key.clone());
                }
                self.open.insert(key, after);
            }
            None => drop(self.remove(&key)),
        }
        Ok(())
    }

    /// Ends all that falls with what is gone.
    pub fn end(&mut self, gone: &Gone<'_>) -> Vec<Ended> {
        let falls = |key: &Key| {
            let reason = self.open.get(key).and_then(|call| ended(key, call, gone))?;
            Some((key.clone(), reason))
        };
        let falling: Vec<_> = match gone.user() {
            Some(user) => self.of.get(&user).into_iter().flatten().filter_map(falls).collect(),
            None => self.open.keys().filter_map(falls).collect(),
        };
        let end = |(key, reason): (Key, ByeReason)| {
            let call = self.remove(&key)?;
            Some(Ended { room: key.room, call: key.call, ends: call.ends, reason })
        };
        falling.into_iter().filter_map(end).collect()
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn opened_by(&self, end: &End) -> usize {
        let keys = self.of.get(&end.user).into_iter().flatten();
        keys.filter(|key| self.open.get(key).is_some_and(|call| call.ends[0].conn == end.conn)).count()
    }

    fn remove(&mut self, key: &Key) -> Option<Call> {
        let call = self.open.remove(key)?;
        for end in &call.ends {
            if let Some(keys) = self.of.get_mut(&end.user) {
                keys.remove(key);
                if keys.is_empty() {
                    self.of.remove(&end.user);
                }
            }
        }
        Some(call)
    }
}

#[cfg(test)]
mod tests;
