//! Jobs: together in one transaction, each for itself.

use std::sync::{Arc, Mutex, mpsc};

use mesh_protocol::{RoomId, model::Visibility};
use mesh_server::{
    domain::happening::Happening,
    error::{Error, Kind},
    store,
};
use tokio::sync::oneshot;

use super::{Store, assert_whole, key, on_both, open};
use crate::kit::{Database, soon};

on_both!(
    a_job_that_fails_fails_alone,
    a_failed_statement_is_never_acknowledged,
    jobs_of_a_key_keep_their_order,
    what_is_told_is_committed,
    too_many_jobs_are_refused,
    too_many_readers_are_refused,
    readers_change_nothing,
);

/// Holds the thread behind a room up until what is returned is dropped: what is submitted meanwhile is one group.
async fn hold(store: &Store, room: RoomId) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let (wait, begin) = (Mutex::new(wait), Mutex::new(Some(begin)));
    let job = move |_: &mut store::Tx<'_>| {
        if let Some(begin) = begin.lock().unwrap().take() {
            begin.send(()).unwrap();
        }
        let _ = wait.lock().unwrap().recv();
        Ok(())
    };
    store.db.submit(key(room), job, |_| {});
    soon("a job to begin", begun).await.unwrap();
    go
}

async fn a_job_that_fails_fails_alone(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let line = |content: &str| store.line(room, ana, content);
    let held = hold(&store, room).await;
    let [a, b, c, d, e] = ["a", "refused", "panics", "d", "e"].map(line);
    let first = store.submit(room, move |tx| a.append(tx));
    let refused = store.submit(room, move |tx| {
        b.append(tx)?;
        Err::<(), _>(Error::forbidden("changed, and then refused"))
    });
    let second = store.submit(room, move |tx| d.append(tx));
    let panicked = store.submit(room, move |tx| -> mesh_server::error::Result<()> {
        c.append(tx)?;
        panic!("a bug of this test")
    });
    let says = store.line(room, ana, "said, and then refused");
    let unchanged = store.submit(room, move |tx| {
        says.tell(tx, 3);
        Err::<(), _>(Error::room_not_found())
    });
    let third = store.submit(room, move |tx| e.append(tx));
    drop(held);
    assert_eq!(first.await.unwrap().unwrap(), (1, true));
    assert_eq!(refused.await.unwrap().unwrap_err().kind, Kind::Forbidden);
    assert_eq!(second.await.unwrap().unwrap(), (2, true));
    assert_eq!(panicked.await.unwrap().unwrap_err().kind, Kind::Internal);
    assert_eq!(unchanged.await.unwrap().unwrap_err().kind, Kind::NotFound);
    assert_eq!(third.await.unwrap().unwrap(), (3, true));
    let expected = [(1, "a"), (2, "d"), (3, "e")].map(|(seq, content)| (seq, content.to_owned()));
    assert_eq!(store.log(room).await, expected);
    assert_eq!(store.told(room), expected);
    assert_eq!(store.seen_by(room, ana).await.last_seq, 3);
    assert!(!store.db.failed(), "a job's panic is not the store's");

    // Alone in its group it is the same.
    let b = line("refused");
    let alone = store.submit(room, move |tx| {
        b.append(tx)?;
        Err::<(), _>(Error::forbidden("changed, and then refused"))
    });
    assert_eq!(alone.await.unwrap().unwrap_err().kind, Kind::Forbidden);
    assert_eq!(store.say(line("f")).await.unwrap(), (4, true));
    assert_eq!(store.told(room).len(), 4);
}

