//! Who is connected, in which rooms that shows, and who is to be told of it.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mesh_protocol::{
    PeerId, RoomId, UserId,
    event::presence::{Summary, Update},
    model::{Member, MemberPeer, PeerStatus, PeerType},
};
use tokio::sync::Notify;

use crate::domain::presence::{
    HERE, PEER_PACE_MS, Pace, ROOM_PACE_MS, Report, Standing, TOLD_PEERS, Turn, room_pause_ms,
};

/// Peers listed of one member: somebody with a thousand connections must not make everybody's joins large.
const LISTED_PEERS: usize = 16;

struct Peer {
    conn: u64,
    standing: Standing,
    view: MemberPeer,
    /// What others last heard of it, or are about to, when it arrives.
    before: PeerStatus,
}

#[derive(Default)]
struct Connected {
    peers: Vec<Peer>,
    rooms: HashSet<RoomId>,
    /// Peers whose rooms are being read.
    arriving: usize,
    /// Rooms that the user was put out of meanwhile: what is being read may not know.
    hidden: HashSet<RoomId>,
}

impl Connected {
    // From the last, as it is mostly the newest that is asked for: one user may have very many.
    fn peer(&self, id: &PeerId) -> Option<&Peer> {
        self.peers.iter().rev().find(|peer| peer.view.peer_id == *id)
    }

    fn peer_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.peers.iter_mut().rev().find(|peer| peer.view.peer_id == *id)
    }
}

/// The connected members of a room.
#[derive(Default)]
struct Present {
    users: HashSet<UserId>,
    peers: usize,
    /// What the room hears with its next turn.
    waiting: Vec<Update>,
    /// It was told something lately, and has its next turn after a pause.
    paused: bool,
}

/// A peer of which others have heard lately, or are about to.
struct Told {
    pace: Pace,
    /// What it was when it went, and where that is to be told.
    gone: Option<(PeerType, Vec<RoomId>)>,
}

/// A room that hears of numbers only.
#[derive(Default)]
struct Counted {
    told: Option<(u64, u64)>,
    told_at: Option<u64>,
}

type Key = (UserId, PeerId);

#[derive(Default)]
struct State {
    users: HashMap<UserId, Connected>,
    rooms: HashMap<RoomId, Present>,
    told: HashMap<Key, Told>,
    /// Peers whose turn is at once.
    now: Vec<Key>,
    /// Peers in the order of their turns; the pause is the same for all.
    later: VecDeque<(u64, Key)>,
    /// Rooms that have something to hear at once.
    fresh: Vec<RoomId>,
    /// Rooms in the order of their turns.
    pauses: BTreeSet<(u64, RoomId)>,
    /// Large rooms, and those that have just ceased to be.
    counted: HashMap<RoomId, Counted>,
    /// Those of them in which something has changed since they were told.
    uncounted: HashSet<RoomId>,
}

/// Something to tell a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// One peer has changed.
    Peer(Update),
    /// In a large room, how many are there.
    Count(Summary),
}

impl News {
    /// Which room hears it.
    pub fn room(&self) -> RoomId {
        match self {
            Self::Peer(update) => update.room_id,
            Self::Count(summary) => summary.room_id,
        }
    }
}

/// The connected peers of this process.
#[derive(Default)]
pub struct Presence {
    state: Mutex<State>,
    changed: Notify,
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when there is something to tell that was not there before; see [`Self::due`].
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A peer of `user` is there from now on, until [`Self::disconnect`]. It takes the place of an older connection of
    /// that id; `session` tells which of two is the newer one. Others hear of it when [`Self::arrived`] says where.
    pub fn connect(&self, user: UserId, conn: u64, session: u64, peer: MemberPeer) {
        let mut state = self.state();
        let State { users, rooms, .. } = &mut *state;
        let connected = users.entry(user).or_default();
        connected.arriving += 1;
        let report = Report { session, revision: 0, status: peer.status, lease_until: HERE };
        match connected.peer_mut(&peer.peer_id) {
            Some(older) => {
                if older.standing.hear(report) {
                    older.before = older.view.status;
                    (older.conn, older.view) = (conn, peer);
                }
            }
            None => {
                let standing = Standing::new(report);
                connected.peers.push(Peer { conn, standing, view: peer, before: PeerStatus::Offline });
                for room in &connected.rooms {
                    rooms.entry(*room).or_default().peers += 1;
                }
            }
        }
    }

