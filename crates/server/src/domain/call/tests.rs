#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use mesh_protocol::model::{MemberRole, RemovalReason};

fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

fn login(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(n))
}

fn room(n: u128) -> RoomId {
    RoomId::new(Uuid::from_u128(n))
}

/// Connection `n` of a user of their own, or of a shared one.
fn end(n: u64) -> End {
    End { conn: n, user: user(u128::from(n.min(3))), peer: format!("p{n}").parse().unwrap() }
}

fn id(n: usize) -> CallId {
    format!("call-{n}").parse().unwrap()
}

fn say(calls: &mut Calls, from: u64, to: u64, word: Word) -> Result<(), Refused> {
    calls.say(room(1), &id(1), [&end(from), &end(to)], word, || true)
}

const OFFER: Word = Word::Offer(SessionId::NOTHING);

#[test]
fn a_call_goes_its_way() {
    let mut calls = Calls::default();
    for word in [Word::Answer, Word::Ice, Word::Bye] {
        assert_eq!(say(&mut calls, 1, 2, word), Err(Refused::NoCall));
    }
    say(&mut calls, 1, 2, OFFER).unwrap();
    assert_eq!(say(&mut calls, 1, 2, Word::Answer), Err(Refused::NothingToAnswer), "nobody answers themselves");
    say(&mut calls, 1, 2, OFFER).expect("an offer may be made anew before it is answered");
    assert_eq!(say(&mut calls, 2, 1, OFFER), Err(Refused::Glare));
    say(&mut calls, 2, 1, Word::Ice).unwrap();
    say(&mut calls, 2, 1, Word::Answer).unwrap();
    assert_eq!(say(&mut calls, 2, 1, Word::Answer), Err(Refused::NothingToAnswer), "once");
    // Either side may change what there is, one at a time.
    say(&mut calls, 2, 1, OFFER).unwrap();
    assert_eq!(say(&mut calls, 1, 2, OFFER), Err(Refused::Glare));
    say(&mut calls, 1, 2, Word::Answer).unwrap();
    say(&mut calls, 1, 2, Word::Ice).unwrap();
    say(&mut calls, 2, 1, Word::Bye).unwrap();
    assert_eq!(say(&mut calls, 1, 2, Word::Bye), Err(Refused::NoCall));
    assert!(calls.is_empty() && calls.of.is_empty());
}

#[test]
fn what_did_not_arrive_was_not_said() {
    let mut calls = Calls::default();
    let lost = |calls: &mut Calls, word| calls.say(room(1), &id(1), [&end(1), &end(2)], word, || false);
    assert_eq!(lost(&mut calls, OFFER), Err(Refused::NotDelivered));
    assert!(calls.is_empty());
    say(&mut calls, 1, 2, OFFER).unwrap();
    assert_eq!(lost(&mut calls, Word::Bye), Err(Refused::NotDelivered));
    say(&mut calls, 2, 1, Word::Answer).unwrap();
}

#[test]
fn opened_calls_are_bounded_and_the_other_end_counts_none() {
    let mut calls = Calls::default();
    let open =
        |calls: &mut Calls, from: u64, to: u64, n| calls.say(room(1), &id(n), [&end(from), &end(to)], OFFER, || true);
    for n in 0..MAX_OPENED {
        open(&mut calls, 1, 2, n).unwrap();
    }
    assert_eq!(open(&mut calls, 1, 3, MAX_OPENED), Err(Refused::TooMany));
    open(&mut calls, 2, 1, MAX_OPENED).unwrap();
}

