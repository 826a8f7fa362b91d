//! Who is connected, and in which rooms that shows.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mesh_protocol::{
    RoomId, UserId,
    model::{Member, MemberPeer},
};

/// Peers listed of one member: somebody with a thousand connections must not make everybody's joins large.
const LISTED_PEERS: usize = 16;

struct Connected {
    /// Connection number and what others see of it.
    peers: Vec<(u64, MemberPeer)>,
    rooms: Vec<RoomId>,
}

#[derive(Default)]
struct State {
    users: HashMap<UserId, Connected>,
    online: HashMap<RoomId, HashSet<UserId>>,
}

/// The connected peers of this process.
#[derive(Default)]
pub struct Presence {
    state: Mutex<State>,
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer of `user` is there from now on, until [`Self::disconnect`]. It takes the place of an older one of that id.
    pub fn connect(&self, user: UserId, conn: u64, peer: MemberPeer) {
        let mut state = self.state();
        let connected = state.users.entry(user).or_insert_with(|| Connected { peers: Vec::new(), rooms: Vec::new() });
        connected.peers.retain(|(_, older)| older.peer_id != peer.peer_id);
        connected.peers.push((conn, peer));
    }

    /// `user` shows in these rooms, while connected. Called after [`Self::connect`], so that a membership that comes
    /// in between is not missed.
    pub fn show_in(&self, user: UserId, rooms: &[RoomId]) {
        let mut state = self.state();
        let State { users, online } = &mut *state;
        let Some(connected) = users.get_mut(&user) else { return };
        for room in rooms {
            if online.entry(*room).or_default().insert(user) {
                connected.rooms.push(*room);
            }
        }
    }

    /// `user` no longer shows in this room.
    pub fn hide_in(&self, user: UserId, room: RoomId) {
        let mut state = self.state();
        let State { users, online } = &mut *state;
        if let Some(connected) = users.get_mut(&user) {
            connected.rooms.retain(|shown| *shown != room);
        }
        if let Some(there) = online.get_mut(&room) {
            there.remove(&user);
            if there.is_empty() {
                online.remove(&room);
            }
        }
    }

    /// That peer of `user` is gone.
    pub fn disconnect(&self, user: UserId, conn: u64) {
        let mut state = self.state();
        let State { users, online } = &mut *state;
        let Some(connected) = users.get_mut(&user) else { return };
        connected.peers.retain(|(number, _)| *number != conn);
        if connected.peers.is_empty() {
            for room in &connected.rooms {
                if let Some(there) = online.get_mut(room) {
                    there.remove(&user);
                    if there.is_empty() {
                        online.remove(room);
                    }
                }
            }
            users.remove(&user);
        }
    }

    /// Fills in who of these is online, and with what.
    pub fn fill(&self, members: &mut [Member]) {
        let state = self.state();
        for member in members {
            if let Some(connected) = state.users.get(&member.user_id) {
                member.online = true;
                member.peers = connected.peers.iter().take(LISTED_PEERS).map(|(_, peer)| peer.clone()).collect();
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

    /// How many members of `room` are online, and who: at most `limit`.
    pub fn online_in(&self, room: RoomId, limit: usize) -> (u64, Vec<UserId>) {
        let state = self.state();
        state
            .online
            .get(&room)
            .map_or((0, Vec::new()), |there| (there.len() as u64, there.iter().take(limit).copied().collect()))
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::model::{PeerStatus, PeerType};

    use super::*;

    #[test]
    fn a_user_is_online_while_any_peer_is() {
        let presence = Presence::default();
        let (user, room) = (UserId::new(uuid::Uuid::from_u128(1)), RoomId::new(uuid::Uuid::from_u128(2)));
        let peer = |id: &str| MemberPeer {
            peer_id: id.parse().unwrap(),
            peer_type: PeerType::Client,
            device_name: None,
            status: PeerStatus::Online,
        };
        presence.connect(user, 1, peer("a"));
        presence.show_in(user, &[room]);
        presence.connect(user, 2, peer("b"));
        presence.show_in(user, &[room]);
        assert_eq!(presence.online_in(room, 9), (1, vec![user]));
        presence.disconnect(user, 1);
        assert!(presence.is_online(user));
        presence.disconnect(user, 2);
        presence.disconnect(user, 2);
        assert_eq!(presence.online_in(room, 9), (0, vec![]));
        let state = presence.state();
        assert!(state.users.is_empty() && state.online.is_empty(), "nothing stays behind");
    }
}