    /// The rooms of a peer that has connected were read: `user` shows in them, and is told of there.
    pub fn arrived(&self, user: UserId, peer: &PeerId, rooms: &[RoomId]) {
        let mut state = self.state();
        if let Some(connected) = state.users.get_mut(&user) {
            let fresh: Vec<_> = rooms.iter().filter(|room| !connected.hidden.contains(room)).copied().collect();
            connected.arriving = connected.arriving.saturating_sub(1);
            if connected.arriving == 0 {
                connected.hidden = HashSet::new();
            }
            state.show(user, &fresh);
        }
        if let Some(found) = state.users.get_mut(&user).and_then(|c| c.peer_mut(peer)) {
            let before = std::mem::replace(&mut found.before, found.view.status);
            state.change((user, peer.clone()), before, None);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// `user` has become a member: shows there, while connected.
    pub fn show_in(&self, user: UserId, room: RoomId) {
        let mut state = self.state();
        if let Some(connected) = state.users.get_mut(&user) {
            connected.hidden.remove(&room);
            state.show(user, &[room]);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// `user` is no longer a member.
    pub fn hide_from(&self, user: UserId, room: RoomId) {
        let mut state = self.state();
        if let Some(connected) = state.users.get_mut(&user) {
            if connected.arriving > 0 {
                connected.hidden.insert(room);
            }
            if connected.rooms.remove(&room) {
                let peers = connected.peers.len();
                state.leave(user, room, peers, true);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The room is gone: nobody shows in it.
    pub fn forget_room(&self, room: RoomId) {
        let users: Vec<_> = self.state().rooms.get(&room).map_or(Vec::new(), |p| p.users.iter().copied().collect());
        for user in users {
            self.hide_from(user, room);
        }
    }

    /// A peer says how available it is; false where that connection is not there.
    pub fn set(&self, user: UserId, conn: u64, status: PeerStatus) -> bool {
        let mut state = self.state();
        let found = state.users.get_mut(&user).and_then(|c| c.peers.iter_mut().find(|peer| peer.conn == conn));
        let Some(peer) = found else { return false };
        let before = peer.view.status;
        let report = peer.standing.next(status);
        peer.standing.hear(report);
        peer.view.status = status;
        let key = (user, peer.view.peer_id.clone());
        state.change(key, before, None);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// That connection of `user` is gone. Called by a guard when the connection's task ends, however it ends.
    pub fn disconnect(&self, user: UserId, conn: u64) {
        let mut state = self.state();
        let Some(connected) = state.users.get_mut(&user) else { return };
        let Some(index) = connected.peers.iter().position(|peer| peer.conn == conn) else { return };
        let peer = connected.peers.swap_remove(index);
        let last = connected.peers.is_empty();
        let rooms: Vec<_> = connected.rooms.iter().copied().collect();
        for room in &rooms {
            state.leave(user, *room, 1, last);
        }
        if last {
            state.users.remove(&user);
        }
        let gone = Some((peer.view.peer_type, rooms));
        state.change((user, peer.view.peer_id), peer.view.status, gone);
        drop(state);
        self.changed.notify_one();
    }

    /// What is to be told at `now` (milliseconds of any clock that only goes on), room by room, and when to ask again if
    /// nothing changes before.
    pub fn due(&self, now: u64) -> (Vec<News>, Option<u64>) {
        let mut state = self.state();
        let mut news = Vec::new();
        for key in std::mem::take(&mut state.now) {
            state.turn(key, now, &mut news);
        }
        while let Some((at, _)) = state.later.front()
            && *at <= now
            && let Some((_, key)) = state.later.pop_front()
        {
            state.turn(key, now, &mut news);
        }
        for room in std::mem::take(&mut state.fresh) {
            state.hear(room, now, &mut news);
        }
        while let Some(turn) = state.pauses.first().copied()
            && turn.0 <= now
        {
            state.pauses.remove(&turn);
            state.hear(turn.1, now, &mut news);
        }
        let next_count = state.count(now, &mut news);
        let next_peer = state.later.front().map(|(at, _)| *at);
        let next_room = state.pauses.first().map(|(at, _)| *at);
        (news, next_peer.into_iter().chain(next_room).chain(next_count).min())
    }

    /// Fills in who of these is online, and with what.
    pub fn fill(&self, members: &mut [Member]) {
        let state = self.state();
        for member in members {
            if let Some(connected) = state.users.get(&member.user_id) {
                member.online = true;
                member.peers = connected.peers.iter().take(LISTED_PEERS).map(|peer| peer.view.clone()).collect();
            }
        }
    }

    /// How many peers there are.
    pub fn connections(&self) -> u64 {
        self.state().users.values().map(|connected| connected.peers.len() as u64).sum()
    }

    /// Whether `user` has a peer.
    pub fn is_online(&self, user: UserId) -> bool {
        self.state().users.contains_key(&user)
    }

    /// Whether `user` is connected and a member of `room`. It changes in the order of the commits, before their
    /// callers hear of them.
    pub fn shows_in(&self, user: UserId, room: RoomId) -> bool {
        self.state().users.get(&user).is_some_and(|connected| connected.rooms.contains(&room))
    }

    /// How many members of `room` are online, and who: at most `limit`.
    pub fn online_in(&self, room: RoomId, limit: usize) -> (u64, Vec<UserId>) {
        let state = self.state();
        state.rooms.get(&room).map_or((0, Vec::new()), |there| {
            (there.users.len() as u64, there.users.iter().take(limit).copied().collect())
        })
    }
}

impl State {
    fn status(&self, (user, peer): (UserId, &PeerId)) -> PeerStatus {
        let found = self.users.get(&user).and_then(|c| c.peer(peer));
        // What is here has a lease without end.
        found.map_or(PeerStatus::Offline, |peer| peer.standing.status(0))
    }

    fn show(&mut self, user: UserId, rooms: &[RoomId]) {
        let Some(connected) = self.users.get_mut(&user) else { return };
        for room in rooms {
            if connected.rooms.insert(*room) {
                let there = self.rooms.entry(*room).or_default();
                there.users.insert(user);
                there.peers += connected.peers.len();
                if there.peers > TOLD_PEERS {
                    self.uncounted.insert(*room);
                }
            }
        }
    }

    fn leave(&mut self, user: UserId, room: RoomId, peers: usize, last: bool) {
        let Some(there) = self.rooms.get_mut(&room) else { return };
        if there.peers > TOLD_PEERS {
            self.uncounted.insert(room);
        }
        there.peers = there.peers.saturating_sub(peers);
        if last {
            there.users.remove(&user);
        }
        if there.users.is_empty() {
            self.rooms.remove(&room);
        }
    }

    /// A peer is no longer as it was `before`. Whoever has had a turn lately waits for the next.
    fn change(&mut self, key: Key, before: PeerStatus, gone: Option<(PeerType, Vec<RoomId>)>) {
        match self.told.get_mut(&key) {
            Some(told) => told.gone = gone.or(told.gone.take()),
            None => {
                self.told.insert(key.clone(), Told { pace: Pace::new(before), gone });
                self.now.push(key);
            }
        }
    }

    fn turn(&mut self, key: Key, now: u64, news: &mut Vec<News>) {
        let status = self.status((key.0, &key.1));
        let Some(told) = self.told.get_mut(&key) else { return };
        let Turn::Tell(status) = told.pace.turn(status) else {
            self.told.remove(&key);
            return;
        };
        let gone = told.gone.take();
        let (user_id, peer_id) = key.clone();
        let there = self.users.get(&user_id).and_then(|connected| {
            let peer = connected.peer(&peer_id)?;
            Some((peer.view.peer_type, connected.rooms.iter().copied().collect()))
        });
        if let Some((peer_type, rooms)) = there.or(gone) {
            for room_id in rooms {
                let there = self.rooms.get_mut(&room_id);
                let is_large = there.as_ref().is_some_and(|there| there.peers > TOLD_PEERS);
                if is_large || self.counted.contains_key(&room_id) {
                    self.uncounted.insert(room_id);
                }
                if is_large {
                    continue;
                }
                let update = Update { room_id, user_id, peer_id: peer_id.clone(), peer_type, status };
                let Some(there) = there else {
                    news.push(News::Peer(update));
                    continue;
                };
                if there.waiting.is_empty() && !there.paused {
                    self.fresh.push(room_id);
                }
                there.waiting.push(update);
            }
        }
        self.later.push_back((now + PEER_PACE_MS, key));
    }

    /// A room's turn: it hears what waits for it, and has a pause. What became large meanwhile hears its numbers.
    fn hear(&mut self, room: RoomId, now: u64, news: &mut Vec<News>) {
        let Some(there) = self.rooms.get_mut(&room) else { return };
        let waiting = std::mem::take(&mut there.waiting);
        there.paused = !waiting.is_empty();
        if there.paused {
            self.pauses.insert((now + room_pause_ms(there.peers), room));
        }
        if there.peers > TOLD_PEERS {
            self.uncounted.insert(room);
        } else {
            news.extend(waiting.into_iter().map(News::Peer));
        }
    }

    /// Tells the numbers of large rooms; gives when the next of them may be told.
    fn count(&mut self, now: u64, news: &mut Vec<News>) -> Option<u64> {
        let mut next = None;
        for room_id in std::mem::take(&mut self.uncounted) {
            let (users, peers) = self.rooms.get(&room_id).map_or((0, 0), |p| (p.users.len() as u64, p.peers as u64));
            let counted = self.counted.entry(room_id).or_default();
            if let Some(may) = counted.told_at.map(|at| at + ROOM_PACE_MS)
                && now < may
            {
                self.uncounted.insert(room_id);
                next = Some(next.map_or(may, |next: u64| next.min(may)));
                continue;
            }
            if counted.told != Some((users, peers)) {
                (counted.told, counted.told_at) = (Some((users, peers)), Some(now));
                news.push(News::Count(Summary { room_id, online_users: users, online_peers: peers }));
            }
            // Once it is small again, and that is told, each peer is told of.
            if peers <= TOLD_PEERS as u64 {
                self.counted.remove(&room_id);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
