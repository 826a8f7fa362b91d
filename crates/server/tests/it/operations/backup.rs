//! `backup`, `backup verify` and `restore`, with the real binary beside a real server.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    kit::{Binary, Database, EXE, output},
    process::{Rest, in_a_room},
};

fn run(database: &Database, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Binary::command(database.dir.path());
    command.args(args).env("DATABASE_URL", &database.url);
    output(command)
}

/// Runs what must be refused; the sentence.
fn refused(database: &Database, args: &[&str]) -> String {
    let (status, out, errors) = run(database, args);
    assert_eq!((status, out.as_str()), (Some(1), ""), "{args:?}: {errors}");
    errors
}

fn sql(path: &Path, text: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_comes_back() {
    let database = Database::sqlite();
    let (server, rest, ana, room, mut peer) = in_a_room(&database, &[]).await;
    for n in 0..50 {
        peer.say(&room, &format!("before {n}")).await;
    }
    let file = database.dir.path().join("kept.db");
    std::fs::write(&file, "an older backup").unwrap();
    let kept = file.to_str().unwrap().to_owned();
    // Somebody goes on talking while the copy is made.
    let (begun, saved) = tokio::join!(
        async {
            for n in 0..200 {
                peer.say(&room, &format!("meanwhile {n}")).await;
            }
            peer
        },
        async {
            let args = ["backup".to_owned(), kept.clone()];
            let (url, dir) = (database.url.clone(), database.dir.path().to_owned());
            tokio::task::spawn_blocking(move || {
                let mut command = Binary::command(&dir);
                command.args(args).env("DATABASE_URL", url);
                output(command)
            })
            .await
            .unwrap()
        }
    );
    drop(begun);
    assert_eq!(saved.0, Some(0), "{saved:?}");
    assert!(saved.1.contains("whole") && saved.1.contains("1 users, 1 rooms"), "{}", saved.1);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(database.dir.path()).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.contains(".part")));

    // Not while somebody uses the database, and not over one unasked.
    assert!(refused(&database, &["restore", &kept]).contains("--replace"));
    assert!(refused(&database, &["restore", &kept, "--replace"]).contains("in use"));
    let all = rest.messages(&ana, &room).await;
    assert_eq!(all.len(), 250);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let (status, out, errors) = run(&database, &["restore", &kept, "--replace"]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(out.contains("mesh.db.replaced"), "{out}");
    let server = Binary::start(&database, &[]);
    let back = Rest::of(&server).messages(&ana, &room).await;
    assert!((50..=250).contains(&back.len()) && back[..] == all[..back.len()], "a moment of the past, without holes");
    let path = format!("/api/rooms/{room}/messages");
    let body = json!({"content": "and on"});
    assert_eq!(Rest::of(&server).ask("POST", &path, Some(&ana.token), Some(body)).await.0, 201);
    server.stop();
    assert!(refused(&database, &["restore", &kept, "--replace"]).contains("earlier restore"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_found() {
    let database = Database::sqlite();
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    for n in 0..20 {
        let body = json!({"content": format!("m{n}")});
        let path = format!("/api/rooms/{room}/messages");
        assert_eq!(rest.ask("POST", &path, Some(&ana.token), Some(body)).await.0, 201);
    }
    server.stop();
    let kept = |name: &str| {
        let path = database.dir.path().join(name);
        let (status, _, errors) = run(&database, &["backup", path.to_str().unwrap()]);
        assert_eq!(status, Some(0), "{errors}");
        path
    };
    let verify = |path: &Path| refused(&database, &["backup", "verify", path.to_str().unwrap()]);

    let whole = kept("whole.db");
    let (status, out, _) = run(&database, &["backup", "verify", whole.to_str().unwrap()]);
    assert!(status == Some(0) && out.contains("20 messages"), "{out}");
    let told = |args: &[&str]| {
        let (status, out, errors) = run(&database, args);
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}{errors}"));
        (status, told)
    };
    let (status, found) = told(&["backup", "verify", whole.to_str().unwrap(), "--json"]);
    assert_eq!((status, &found["whole"], &found["older"]), (Some(0), &json!(true), &json!(false)));
    assert_eq!((&found["users"], &found["rooms"], &found["messages"]), (&json!(1), &json!(1), &json!(20)), "{found}");
    let again = database.dir.path().join("again.db");
    assert_eq!(told(&["backup", again.to_str().unwrap(), "--json"]).1["messages"], 20);

    let holed = kept("holed.db");
    sql(&holed, "PRAGMA foreign_keys = OFF; DELETE FROM messages WHERE seq = 7");
    assert!(verify(&holed).contains("holes in their log"));
    let (status, found) = told(&["backup", "verify", holed.to_str().unwrap(), "--json"]);
    assert_eq!((status, &found["whole"]), (Some(1), &json!(false)));
    assert!(found["why"].as_str().unwrap().contains("holes"), "{found}");
    assert!(refused(&database, &["restore", holed.to_str().unwrap(), "--replace"]).contains("holes"));

    let newer = kept("newer.db");
    sql(&newer, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'later', 0)");
    assert!(verify(&newer).contains("newer"));

    let torn = kept("torn.db");
    let mut bytes = std::fs::read(&torn).unwrap();
    let half = bytes.len() / 2;
    bytes[4096..half].fill(0);
    std::fs::write(&torn, bytes).unwrap();
    let words = verify(&torn);
    assert!(words.contains("damaged") || words.contains("malformed"), "{words}");

    let other = database.dir.path().join("other.db");
    sql(&other, "CREATE TABLE thing (id INTEGER)");
    assert!(verify(&other).contains("no database of Mesh Server"));
    assert!(verify(&database.dir.path().join("none.db")).contains("none.db"));

    // What was there is kept, and told.
    let (status, found) = told(&["restore", whole.to_str().unwrap(), "--replace", "--json"]);
    assert_eq!((status, &found["restored"]), (Some(0), &json!(true)));
    let old = found["kept"].as_str().unwrap();
    assert!(old.ends_with("mesh.db.replaced") && Path::new(old).exists(), "{found}");
    let (status, out, _) = run(&database, &["backup", "verify", database.sqlite_file().unwrap().to_str().unwrap()]);
    assert!(status == Some(0) && out.contains("20 messages"), "{out}");

    let mut memory = Database::sqlite();
    memory.url = "sqlite://".to_owned();
    let gone = refused(&memory, &["backup", "x.db"]);
    assert!(gone.contains("in memory"), "{gone}");
}

/// A copy in the place of the database would take it from the server that has it open.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_never_takes_the_databases_own_place() {
    let database = Database::sqlite();
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    let file = database.sqlite_file().unwrap();
    let (soft, hard) = (database.dir.path().join("soft.db"), database.dir.path().join("hard.db"));
    std::os::unix::fs::symlink(&file, &soft).unwrap();
    std::fs::hard_link(&file, &hard).unwrap();
    let beside = file.with_file_name("mesh.db-wal");
    assert!(beside.exists());
    let path = format!("/api/rooms/{room}/messages");
    for to in [&file, &soft, &hard, &beside] {
        let told = refused(&database, &["backup", to.to_str().unwrap()]);
        assert!(told.contains("belongs to the database itself"), "{told}");
        let body = json!({"content": "said after that"});
        assert_eq!(rest.ask("POST", &path, Some(&ana.token), Some(body)).await.0, 201);
    }
    server.stop();
    std::fs::remove_file(hard).unwrap();
    let server = Binary::start(&database, &[]);
    assert_eq!(Rest::of(&server).messages(&ana, &room).await.len(), 4);
    server.stop();
}

/// A damaged database is what backups are there for. Its log, and one that was left behind, never get into the new file.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_the_place_of_what_is_damaged_or_gone() {
    let database = Database::sqlite();
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    let path = format!("/api/rooms/{room}/messages");
    let say = async |content: &str| {
        assert_eq!(rest.ask("POST", &path, Some(&ana.token), Some(json!({"content": content}))).await.0, 201);
    };
    say("kept").await;
    let (file, kept) = (database.sqlite_file().unwrap(), database.dir.path().join("kept.db"));
    let kept = kept.to_str().unwrap();
    assert_eq!(run(&database, &["backup", kept]).0, Some(0));
    for n in 0..20 {
        say(&format!("later {n}")).await;
    }
    let log = std::fs::read(file.with_file_name("mesh.db-wal")).unwrap();
    assert!(!log.is_empty());
    let ruin = || {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[..100].fill(0x55);
        std::fs::write(&file, bytes).unwrap();
    };
    ruin();
    // Whether somebody has it open does not depend on what stands in it.
    assert!(refused(&database, &["restore", kept, "--replace"]).contains("in use"));
    server.stop();
    ruin();
    std::fs::write(file.with_file_name("mesh.db-wal"), &log).unwrap();

    let whole = async || {
        assert!(!file.with_file_name("mesh.db-wal").exists());
        let server = Binary::start(&database, &[]);
        let found = Rest::of(&server).messages(&ana, &room).await;
        assert_eq!(found.iter().map(|m| m["content"].as_str().unwrap()).collect::<Vec<_>>(), ["kept"]);
        let (status, log) = server.stop();
        assert!(status.success(), "{log}");
        assert_eq!(run(&database, &["backup", "verify", file.to_str().unwrap()]).0, Some(0));
    };
    let (status, _, errors) = run(&database, &["restore", kept, "--replace"]);
    assert_eq!(status, Some(0), "{errors}");
    assert_eq!(
        std::fs::read(file.with_file_name("mesh.db.replaced-wal")).unwrap(),
        log,
        "for whoever wants to save it"
    );
    whole().await;

    // The file was taken away, and its log was forgotten.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(file.with_file_name("mesh.db-wal"), &log).unwrap();
    assert!(refused(&database, &["restore", kept]).contains("earlier restore"));
    for name in ["mesh.db.replaced", "mesh.db.replaced-wal"] {
        std::fs::remove_file(file.with_file_name(name)).unwrap();
    }
    let (status, _, errors) = run(&database, &["restore", kept]);
    assert_eq!(status, Some(0), "{errors}");
    whole().await;
}

/// Who watches sees how far it is, in tenths; a program's log is left alone.
#[test]
fn a_terminal_sees_how_far_a_backup_is() {
    let database = Database::sqlite();
    assert_eq!(run(&database, &["migrate", "up"]).0, Some(0));
    sql(
        &database.sqlite_file().unwrap(),
        "CREATE TABLE ballast (text TEXT); WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 1999) \
            INSERT INTO ballast SELECT hex(randomblob(4000)) FROM n",
    );
    let (status, _, errors) = run(&database, &["backup", "kept.db"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let mut command = Command::new("script");
    command.args(["-qefc", &format!("{EXE} backup kept.db"), "/dev/null"]).stdin(Stdio::null());
    command.current_dir(database.dir.path()).env("DATABASE_URL", &database.url);
    let (status, out, errors) = output(command);
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{out}");
    let told: Vec<i64> = out.lines().filter_map(|line| line.split_once(" % of ")?.0.parse().ok()).collect();
    assert!(told.len() > 3 && told.is_sorted() && told.last() == Some(&100), "{out}");
    assert!(out.contains("whole"), "{out}");
}
