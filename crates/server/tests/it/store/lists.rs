//! Lists, page by page: rooms by newest activity, members by name.

use mesh_protocol::{
    RoomId, UserId,
    model::{MemberRole, Visibility},
};
use mesh_server::store::{self, rooms::After};

use super::{Store, key, on_both};

on_both!(
    rooms_come_by_newest_activity,
    rooms_are_listed_to_whom_they_concern,
    members_come_by_name,
    names_are_one_in_any_case
);

/// All rooms, page by page.
async fn rooms(store: &Store, user: UserId, public: bool, limit: usize) -> Vec<RoomId> {
    let mut all = Vec::new();
    let mut after = After::default();
    loop {
        let from = after;
        let page = store.db.read(move |tx| store::rooms::list(tx, user, public, &from, limit)).await.unwrap();
        assert!(page.len() <= limit);
        let Some((_, last)) = page.last() else { return all };
        after = *last;
        all.extend(page.iter().map(|(room, _)| room.id));
    }
}

async fn rooms_come_by_newest_activity(store: Store) {
    let ana = store.person("ana").await;
    let mut expected = Vec::new();
    for n in 0..40 {
        // Many at the same moment: then by id.
        let at = [100, 200, 200, 200, -5][n % 5];
        expected.push((at, store.room(ana, Visibility::Public, at).await));
    }
    let newest_first = |rooms: &mut Vec<(i64, RoomId)>| {
        rooms.sort_by_key(|(at, id)| std::cmp::Reverse((*at, id.to_string())));
        rooms.iter().map(|(_, id)| *id).collect::<Vec<_>>()
    };
    let order = newest_first(&mut expected);
    for limit in [1, 3, 40, 100] {
        assert_eq!(rooms(&store, ana, false, limit).await, order, "{limit} at a time");
        assert_eq!(rooms(&store, ana, true, limit).await, order, "{limit} at a time");
    }
    // Something said brings a room to the top.
    let last = expected.len() - 1;
    let mut line = store.line(expected[last].1, ana, "hello");
    line.now = 300;
    store.say(line).await.unwrap();
    expected[last].0 = 300;
    let order = newest_first(&mut expected);
    assert_eq!(rooms(&store, ana, false, 7).await, order);
    assert_eq!(rooms(&store, ana, true, 7).await, order);
}

async fn rooms_are_listed_to_whom_they_concern(store: Store) {
    let (ana, ben) = (store.person("ana").await, store.person("ben").await);
    let private = store.room(ana, Visibility::Private, 1).await;
    let public = store.room(ana, Visibility::Public, 2).await;
    let shared = store.room(ana, Visibility::Private, 3).await;
    store.join(shared, ben).await;
    assert_eq!(rooms(&store, ana, false, 10).await, [shared, public, private]);
    assert_eq!(rooms(&store, ben, false, 10).await, [shared]);
    for user in [ana, ben] {
        assert_eq!(rooms(&store, user, true, 10).await, [public]);
    }
    assert_eq!(store.seen_by(public, ana).await.my_role, Some(MemberRole::Owner));
    assert_eq!(store.seen_by(public, ben).await.my_role, None);
    let mut of = store.db.read(move |tx| store::members::rooms_of(tx, ana)).await.unwrap();
    let mut all = vec![private, public, shared];
    of.sort();
    all.sort();
    assert_eq!(of, all);
    let nothing = store.db.read(move |tx| store::rooms::for_user(tx, RoomId::NOTHING, ana)).await.unwrap();
    assert!(nothing.is_none());
    let standing = store.db.read(move |tx| store::members::standing(tx, public, ben)).await.unwrap().unwrap();
    assert_eq!((standing.role, standing.member_count, standing.visibility), (None, 1, Visibility::Public));
}

async fn members_come_by_name(store: Store) {
    // A language would order these otherwise than their bytes do.
    let names =
        ["Zoe", "ana", "ana-1", "ana.b", "ana_c", "anab", "an0", "Ben", "b-n", "b_n", "_x_", "-y-", ".z.", "0zz"];
    let mut people = Vec::new();
    for name in names {
        people.push((name, store.person(name).await));
    }
    let room = store.room(people[0].1, Visibility::Private, 0).await;
    for (_, person) in &people[1..] {
        store.join(room, *person).await;
    }
    let mut expected: Vec<_> = names.map(str::to_lowercase).to_vec();
    expected.sort();
    for limit in [1, 4, 100] {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().cloned().unwrap_or_default();
            let page = store.db.read(move |tx| store::members::by_name(tx, room, &after, limit)).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            for (member, key) in page {
                assert_eq!(member.username.to_lowercase(), key);
                keys.push(key);
            }
        }
        assert_eq!(keys, expected, "{limit} at a time");
    }
    let elsewhere = store.room(people[0].1, Visibility::Private, 0).await;
    let alone = store.db.read(move |tx| store::members::by_name(tx, elsewhere, "", 100)).await.unwrap();
    assert_eq!(alone.len(), 1);
    assert_eq!(store.seen_by(room, people[0].1).await.member_count, names.len() as u64);
}

async fn names_are_one_in_any_case(store: Store) {
    let ana = store.person("Ana").await;
    let again = super::person(UserId::new(store.id()), "aNA");
    assert!(!store.db.write(0, move |tx| store::users::insert(tx, &again, "hash")).await.unwrap());
    for name in ["ana", "ANA", "Ana"] {
        let found = store.db.read(move |tx| store::users::by_name(tx, name)).await.unwrap().unwrap();
        assert_eq!((found.user.id, found.user.username.as_str()), (ana, "Ana"));
    }
    // Two at once: one of them gets the name.
    let servers = [store.another().await, store];
    let racing = servers.iter().map(|server| {
        let user = super::person(UserId::new(server.id()), "ben");
        server.db.write(0, move |tx| store::users::insert(tx, &user, "hash"))
    });
    let won = futures_util::future::try_join_all(racing).await.unwrap();
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let room = servers[0].room(ana, Visibility::Private, 0).await;
    let joining = servers.iter().map(|server| {
        let job = move |tx: &mut store::Tx<'_>| {
            let ben = store::users::by_name(tx, "ben")?.unwrap().user.id;
            store::members::insert(tx, room, ben, MemberRole::Member, 0)
        };
        server.db.write(key(room), job)
    });
    let joined = futures_util::future::try_join_all(joining).await.unwrap();
    assert_eq!(joined.iter().filter(|joined| **joined).count(), 1);
    assert_eq!(servers[0].seen_by(room, ana).await.member_count, 2, "counted once");
}
