//! A room's log: numbers, repetitions, what is unread.

use std::collections::HashMap;

use mesh_protocol::{MessageId, model::Visibility};
use mesh_server::{error::Error, store};

use super::{Line, Store, assert_whole, key, on_both};

on_both!(
    numbers_have_no_holes_under_load,
    servers_share_a_log,
    one_client_id_is_one_message,
    the_race_for_a_client_id_has_one_winner,
    unread_and_mentions_are_counted,
    pages_are_cut_where_asked,
);

/// Numbers that look random, and are the same in every run.
fn scatter(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    n ^ (n >> 27)
}

async fn numbers_have_no_holes_under_load(store: Store) {
    const TASKS: u64 = 50;
    const EACH: u64 = 20;
    let (ana, ben) = (store.person("ana").await, store.person("ben").await);
    let mut rooms = Vec::new();
    for _ in 0..5 {
        let room = store.room(ana, Visibility::Private, 0).await;
        store.join(room, ben).await;
        rooms.push(room);
    }
    let store = std::sync::Arc::new(store);
    let mut running = Vec::new();
    for task in 0..TASKS {
        let (store, rooms) = (store.clone(), rooms.clone());
        running.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for n in 0..EACH {
                let dice = scatter(task * EACH + n);
                let room = rooms[(dice % 5) as usize];
                let who = if dice & 0x100 == 0 { ana } else { ben };
                let mut line = store.line(room, who, &format!("{task}/{n}"));
                let fate = dice >> 32 & 7;
                if fate < 3 {
                    // Few names for many: most are repetitions.
                    line = line.named(&format!("name {}", dice >> 40 & 7));
                }
                let kept = line.clone();
                let outcome = store.db.write(key(room), move |tx| {
                    let appended = line.append(tx)?;
                    match fate {
                        6 => Err(Error::forbidden("changed, and then refused")),
                        7 if n == 0 => panic!("a bug of this test"),
                        _ => Ok(appended),
                    }
                });
                let outcome = outcome.await.ok();
                assert_eq!(outcome.is_none(), fate == 6 || (fate == 7 && n == 0));
                if let Some((seq, true)) = outcome {
                    let told = store.told(room);
                    assert!(told.contains(&(seq, kept.content.clone())), "answered before it was told");
                }
                answers.push((kept, outcome));
            }
            answers
        }));
    }
    let mut answers = Vec::new();
    for task in running {
        answers.extend(task.await.unwrap());
    }
    assert_eq!(answers.len() as u64, TASKS * EACH);
    let mut named: HashMap<(_, _, String), u64> = HashMap::new();
    for room in rooms {
        let log = store.log(room).await;
        assert_whole(&log);
        // The order of commits is the order in which they are told, with no hole and no repeat.
        assert_eq!(store.told(room), log);
        let mut created: Vec<_> = Vec::new();
        for (line, outcome) in answers.iter().filter(|(line, _)| line.room == room) {
            let Some((seq, new)) = *outcome else { continue };
            if new {
                created.push((seq, line.content.clone()));
            }
            if let Some(name) = &line.client_id {
                let first = *named.entry((room, line.user, name.clone())).or_insert(seq);
                assert_eq!(first, seq, "a name for two messages");
            }
        }
        created.sort_unstable();
        assert_eq!(created, log);
        assert_eq!(store.seen_by(room, ana).await.last_seq, log.len() as u64);
    }
    let repeated = answers.iter().filter(|(_, outcome)| matches!(outcome, Some((_, false)))).count();
    assert!(repeated > 50, "only {repeated} repetitions");
}

async fn servers_share_a_log(store: Store) {
    let ana = store.person("ana").await;
    let mut rooms = Vec::new();
    for _ in 0..6 {
        rooms.push(store.room(ana, Visibility::Private, 0).await);
    }
    let other = store.another().await;
    let mut answers = Vec::new();
    for n in 0..600 {
        // In opposite orders: groups lock what the other's wait for.
        for (server, at) in [(&store, n % 6), (&other, 5 - n % 6)] {
            let line = server.line(rooms[at], ana, &n.to_string());
            answers.push(server.submit(rooms[at], move |tx| line.append(tx)));
        }
    }
    for answer in answers {
        assert!(answer.await.unwrap().unwrap().1);
    }
    for room in rooms {
        let log = store.log(room).await;
        assert_whole(&log);
        assert_eq!(log.len(), 200);
        // Each told its own, in order.
        let mut told = store.told(room);
        let others = other.told(room);
        assert!(told.is_sorted() && others.is_sorted());
        told.extend(others);
        told.sort_unstable();
        assert_eq!(told, log);
    }
}

async fn one_client_id_is_one_message(store: Store) {
    let (ana, ben) = (store.person("ana").await, store.person("ben").await);
    let (here, there) = (store.room(ana, Visibility::Private, 0).await, store.room(ana, Visibility::Private, 0).await);
    let line = |room, user, content| store.line(room, user, content);
    assert_eq!(store.say(line(here, ana, "first").named("x")).await.unwrap(), (1, true));
    assert_eq!(store.say(line(here, ana, "again").named("x")).await.unwrap(), (1, false));
    // Another name, another person, another room, or no name at all, is another message.
    assert_eq!(store.say(line(here, ana, "other name").named("X")).await.unwrap(), (2, true));
    assert_eq!(store.say(line(here, ben, "other person").named("x")).await.unwrap(), (3, true));
    assert_eq!(store.say(line(there, ana, "other room").named("x")).await.unwrap(), (1, true));
    assert_eq!(store.say(line(here, ana, "no name")).await.unwrap(), (4, true));
    assert_eq!(store.say(line(here, ana, "no name")).await.unwrap(), (5, true));
    assert_eq!(store.log(here).await[0].1, "first");
    assert_eq!(store.log(here).await.len(), 5);
    assert_eq!(store.told(here).len(), 5);
    // An absent room, and one whose id is taken, are errors and leave nothing.
    let nowhere = Line { room: mesh_protocol::RoomId::NOTHING, ..line(here, ana, "nowhere") };
    assert_eq!(store.say(nowhere).await.unwrap_err().code, "not_found");
    let mut twice = line(here, ana, "the same id");
    let ids: Vec<MessageId> =
        store.db.read(move |tx| store::messages::after(tx, here, 0, 1)).await.unwrap().iter().map(|m| m.id).collect();
    twice.id = ids[0];
    assert_eq!(store.say(twice).await.unwrap_err().code, "internal");
    assert_eq!(store.say(line(here, ana, "the next")).await.unwrap(), (6, true));
}

