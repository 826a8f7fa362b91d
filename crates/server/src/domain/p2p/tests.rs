use std::collections::{HashMap, HashSet};

use mesh_protocol::model::{MemberRole, RemovalReason};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const START: i64 = 1_000_000;
const PEERS: u8 = 6;

fn user(n: u8) -> UserId {
    UserId::new(Uuid::from_u128(u128::from(n % 4) + 1))
}

fn party(n: u8) -> End {
    End { user: user(n), conn: u64::from(n), peer: format!("peer_{n}").parse().unwrap() }
}

fn room(n: u8) -> RoomId {
    RoomId::new(Uuid::from_u128(u128::from(n) + 100))
}

fn offer(n: u8) -> Offer {
    Offer { endpoints: vec![format!("192.0.2.{n}:1")], fingerprint: format!("f{n}") }
}

fn login(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(u128::from(n) + 1))
}

fn session(n: u8) -> P2pSessionId {
    P2pSessionId::new(Uuid::from_u128(u128::from(n) + 1))
}

#[derive(Clone, Debug)]
enum Input {
    Request { from: u8, to: u8, room: u8 },
    Accept { id: u8, by: u8 },
    Reject { id: u8, by: u8 },
    Close { id: u8, by: u8 },
    Gone(u8),
    Removed { room: u8, user: u8 },
    Role { room: u8, user: u8, role: MemberRole },
    Room(u8),
    Login(u8),
    Account(u8),
    Time(i64),
}

fn input() -> impl Strategy<Value = Input> {
    let (peer, some) = (0..PEERS, 0..40_u8);
    let role = prop_oneof![Just(MemberRole::Guest), Just(MemberRole::Admin)];
    prop_oneof![
        6 => (peer.clone(), peer.clone(), 0..2_u8).prop_map(|(from, to, room)| Input::Request { from, to, room }),
        4 => (some.clone(), peer.clone()).prop_map(|(id, by)| Input::Accept { id, by }),
        1 => (some.clone(), peer.clone()).prop_map(|(id, by)| Input::Reject { id, by }),
        1 => (some, peer.clone()).prop_map(|(id, by)| Input::Close { id, by }),
        1 => peer.clone().prop_map(Input::Gone),
        1 => (0..2_u8, peer.clone()).prop_map(|(room, user)| Input::Removed { room, user }),
        2 => (0..2_u8, peer.clone(), role).prop_map(|(room, user, role)| Input::Role { room, user, role }),
        1 => (0..2_u8).prop_map(Input::Room),
        1 => peer.clone().prop_map(Input::Login),
        1 => peer.prop_map(Input::Account),
        2 => (-20_000..40_000_i64).prop_map(Input::Time),
    ]
}

/// What a peer has heard of a session.
#[derive(Default)]
struct Heard {
    made: bool,
    closed: Option<CloseReason>,
}

#[derive(Default)]
struct World {
    sessions: Sessions,
    now: i64,
    /// Room, who asked, who was asked, until when.
    asked: HashMap<P2pSessionId, (RoomId, End, End, i64)>,
    heard: HashMap<(P2pSessionId, u64), Heard>,
}

impl World {
    fn made(&mut self, id: P2pSessionId, by: u8) -> Result<(), TestCaseError> {
        let (_, from, to, until) = self.asked.get(&id).cloned().unwrap();
        prop_assert_eq!(to.conn, u64::from(by), "accepted by another");
        prop_assert!(self.now < until, "accepted too late");
        for conn in [from.conn, to.conn] {
            let heard = self.heard.entry((id, conn)).or_default();
            prop_assert!(!heard.made && heard.closed.is_none(), "made twice, or after its end");
            heard.made = true;
        }
        Ok(())
    }

    fn hear(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        prop_assert!(actions.chunks(2).all(|two| two.len() == 2 && two[0].id == two[1].id), "two of each");
        for Action { id, to, reason, .. } in actions {
            let (_, from, asked, _) = self.asked.get(&id).cloned().unwrap();
            prop_assert!(to == from || to == asked, "told to a stranger");
            let heard = self.heard.entry((id, to.conn)).or_default();
            prop_assert!(heard.closed.is_none(), "closed twice");
            prop_assert!(!(heard.made && matches!(reason, CloseReason::Timeout | CloseReason::Rejected)));
            heard.closed = Some(reason);
        }
        Ok(())
    }

    fn is_over(&self, id: P2pSessionId) -> bool {
        let (_, from, to, _) = &self.asked[&id];
        let over = |conn: u64| self.heard.get(&(id, conn)).is_some_and(|heard| heard.closed.is_some());
        over(from.conn) && over(to.conn)
    }
}

