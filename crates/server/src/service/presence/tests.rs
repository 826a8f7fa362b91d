use super::*;

fn user(n: u128) -> UserId {
    UserId::new(uuid::Uuid::from_u128(n))
}

fn room(n: u128) -> RoomId {
    RoomId::new(uuid::Uuid::from_u128(n))
}

fn id(name: &str) -> PeerId {
    name.parse().unwrap()
}

fn peer(name: &str) -> MemberPeer {
    MemberPeer { peer_id: id(name), peer_type: PeerType::Client, device_name: None, status: PeerStatus::Online }
}

fn arrive(presence: &Presence, who: UserId, conn: u64, name: &str, rooms: &[RoomId]) {
    presence.connect(who, conn, conn, peer(name));
    presence.arrived(who, &id(name), rooms);
}

/// What is told at `now`, in words.
fn told(presence: &Presence, now: u64) -> Vec<String> {
    let (news, _) = presence.due(now);
    news.iter()
        .map(|news| match news {
            News::Peer(update) => format!("{} {}", update.peer_id, update.status.as_str()),
            News::Count(summary) => format!("{} users {} peers", summary.online_users, summary.online_peers),
        })
        .collect()
}

fn is_forgotten(presence: &Presence, now: u64) {
    let _ = told(presence, now);
    let _ = told(presence, now + 10_000);
    let state = presence.state();
    assert!(state.users.is_empty() && state.rooms.is_empty(), "somebody stays behind");
    assert!(state.told.is_empty() && state.later.is_empty() && state.now.is_empty(), "what was told stays behind");
    assert!(state.counted.is_empty() && state.uncounted.is_empty(), "counted rooms stay behind");
}

#[test]
fn a_user_is_online_while_any_peer_is() {
    let presence = Presence::default();
    let (who, kitchen) = (user(1), room(2));
    arrive(&presence, who, 1, "a", &[kitchen]);
    arrive(&presence, who, 2, "b", &[kitchen]);
    assert_eq!(presence.online_in(kitchen, 9), (1, vec![who]));
    presence.disconnect(who, 1);
    assert!(presence.is_online(who));
    presence.disconnect(who, 2);
    presence.disconnect(who, 2);
    assert_eq!(presence.online_in(kitchen, 9), (0, vec![]));
    is_forgotten(&presence, 0);
}

#[test]
fn a_change_at_once_further_ones_later_the_last_always() {
    let presence = Presence::default();
    let (who, kitchen) = (user(1), room(2));
    arrive(&presence, who, 1, "a", &[kitchen]);
    assert_eq!(told(&presence, 0), ["a online"]);
    assert!(presence.set(who, 1, PeerStatus::Away) && presence.set(who, 1, PeerStatus::Busy));
    assert_eq!(presence.due(199), (vec![], Some(200)));
    assert_eq!(told(&presence, 200), ["a busy"]);
    assert!(presence.set(who, 1, PeerStatus::Away) && presence.set(who, 1, PeerStatus::Busy));
    assert_eq!(presence.due(400), (vec![], None), "it is as it was told");
    // It goes and comes back within the pause: nobody need hear of it, but for its status.
    assert!(presence.set(who, 1, PeerStatus::Away));
    assert_eq!(told(&presence, 500), ["a away"]);
    presence.disconnect(who, 1);
    arrive(&presence, who, 2, "a", &[kitchen]);
    assert_eq!(told(&presence, 700), ["a online"]);
    presence.disconnect(who, 2);
    assert_eq!(told(&presence, 899), [""; 0]);
    assert_eq!(told(&presence, 900), ["a offline"]);
    assert!(!presence.set(who, 2, PeerStatus::Away));
    is_forgotten(&presence, 1_000);
}

#[test]
fn a_late_offline_does_not_hide_a_newer_connection() {
    let presence = Presence::default();
    let (who, kitchen) = (user(1), room(2));
    arrive(&presence, who, 1, "a", &[kitchen]);
    assert_eq!(told(&presence, 0), ["a online"]);
    arrive(&presence, who, 2, "a", &[kitchen]);
    presence.disconnect(who, 1);
    assert_eq!(told(&presence, 1_000), [""; 0]);
    assert!(presence.is_online(who));
    // The older one of two that came at once says its hello last.
    presence.connect(who, 3, 1, peer("a"));
    presence.arrived(who, &id("a"), &[kitchen]);
    presence.disconnect(who, 3);
    assert!(presence.is_online(who));
    assert_eq!(told(&presence, 2_000), [""; 0]);
    presence.disconnect(who, 2);
    assert_eq!(told(&presence, 3_000), ["a offline"]);
    is_forgotten(&presence, 4_000);
}

