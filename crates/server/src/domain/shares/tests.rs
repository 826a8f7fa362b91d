use mesh_protocol::{
    Timestamp,
    model::{MemberRole, RemovalReason},
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const ROOMS: u8 = 2;
const PEERS: u8 = 5;

fn party(n: u8) -> End {
    let user = UserId::new(Uuid::from_u128(u128::from(n % 3) + 1));
    End { user, conn: u64::from(n), peer: format!("peer_{n}").parse().unwrap() }
}

fn room(n: u8) -> RoomId {
    RoomId::new(Uuid::from_u128(u128::from(n) + 100))
}

fn file(n: u8, id: &str) -> SharedFile {
    let End { user, peer, .. } = party(n);
    let shared_at = Timestamp::from_millis(0);
    let (file_id, name) = (id.to_owned(), "a".to_owned());
    SharedFile { file_id, peer_id: peer, user_id: user, name, size: 1, mime: None, sha256: None, shared_at }
}

fn terminal(n: u8, id: &str) -> SharedTerminal {
    let End { user, peer, .. } = party(n);
    let (terminal_id, title) = (id.to_owned(), "t".to_owned());
    let shared_at = Timestamp::from_millis(0);
    SharedTerminal { terminal_id, peer_id: peer, user_id: user, title, cols: 80, rows: 24, controller: None, shared_at }
}

#[derive(Clone, Debug)]
enum Act {
    File(u8, u8, u8),
    Terminal(u8, u8, u8),
    UnshareFile(u8, u8, u8),
    UnshareTerminal(u8, u8, u8),
    Ask(u8, u8, u8),
    Control(u8, u8, Input),
    Gone(u8),
    Removed(u8, u8),
    Demoted(u8, u8),
    Deleted(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let three = || (0..PEERS, 0..ROOMS, 0..3_u8);
    let grant = (0..PEERS).prop_map(|n| Input::Grant(party(n).peer));
    prop_oneof![
        3 => three().prop_map(|(p, r, i)| Act::File(p, r, i)),
        3 => three().prop_map(|(p, r, i)| Act::Terminal(p, r, i)),
        1 => three().prop_map(|(p, r, i)| Act::UnshareFile(p, r, i)),
        1 => three().prop_map(|(p, r, i)| Act::UnshareTerminal(p, r, i)),
        4 => three().prop_map(|(p, r, i)| Act::Ask(p, r, i)),
        4 => (0..PEERS, 0..3_u8, grant).prop_map(|(p, i, input)| Act::Control(p, i, input)),
        1 => (0..PEERS, 0..3_u8).prop_map(|(p, i)| Act::Control(p, i, Input::Release(u64::from(p)))),
        1 => (0..PEERS, 0..3_u8).prop_map(|(p, i)| Act::Control(p, i, Input::Revoke)),
        1 => (0..PEERS).prop_map(Act::Gone),
        1 => (0..PEERS, 0..ROOMS).prop_map(|(p, r)| Act::Removed(p, r)),
        1 => (0..PEERS, 0..ROOMS).prop_map(|(p, r)| Act::Demoted(p, r)),
        1 => (0..ROOMS).prop_map(Act::Deleted),
    ]
}

/// A room as somebody knows it who joined it empty and has listened since.
#[derive(Default)]
struct Known {
    files: Vec<SharedFile>,
    terminals: Vec<SharedTerminal>,
}

impl Known {
    fn hear(&mut self, news: News) {
        match news {
            News::File(file) => match self.files.iter_mut().find(|known| known.file_id == file.file_id) {
                Some(known) => *known = file,
                None => self.files.push(file),
            },
            News::FileGone { file_id, .. } => self.files.retain(|known| known.file_id != file_id),
            News::Terminal(told) => match self.terminals.iter_mut().find(|t| t.terminal_id == told.terminal_id) {
                Some(known) => *known = told,
                None => self.terminals.push(told),
            },
            News::TerminalGone { terminal_id, .. } => self.terminals.retain(|known| known.terminal_id != terminal_id),
            News::Control { terminal_id, controller } => {
                let known = self.terminals.iter_mut().find(|known| known.terminal_id == terminal_id).unwrap();
                // It falls free before another takes it.
                assert!(known.controller.is_none() || controller.is_none());
                known.controller = controller;
            }
        }
    }
}

proptest! {
    /// Whoever listens knows what a newcomer is told; and nothing stays of who has gone.
    #[test]
    fn what_is_told_adds_up_to_what_is_there(acts in prop::collection::vec(act(), 1..120)) {
        let mut shares = Shares::default();
        let mut known: HashMap<RoomId, Known> = HashMap::new();
        for act in acts {
            let news: Vec<(RoomId, News)> = match &act {
                Act::File(p, r, i) => {
                    let told = shares.share_file(room(*r), party(*p), file(*p, &i.to_string()));
                    told.into_iter().map(|news| (room(*r), news)).collect()
                }
                Act::Terminal(p, r, i) => {
                    let told = shares.share_terminal(room(*r), party(*p), terminal(*p, &i.to_string()));
                    told.into_iter().map(|news| (room(*r), news)).collect()
                }
                Act::UnshareFile(p, r, i) => {
                    let told = shares.unshare_file(room(*r), u64::from(*p), &i.to_string());
                    told.into_iter().map(|news| (room(*r), news)).collect()
                }
                Act::UnshareTerminal(p, r, i) => {
                    let told = shares.unshare_terminal(room(*r), u64::from(*p), &i.to_string());
                    told.into_iter().map(|news| (room(*r), news)).collect()
                }
                Act::Ask(p, r, i) => {
                    let _ = shares.ask(room(*r), &i.to_string(), party(*p), 1_000, 0);
                    Vec::new()
                }
                Act::Control(p, i, input) => {
                    let told = shares.control(&party(*p), &i.to_string(), None, input.clone(), 0);
                    told.ok().flatten().into_iter().collect()
                }
                Act::Gone(p) => shares.end_with(&Gone::Peer(&party(*p))),
                Act::Removed(p, r) => {
                    let reason = RemovalReason::Kicked;
                    shares.end_with(&Gone::Member { user: party(*p).user, room: room(*r), reason })
                }
                Act::Demoted(p, r) => {
                    shares.end_with(&Gone::Role { user: party(*p).user, room: room(*r), role: MemberRole::Guest })
                }
                Act::Deleted(r) => {
                    known.remove(&room(*r));
                    shares.end_with(&Gone::Room(room(*r)))
                }
            };
            for (at, news) in news {
                known.entry(at).or_default().hear(news);
            }
            for r in 0..ROOMS {
                let (files, terminals) = shares.of_room(room(r));
                let heard = known.entry(room(r)).or_default();
                prop_assert_eq!(&files, &heard.files);
                prop_assert_eq!(&terminals, &heard.terminals);
                let names = |p: u8| {
                    let peer = party(p).peer;
                    files.iter().any(|file| file.peer_id == peer)
                        || terminals.iter().any(|t| t.peer_id == peer || t.controller.as_ref() == Some(&peer))
                };
                match &act {
                    Act::Gone(p) => prop_assert!(!names(*p)),
                    Act::Removed(p, at) | Act::Demoted(p, at) if *at == r => {
                        prop_assert!((0..PEERS).filter(|q| party(*q).user == party(*p).user).all(|q| !names(q)));
                    }
                    _ => {}
                }
            }
        }
        for p in 0..PEERS {
            shares.end_with(&Gone::Peer(&party(p)));
        }
        prop_assert!(shares.rooms.is_empty() && shares.places.is_empty());
        prop_assert_eq!(shares.count(), (0, 0));
    }
}

#[test]
fn rooms_and_peers_have_a_bounded_number() {
    let mut shares = Shares::default();
    let mut share = |p: u8, r: u8, n: usize| shares.share_file(room(r), party(p), file(p, &format!("{p}-{n}"))).err();
    for p in 0..4 {
        for n in 0..MAX_PEER_FILES {
            assert_eq!(share(p, 0, n), None);
        }
        assert_eq!(share(p, 0, MAX_PEER_FILES), Some(if p == 3 { Refusal::RoomFull } else { Refusal::PeerFull }));
    }
    // Announced again, it takes no more room.
    assert_eq!(share(0, 0, 0), None);
    for r in 1..10 {
        assert!((0..MAX_PEER_FILES).all(|n| share(0, r, n).is_none()));
    }
    assert_eq!(share(0, 10, 0), Some(Refusal::PeerFull));
    assert_eq!(share(1, 10, 0), None);
    assert_eq!(shares.share_file(room(10), party(2), file(2, "1-0")), Err(Refusal::IdTaken));
}