async fn a_failed_statement_is_never_acknowledged(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let mut kept = Vec::new();
    // A constraint, a table that is not there, a syntax error, a question that fails.
    for statement in [
        "INSERT INTO users (id) VALUES ('x')",
        "INSERT INTO no_such_table (id) VALUES ('x')",
        "This is no SQL",
        "SELECT no_such_column FROM users",
    ] {
        for together in [false, true] {
            let held = if together { Some(hold(&store, room).await) } else { None };
            let before = store.line(room, ana, &format!("before {statement}"));
            let ignores = store.line(room, ana, "acknowledged by mistake");
            let after = store.line(room, ana, &format!("after {statement}"));
            kept.extend([before.content.clone(), after.content.clone()]);
            let before = store.submit(room, move |tx| before.append(tx));
            let ignoring = store.submit(room, move |tx| {
                let _ = tx.rows(statement, &[]);
                ignores.append(tx).or(Ok((0, false)))
            });
            let ignores = store.line(room, ana, "acknowledged by mistake");
            let ignoring_later = store.submit(room, move |tx| {
                let appended = ignores.append(tx);
                let _ = tx.exec(statement, &[]);
                appended
            });
            let after = store.submit(room, move |tx| after.append(tx));
            drop(held);
            before.await.unwrap().unwrap();
            for ignoring in [ignoring, ignoring_later] {
                let outcome = ignoring.await.unwrap();
                assert_eq!(outcome.map_err(|e| e.kind), Err(Kind::Internal), "{statement}");
            }
            after.await.unwrap().unwrap();
        }
    }
    let log = store.log(room).await;
    assert_whole(&log);
    assert_eq!(log.iter().map(|(_, content)| content).collect::<Vec<_>>(), kept.iter().collect::<Vec<_>>());
    assert_eq!(store.told(room), log);
}

/// A full disk, or one that fails: SQLite takes the whole transaction back in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_takes_back_is_never_acknowledged() {
    let store = Store::new(Database::sqlite()).await;
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let held = hold(&store, room).await;
    let mut answers = Vec::new();
    for content in ["a", "b", "taken back", "c", "d"] {
        let line = store.line(room, ana, content);
        let answer = store.submit(room, move |tx| {
            let appended = line.append(tx)?;
            if line.content == "taken back" {
                tx.exec("INSERT OR ROLLBACK INTO users (id) VALUES ('x')", &[])?;
            }
            Ok(appended)
        });
        answers.push((content, answer));
    }
    drop(held);
    let mut acknowledged = Vec::new();
    for (content, answer) in answers {
        // Only what made SQLite do so fails: the others run again, one by one.
        match answer.await.unwrap() {
            Ok((seq, _)) => acknowledged.push((seq, content.to_owned())),
            Err(_) => assert_eq!(content, "taken back"),
        }
    }
    assert_eq!(acknowledged.len(), 4);
    assert_eq!(store.log(room).await, acknowledged);
    assert_eq!(store.told(room), acknowledged);
    let next = acknowledged.len() as u64 + 1;
    assert_eq!(store.say(store.line(room, ana, "and on")).await.unwrap(), (next, true));
}

async fn jobs_of_a_key_keep_their_order(store: Store) {
    let ana = store.person("ana").await;
    let mut rooms = Vec::new();
    for _ in 0..4 {
        rooms.push(store.room(ana, Visibility::Private, 0).await);
    }
    let mut answers = Vec::new();
    for n in 0..1_000 {
        let room = rooms[n % 4];
        let line = store.line(room, ana, &n.to_string());
        answers.push((n as u64 / 4 + 1, store.submit(room, move |tx| line.append(tx))));
    }
    for (expected, answer) in answers {
        assert_eq!(answer.await.unwrap().unwrap(), (expected, true));
    }
    for room in rooms {
        assert_eq!(store.told(room), store.log(room).await);
    }
}

async fn what_is_told_is_committed(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    // Whoever is told asks the database at once, with a connection of their own.
    let newest: Box<dyn FnMut() -> i64 + Send> = match store.database.sqlite_file() {
        Some(file) => {
            let conn = rusqlite::Connection::open(file).unwrap();
            Box::new(move || conn.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).unwrap())
        }
        None => {
            let url = store.database.url.clone();
            let connect = move || ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap();
            let mut client = tokio::task::spawn_blocking(connect).await.unwrap();
            Box::new(move || client.query_one("SELECT COUNT(*) FROM messages", &[]).unwrap().get(0))
        }
    };
    let newest = Mutex::new(newest);
    let (tell, told) = mpsc::channel();
    let sink = Arc::new(move |happenings: Vec<Happening>| {
        let there = newest.lock().unwrap()();
        let Some(Happening::Change { seq, .. }) = happenings.last() else { panic!("told of nothing") };
        tell.send((*seq as i64, there)).unwrap();
    });
    let db = open(&store.database, sink).await;
    for n in 1..=20 {
        let line = store.line(room, ana, "hello");
        db.write(key(room), move |tx| line.append(tx)).await.unwrap();
        // And whoever has an answer finds it told.
        assert_eq!(told.try_recv().unwrap(), (n, n));
    }
}