#[test]
fn who_is_put_out_while_arriving_does_not_show() {
    let presence = Presence::default();
    let (who, kitchen) = (user(1), room(2));
    presence.connect(who, 1, 1, peer("a"));
    presence.hide_from(who, kitchen);
    presence.arrived(who, &id("a"), &[kitchen]);
    assert!(!presence.shows_in(who, kitchen));
    presence.show_in(who, kitchen);
    assert!(presence.shows_in(who, kitchen));
    presence.forget_room(kitchen);
    assert!(!presence.shows_in(who, kitchen));
    assert_eq!(presence.online_in(kitchen, 9), (0, vec![]));
    presence.disconnect(who, 1);
    is_forgotten(&presence, 0);
}

/// A thousand peers in one room fall and come back at once, five times within ten seconds. What the room's connections are sent
/// is counted: without a bound it would be twice a million for each time.
#[test]
fn churn_costs_a_bounded_number_of_events() {
    const PEERS: u64 = 1_000;
    let (presence, hall) = (Presence::default(), room(1));
    let mut there = 0u64;
    let mut sent = 0u64;
    let mut now = 0u64;
    let tell = |now: u64, there: u64| -> u64 { presence.due(now).0.len() as u64 * there };
    let mut conn = 0;
    for _ in 0..5 {
        for n in 0..PEERS {
            conn += 1;
            arrive(&presence, user(u128::from(n) + 1), conn, &format!("p{n}"), &[hall]);
            there += 1;
            now += 1;
            sent += tell(now, there);
        }
        assert_eq!(presence.online_in(hall, 0).0, PEERS);
        for n in 0..PEERS {
            presence.disconnect(user(u128::from(n) + 1), conn - PEERS + n + 1);
            there -= 1;
            now += 1;
            sent += tell(now, there);
        }
    }
    println!("{} changes of {PEERS} peers in {now} ms: {sent} events to the room's connections", 10 * PEERS);
    // Each fall and return passes through the sizes at which peers are told of one by one.
    assert!(sent < 5 * 2 * (200 * 200 / 2) + (now / 1_000 + 1) * PEERS + 10_000, "{sent}");
    is_forgotten(&presence, now);
}

#[test]
fn a_large_room_hears_numbers_and_then_names_again() {
    let (presence, hall) = (Presence::default(), room(1));
    for n in 1..=201 {
        arrive(&presence, user(n.into()), n, &format!("p{n}"), &[hall]);
    }
    assert_eq!(told(&presence, 0), ["201 users 201 peers"], "all came before anything was told");
    presence.disconnect(user(1), 1);
    presence.disconnect(user(2), 2);
    assert_eq!(told(&presence, 250).len(), 2, "few enough to be named");
    assert_eq!(told(&presence, 1_000), ["199 users 199 peers"], "the last summary is not left wrong");
    arrive(&presence, user(1), 300, "p1", &[hall]);
    assert_eq!(told(&presence, 2_000), ["p1 online"]);
    assert_eq!(told(&presence, 9_000), [""; 0]);
}

#[test]
fn a_busy_room_hears_the_first_at_once_and_the_others_together() {
    let (presence, hall, quiet) = (Presence::default(), room(1), room(2));
    for n in 1..=100 {
        arrive(&presence, user(n.into()), n, &format!("p{n}"), &[hall]);
    }
    assert_eq!(told(&presence, 0).len(), 100, "what came before the turn is told with it");
    arrive(&presence, user(101), 101, "p101", &[hall]);
    assert_eq!(told(&presence, 10), [""; 0]);
    arrive(&presence, user(102), 102, "p102", &[hall, quiet]);
    assert_eq!(told(&presence, 20), ["p102 online"], "the quiet room need not wait for the busy one");
    assert_eq!(told(&presence, 999), [""; 0]);
    assert_eq!(told(&presence, 1_000), ["p101 online", "p102 online"]);
    // Whoever comes while nothing was told for a while is told of at once.
    let _ = told(&presence, 5_000);
    arrive(&presence, user(103), 103, "p103", &[hall]);
    assert_eq!(told(&presence, 5_001), ["p103 online"]);
}