#[test]
fn a_call_ends_with_what_it_stands_on() {
    let role = |role| Gone::Role { user: user(1), room: room(1), role };
    let cases: [(Gone<'_>, Option<ByeReason>); 11] = [
        (Gone::Peer(&end(1)), Some(ByeReason::PeerGone)),
        (Gone::Peer(&end(2)), Some(ByeReason::PeerGone)),
        (Gone::Peer(&End { conn: 9, ..end(1) }), None),
        (Gone::Member { user: user(1), room: room(1), reason: RemovalReason::Kicked }, Some(ByeReason::Kicked)),
        (Gone::Member { user: user(2), room: room(1), reason: RemovalReason::Banned }, Some(ByeReason::Banned)),
        (Gone::Member { user: user(2), room: room(2), reason: RemovalReason::Left }, None),
        (role(MemberRole::Guest), None),
        (Gone::Room(room(1)), Some(ByeReason::RoomDeleted)),
        (Gone::Room(room(2)), None),
        (Gone::Account(user(2)), Some(ByeReason::AccountDisabled)),
        (Gone::Logins { user: user(1), sessions: &[login(8)] }, None),
    ];
    for (gone, expected) in cases {
        let mut calls = Calls::default();
        say(&mut calls, 1, 2, Word::Offer(login(7))).unwrap();
        let ended = calls.end(&gone);
        assert_eq!(ended.first().map(|e| e.reason), expected, "{gone:?}");
        assert_eq!(calls.is_empty(), expected.is_some(), "{gone:?}");
    }
}

#[test]
fn it_stands_on_the_login_behind_each_ones_newest_offer() {
    let mut calls = Calls::default();
    say(&mut calls, 1, 2, Word::Offer(login(7))).unwrap();
    say(&mut calls, 2, 1, Word::Answer).unwrap();
    say(&mut calls, 1, 2, Word::Offer(login(8))).unwrap();
    say(&mut calls, 2, 1, Word::Answer).unwrap();
    say(&mut calls, 2, 1, Word::Offer(login(9))).unwrap();
    assert_eq!(calls.end(&Gone::Logins { user: user(1), sessions: &[login(7)] }), []);
    assert_eq!(calls.end(&Gone::Logins { user: user(2), sessions: &[login(8)] }), [], "another one's");
    let ended = calls.end(&Gone::Logins { user: user(2), sessions: &[login(9)] });
    assert_eq!(ended[0].reason, ByeReason::SessionEnded);
}

#[derive(Clone, Debug)]
enum Move {
    Say { call: usize, from: u64, to: u64, word: Word, arrives: bool },
    Gone(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let word = prop_oneof![3 => Just(OFFER), 3 => Just(Word::Answer), 2 => Just(Word::Ice), 1 => Just(Word::Bye)];
    // Connections 3 to 5 are one user's.
    let say =
        (0usize..2, 1u64..6, 1u64..5, word, prop::bool::weighted(0.9)).prop_map(|(call, from, by, word, arrives)| {
            Move::Say { call, from, to: (from - 1 + by) % 5 + 1, word, arrives }
        });
    prop::collection::vec(prop_oneof![12 => say, 1 => (1u64..6).prop_map(Move::Gone)], 1..120)
}

proptest! {
    /// What the two have heard of one another decides alone; all else is refused and changes nothing.
    #[test]
    fn everybody_speaks_in_turn(moves in moves()) {
        let mut calls = Calls::default();
        // Of each call: whether it is open, and whose offer waits for an answer.
        let mut model: HashMap<(usize, u64, u64), Option<u64>> = HashMap::new();
        for step in moves {
            match step {
                Move::Say { call, from, to, word, arrives } => {
                    let key = (call, from.min(to), from.max(to));
                    let may = match (model.get(&key), word) {
                        (None, Word::Offer(_)) | (Some(None), Word::Offer(_)) => true,
                        (Some(Some(by)), Word::Offer(_)) => *by == from,
                        (Some(Some(by)), Word::Answer) => *by != from,
                        (Some(_), Word::Ice | Word::Bye) => true,
                        _ => false,
                    };
                    let said = calls.say(room(1), &id(call), [&end(from), &end(to)], word, || arrives);
                    prop_assert_eq!(said.is_ok(), may && arrives, "{:?} {:?}", word, said);
                    if said.is_ok() {
                        match word {
                            Word::Offer(_) => drop(model.insert(key, Some(from))),
                            Word::Answer => drop(model.insert(key, None)),
                            Word::Ice => {}
                            Word::Bye => drop(model.remove(&key)),
                        }
                    }
                }
                Move::Gone(conn) => {
                    let ended = calls.end(&Gone::Peer(&end(conn)));
                    let before = model.len();
                    model.retain(|(_, low, high), _| *low != conn && *high != conn);
                    prop_assert_eq!(ended.len(), before - model.len());
                }
            }
            prop_assert_eq!(calls.len(), model.len());
            let indexed: BTreeSet<_> = calls.of.values().flatten().cloned().collect();
            prop_assert_eq!(indexed, calls.open.keys().cloned().collect::<BTreeSet<_>>());
        }
        (1..6).for_each(|conn| drop(calls.end(&Gone::Peer(&end(conn)))));
        prop_assert!(calls.is_empty() && calls.of.is_empty());
    }
}