/// More than any queue holds.
const MANY: usize = 50_000;

async fn too_many_jobs_are_refused(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let held = hold(&store, room).await;
    let mut accepted = Vec::new();
    let refused = loop {
        let line = store.line(room, ana, "one of many");
        let mut answer = store.submit(room, move |tx| line.append(tx));
        match answer.try_recv() {
            Ok(outcome) => break outcome.unwrap_err(),
            Err(_) => accepted.push(answer),
        }
        assert!(accepted.len() < MANY, "a queue without bounds");
    };
    assert_eq!((refused.kind, refused.code), (Kind::Unavailable, "busy"));
    assert!(refused.retry_after.is_some());
    let line = store.line(room, ana, "one more");
    assert_eq!(store.say(line).await.unwrap_err().kind, Kind::Unavailable);
    // Whoever reads is not held up by those who write.
    assert!(store.log(room).await.is_empty());
    drop(held);
    let count = accepted.len();
    assert!(count > 1_000, "a queue for {count}");
    for answer in accepted {
        soon("a job that was accepted", answer).await.unwrap().unwrap();
    }
    let log = store.log(room).await;
    assert_eq!(log.len(), count, "what was refused is not there");
    assert_whole(&log);
    assert_eq!(store.say(store.line(room, ana, "and on")).await.unwrap(), (count as u64 + 1, true));
}

async fn too_many_readers_are_refused(store: Store) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let mut accepted = Vec::new();
    let refused = loop {
        let wait = wait.clone();
        let mut reading = Box::pin(store.db.read(move |_| {
            let _ = wait.lock().unwrap().recv();
            Ok(())
        }));
        match futures_util::poll!(&mut reading) {
            std::task::Poll::Ready(outcome) => break outcome.unwrap_err(),
            std::task::Poll::Pending => accepted.push(reading),
        }
        assert!(accepted.len() < MANY, "a queue without bounds");
    };
    assert_eq!((refused.kind, refused.code), (Kind::Unavailable, "busy"));
    // Whoever writes is not held up by those who read.
    store.person("ana").await;
    drop(go);
    for reading in accepted {
        soon("a reader that was accepted", reading).await.unwrap();
    }
    store.db.read(store::ping).await.unwrap();
}

async fn readers_change_nothing(store: Store) {
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let line = store.line(room, ana, "from a reader");
    let outcome = store.db.read(move |tx| line.append(tx)).await;
    assert!(outcome.is_err(), "a reader wrote");
    assert!(store.log(room).await.is_empty());
}

/// On SQLite all that a job reads is of one state; whoever asks after a commit sees it, though others still read an older one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_one_state_and_who_asks_later_the_newest() {
    let store = Store::new(Database::sqlite()).await;
    let ana = store.person("ana").await;
    let room = store.room(ana, Visibility::Private, 0).await;
    let last_seq = move |tx: &mut store::Tx<'_>| Ok(store::members::standing(tx, room, ana)?.unwrap().last_seq);
    let (begin, begun) = mpsc::channel::<()>();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    // As many as can read at once: the next one waits for one of their threads.
    let readers: Vec<_> = (0..std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
        .map(|_| {
            let (db, wait, begin) = (store.db.clone(), wait.clone(), Mutex::new(begin.clone()));
            tokio::spawn(async move {
                let job = move |tx: &mut store::Tx<'_>| {
                    let first = last_seq(tx)?;
                    begin.lock().unwrap().send(()).unwrap();
                    let _ = wait.lock().unwrap().recv();
                    Ok((first, last_seq(tx)?))
                };
                db.read(job).await.unwrap()
            })
        })
        .collect();
    let all = readers.len();
    let begun = tokio::task::spawn_blocking(move || (0..all).for_each(|_| begun.recv().unwrap()));
    soon("all readers to begin", begun).await.unwrap();
    assert_eq!(store.say(store.line(room, ana, "news")).await.unwrap(), (1, true));
    let mut late = Box::pin(store.db.read(last_seq));
    assert!(futures_util::poll!(&mut late).is_pending());
    drop(go);
    for reader in readers {
        assert_eq!(soon("a reader", reader).await.unwrap(), (0, 0), "it saw two states");
    }
    assert_eq!(soon("who asked later", late).await.unwrap(), 1, "it saw an older state than it knew of");
}