proptest! {
    /// Each session is made once at most, by the one who was asked and in time, and ends once for each side, whatever
    /// ends it; who goes leaves nothing behind.
    #[test]
    fn each_session_is_asked_made_and_over(inputs in prop::collection::vec(input(), 1..150)) {
        let mut world = World { now: START, ..World::default() };
        let mut next = 0_u8;
        for input in inputs {
            let now = world.now;
            let actions = match input {
                Input::Request { from, to, room: of } => {
                    if from == to || next == u8::MAX {
                        continue;
                    }
                    next += 1;
                    let matter = Matter { id: session(next), room: room(of), kind: SessionKind::File, login: login(from) };
                    let side = Side { party: party(from), offer: offer(from) };
                    let id = matter.id;
                    if let Ok(until) = world.sessions.request(matter, side, party(to), now) {
                        prop_assert_eq!(until, now + ANSWER_MS);
                        world.asked.insert(id, (room(of), party(from), party(to), until));
                    }
                    Vec::new()
                }
                Input::Accept { id, by } => {
                    if world.sessions.accept(session(id), u64::from(by), now).is_ok() {
                        world.made(session(id), by)?;
                    }
                    Vec::new()
                }
                Input::Reject { id, by } => {
                    let actions = world.sessions.reject(session(id), u64::from(by), None, now).unwrap_or_default();
                    prop_assert!(actions.is_empty() || world.asked[&session(id)].2.conn == u64::from(by));
                    actions
                }
                Input::Close { id, by } => world.sessions.close(session(id), u64::from(by)).unwrap_or_default(),
                Input::Gone(n) => world.sessions.end_with(&Gone::Peer(&party(n))),
                Input::Removed { room: of, user: n } => {
                    let reason = RemovalReason::Kicked;
                    world.sessions.end_with(&Gone::Member { user: user(n), room: room(of), reason })
                }
                Input::Role { room: of, user: n, role } => {
                    world.sessions.end_with(&Gone::Role { user: user(n), room: room(of), role })
                }
                Input::Room(of) => world.sessions.end_with(&Gone::Room(room(of))),
                Input::Login(n) => world.sessions.end_with(&Gone::Logins { user: user(n), sessions: &[login(n)] }),
                Input::Account(n) => world.sessions.end_with(&Gone::Account(user(n))),
                Input::Time(ms) => {
                    world.now += ms;
                    let (actions, next) = world.sessions.due(world.now);
                    let soon = world.now + ANSWER_MS;
                    prop_assert!(next.is_none_or(|at| at > world.now && at <= soon));
                    actions
                }
            };
            world.hear(actions)?;
            let open: HashSet<_> = world.sessions.by_id.keys().copied().collect();
            for (id, (of, from, to, _)) in &world.asked {
                prop_assert_eq!(open.contains(id), !world.is_over(*id));
                if open.contains(id) {
                    let stands = match &input {
                        Input::Gone(n) => ![from.conn, to.conn].contains(&u64::from(*n)),
                        Input::Removed { room: r, user: n } => {
                            *of != room(*r) || ![from.user, to.user].contains(&user(*n))
                        }
                        Input::Role { room: r, user: n, role } => {
                            *of != room(*r) || from.user != user(*n) || *role != MemberRole::Guest
                        }
                        Input::Room(r) => *of != room(*r),
                        Input::Login(n) => from.conn != u64::from(*n),
                        Input::Account(n) => ![from.user, to.user].contains(&user(*n)),
                        _ => true,
                    };
                    prop_assert!(stands, "{input:?} left a session");
                }
            }
        }
        for n in 0..PEERS {
            let actions = world.sessions.end_with(&Gone::Peer(&party(n)));
            world.hear(actions)?;
        }
        prop_assert!(world.sessions.is_empty() && world.sessions.by_party.is_empty() && world.sessions.due.is_empty());
    }
}

#[test]
fn a_peer_has_a_bounded_number() {
    let mut sessions = Sessions::default();
    let mut ask = |from: u64, to: u64, n: u128| {
        let matter = Matter {
            id: P2pSessionId::new(Uuid::from_u128(n)),
            room: room(0),
            kind: SessionKind::Folder,
            login: login(0),
        };
        let party = |conn| End { user: user(0), conn, peer: format!("peer_{conn}").parse().unwrap() };
        sessions.request(matter, Side { party: party(from), offer: offer(0) }, party(to), START).err()
    };
    let mut n = 0;
    for from in 0.. {
        for _ in 0..MAX_P2P_ASKED {
            n += 1;
            if ask(from, 1_000, n).is_some() {
                assert_eq!(n as usize, MAX_P2P_TAKEN + 1);
                // The others can still be asked, and the one who asked has room.
                assert_eq!(ask(from, 1_001, n + 1), None);
                return;
            }
        }
        assert_eq!(ask(from, 1_002, 100_000), Some(Refusal::AskedTooMany));
    }
}