async fn the_race_for_a_client_id_has_one_winner(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let servers = [store.another().await, store.another().await, store];
    for round in 0..30 {
        let lines: Vec<_> = servers
            .iter()
            .flat_map(|server| {
                (0..4).map(move |n| (server, server.line(room, ana, &format!("{n}")).named(&round.to_string())))
            })
            .collect();
        let racing = lines.into_iter().map(|(server, line)| server.say(line));
        let answers = futures_util::future::try_join_all(racing).await.unwrap();
        assert_eq!(answers.iter().filter(|(_, new)| *new).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|(seq, _)| *seq == round + 1), "{answers:?}");
    }
    assert_eq!(servers[0].log(room).await.len(), 30);
    assert_eq!(servers.iter().map(|server| server.told(room).len()).sum::<usize>(), 30);
}

async fn unread_and_mentions_are_counted(store: Store) {
    let [ana, ben, cat, dan] = {
        let mut people = Vec::new();
        for name in ["ana", "Ben", "cat", "dan"] {
            people.push(store.person(name).await);
        }
        people.try_into().unwrap()
    };
    let room = store.room(ana, Visibility::Public, 0).await;
    store.join(room, ben).await;
    let counts = async |who| {
        let room = store.seen_by(room, who).await;
        (room.last_seq, room.read_seq, room.unread, room.mentions)
    };
    assert_eq!(counts(ben).await, (0, 0, 0, 0));
    // Named: a member, twice; the author; nobody; somebody who is no member.
    let names = ["ben", "ben", "ana", "nobody", "dan"];
    for n in 1..=3 {
        let line = store.line(room, ana, "hello");
        let seq = store.db.write(key(room), move |tx| {
            let (seq, _) = line.append(tx)?;
            let named = store::messages::named(tx, &room.to_string(), &names.map(str::to_owned))?;
            assert_eq!(named, [ben, ana]);
            store::messages::mention(tx, &room.to_string(), seq, &named, ana)?;
            Ok(seq)
        });
        assert_eq!(seq.await.unwrap(), n);
    }
    store.say(store.line(room, ben, "my own")).await.unwrap();
    assert_eq!(counts(ana).await, (4, 0, 1, 0));
    assert_eq!(counts(ben).await, (4, 0, 3, 3));
    // Whoever comes later has read what was before; whoever is no member has nothing to read.
    assert!(store.join(room, cat).await);
    assert!(!store.join(room, cat).await, "a member already");
    assert_eq!(counts(cat).await, (4, 4, 0, 0));
    assert_eq!(counts(dan).await, (4, 0, 0, 0));
    store.say(store.line(room, ana, "news")).await.unwrap();
    assert_eq!(counts(cat).await, (5, 4, 1, 0));
    // What was read, and what was deleted, is not unread.
    let touch = move |tx: &mut store::Tx<'_>| {
        let room = room.to_string();
        tx.exec("UPDATE room_members SET read_seq = 2 WHERE room_id = $1", &[(&room).into()])?;
        tx.exec("UPDATE messages SET deleted_at = 9 WHERE room_id = $1 AND seq = 3", &[(&room).into()])
    };
    store.db.write(key(room), touch).await.unwrap();
    assert_eq!(counts(ben).await, (5, 2, 1, 1));
    let listed = store.db.read(move |tx| store::rooms::list(tx, ben, false, &Default::default(), 9)).await.unwrap();
    assert_eq!((listed.len(), listed[0].0.unread, listed[0].0.mentions), (1, 1, 1));
    assert_eq!(listed[0].0, store.seen_by(room, ben).await);
    assert_eq!(listed[0].0.member_count, 3);
}

async fn pages_are_cut_where_asked(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let other = store.room(ana, Visibility::Private, 0).await;
    for n in 1..=10 {
        store.say(store.line(room, ana, &n.to_string())).await.unwrap();
        store.say(store.line(other, ana, "elsewhere")).await.unwrap();
    }
    let before = async |seq, limit| {
        let page = store.db.read(move |tx| store::messages::before(tx, room, seq, limit)).await.unwrap();
        page.iter().map(|m| m.seq).collect::<Vec<_>>()
    };
    let after = async |seq, limit| {
        let page = store.db.read(move |tx| store::messages::after(tx, room, seq, limit)).await.unwrap();
        page.iter().map(|m| m.seq).collect::<Vec<_>>()
    };
    assert_eq!(before(u64::MAX, 3).await, [8, 9, 10]);
    assert_eq!(before(8, 3).await, [5, 6, 7]);
    assert_eq!(before(3, 3).await, [1, 2]);
    assert!(before(1, 3).await.is_empty() && before(0, 3).await.is_empty() && before(5, 0).await.is_empty());
    assert_eq!(after(0, 3).await, [1, 2, 3]);
    assert_eq!(after(8, 3).await, [9, 10]);
    assert!(after(10, 3).await.is_empty() && after(u64::MAX, 3).await.is_empty());
}
