//! The database's shape, by the command line and at the start.

use std::{collections::HashSet, fs};

use super::{Rest, run, run_on, sql};
use crate::kit::{Binary, Database};

/// What `migrate status` tells: number, whether it is applied, name.
fn status(database: &Database) -> Vec<(u32, bool, String)> {
    let (status, out, errors) = run_on(database, &["migrate", "status"]);
    assert_eq!(status, Some(0), "{errors}");
    out.lines()
        .map(|line| {
            let [number, state, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(["applied", "missing"].contains(&state), "{line}");
            (number.parse().unwrap(), state == "applied", name.to_owned())
        })
        .collect()
}

fn applied(database: &Database) -> Vec<bool> {
    status(database).into_iter().map(|(_, applied, _)| applied).collect()
}

fn succeeds(database: &Database, args: &[&str]) -> String {
    let (status, out, errors) = run_on(database, args);
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{args:?}");
    out
}

/// Runs the binary, which must refuse: the sentence.
fn fails(database: &Database, args: &[&str]) -> String {
    let mut command = Binary::command(database.dir.path());
    command.args(args).env("DATABASE_URL", &database.url).env("MESH_PORT", "0").env("LOG_LEVEL", "OFF");
    let (status, out, errors) = crate::kit::output(command);
    assert_eq!((status, out.as_str()), (Some(1), ""), "{args:?}: {errors}");
    assert!(errors.starts_with("mesh-server: ") && errors.lines().count() == 1, "{errors}");
    errors
}

#[test]
fn up_and_down_and_up() {
    let database = Database::new();
    let list = status(&database);
    assert!(!list.is_empty() && list.iter().all(|(_, applied, _)| !applied), "{list:?}");
    assert!(list.is_sorted_by_key(|(number, ..)| *number));
    let out = succeeds(&database, &["migrate", "up"]);
    assert!(list.iter().all(|(_, _, name)| out.contains(&format!("applied {name}"))), "{out}");
    assert_eq!(succeeds(&database, &["migrate", "up"]), "nothing to do\n");
    assert!(applied(&database).iter().all(|applied| *applied));

    // All of it, or nothing.
    let all = list.len().to_string();
    let refused = fails(&database, &["migrate", "down", &all]);
    assert!(refused.contains(" loses ") && refused.contains("--yes"), "{refused}");
    assert!(applied(&database).iter().all(|applied| *applied), "half of it was taken back");

    let out = succeeds(&database, &["migrate", "down", "--yes"]);
    assert_eq!(out, format!("took back {}\n", list.last().unwrap().2), "one, where no number is given");
    let mut expected = vec![true; list.len()];
    *expected.last_mut().unwrap() = false;
    assert_eq!(applied(&database), expected);
    succeeds(&database, &["migrate", "up"]);

    let out = succeeds(&database, &["migrate", "down", "99", "--yes"]);
    let back: Vec<_> = list.iter().rev().map(|(_, _, name)| format!("took back {name}")).collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), back);
    assert_eq!(status(&database), list);
    assert_eq!(succeeds(&database, &["migrate", "down", "--yes"]), "nothing to do\n");
    for bad in ["0", "-1", "some"] {
        assert_eq!(run_on(&database, &["migrate", "down", bad]).0, Some(2));
    }
    assert_eq!(run_on(&database, &["migrate"]).0, Some(2));

    // A server that starts does the same by itself.
    let server = Binary::start(&database, &[]);
    let (_, log) = server.stop();
    assert!(log.contains(&list[0].2), "{log}");
    assert_eq!(succeeds(&database, &["migrate", "up"]), "nothing to do\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_keeps_what_it_holds() {
    let database = Database::new();
    let server = Binary::start(&database, &[]);
    let ana = Rest::of(&server).register("ana").await;
    server.stop();
    fails(&database, &["migrate", "down", "99"]);
    succeeds(&database, &["migrate", "up"]);
    let server = Binary::start(&database, &[]);
    assert_eq!(Rest::of(&server).me(&ana.token).await.as_deref(), Ok("ana"));
}

#[test]
fn new_ones_get_the_next_number() {
    let dir = tempfile::TempDir::new().unwrap();
    let new = |name: &str| run(dir.path(), &["migrate", "new", name], &[]);
    let (status, _, errors) = new("add_things");
    assert_eq!(status, Some(1));
    assert!(errors.contains("checkout"), "{errors}");
    for dialect in ["common", "sqlite", "postgres"] {
        fs::create_dir_all(dir.path().join("migrations").join(dialect)).unwrap();
    }
    fs::write(dir.path().join("migrations/sqlite/0007_other.up.sql"), "").unwrap();
    let (status, out, errors) = new("add_things");
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let (up, down) = ("migrations/common/0008_add_things.up.sql", "migrations/common/0008_add_things.down.sql");
    assert_eq!(out, format!("{up}\n{down}\n"));
    for file in [up, down] {
        assert!(fs::read_to_string(dir.path().join(file)).unwrap().starts_with("--"));
    }
    assert!(new("and_more").1.contains("0009_and_more.up.sql"));
    for bad in ["", "Big", "../escape", "a b", "é"] {
        let (status, out, errors) = new(bad);
        assert_eq!((status, out.as_str(), errors.lines().count()), (Some(1), "", 1), "{bad}: {errors}");
    }
    assert_eq!(fs::read_dir(dir.path().join("migrations/common")).unwrap().count(), 4);
    // It needs no settings, and no database.
    assert!(!dir.path().join("mesh.db").exists());
}

const ALL: [&[&str]; 4] = [&[], &["migrate", "up"], &["migrate", "down", "--yes"], &["migrate", "status"]];

#[test]
fn a_newer_database_is_refused() {
    let database = Database::new();
    succeeds(&database, &["migrate", "up"]);
    sql(&database, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'from_the_future', 0)");
    for args in ALL {
        let sentence = fails(&database, args);
        assert!(
            sentence.contains("newer than this binary") && sentence.contains("9999 (from_the_future)"),
            "{sentence}"
        );
    }
    // Nothing was touched: without that line it is as good as before.
    sql(&database, "DELETE FROM schema_migrations WHERE version = 9999");
    assert!(applied(&database).iter().all(|applied| *applied));
    Binary::start(&database, &[]).stop();
}

#[test]
fn a_half_migrated_database_is_refused() {
    let database = Database::new();
    succeeds(&database, &["migrate", "up"]);
    sql(&database, "UPDATE schema_migrations SET name = 'another' WHERE version = 1");
    for args in ALL {
        let sentence = fails(&database, args);
        assert!(sentence.contains("half migrated") && sentence.contains("1 (another)"), "{sentence}");
    }
    // A step that another one does not know, between two that it does.
    sql(&database, "UPDATE schema_migrations SET name = 'accounts_rooms_messages', version = 0 WHERE version = 1");
    for args in ALL {
        assert!(fails(&database, args).contains("half migrated"));
    }
    // Tables without a record of how they came: nothing is written over.
    sql(&database, "DELETE FROM schema_migrations");
    for args in [&[] as &[&str], &["migrate", "up"]] {
        let sentence = fails(&database, args);
        assert!(sentence.contains("users") && sentence.contains("already exists"), "{sentence}");
    }
    assert!(applied(&database).iter().all(|applied| !applied), "all or nothing");
}

#[test]
fn what_cannot_be_opened_is_told() {
    let dir = tempfile::TempDir::new().unwrap();
    for (url, words) in [
        ("sqlite:////nowhere/at/all/mesh.db", "/nowhere/at/all/mesh.db"),
        ("postgresql://mesh:hunter2@127.0.0.1:1/mesh", "cannot connect to PostgreSQL"),
        ("sqlite://", "in memory"),
    ] {
        let (status, _, errors) = run(dir.path(), &["migrate", "up"], &[("DATABASE_URL", url)]);
        assert_eq!((status, errors.lines().count()), (Some(1), 1), "{url}: {errors}");
        assert!(errors.contains(words) && !errors.contains("hunter2"), "{errors}");
    }
    fs::write(dir.path().join("mesh.db"), "this is no database, however long it goes on being none. ".repeat(40))
        .unwrap();
    let (status, _, errors) = run(dir.path(), &["migrate", "up"], &[]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("not a database"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_may_start_at_once_on_a_fresh_database() {
    const SERVERS: usize = 4;
    for round in 0..3 {
        let database = Database::new();
        let servers: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..SERVERS).map(|_| scope.spawn(|| Binary::start(&database, &[]))).collect();
            starting.into_iter().map(|server| server.join().unwrap()).collect()
        });
        let ana = Rest::of(&servers[0]).register("ana").await;
        for server in &servers {
            let rest = Rest::of(server);
            assert_eq!(rest.ask("GET", "/ready", None, None).await.0, 200);
            // One database, and one secret.
            assert_eq!(rest.me(&ana.token).await.as_deref(), Ok("ana"), "round {round}");
        }
        let logs: Vec<_> = servers.into_iter().map(Binary::stop).collect();
        let migrated = logs.iter().filter(|(_, log)| log.contains("brought up to date")).count();
        assert_eq!(migrated, 1, "one of them migrates, the others find it done");
        assert!(logs.iter().all(|(status, _)| status.code() == Some(0)));
        let numbers: HashSet<_> = status(&database).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(numbers.len(), applied(&database).len());
    }
}
