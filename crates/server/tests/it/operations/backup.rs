//! `backup`, `backup verify` and `restore`, with the real binary beside a real server.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use crate::{
    kit::{Binary, Database, Peer, output},
    process::Rest,
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
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    let mut peer = Peer::connect(&rest.base, &ana.token).await;
    peer.hello().await;
    peer.join(&room).await;
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

    let holed = kept("holed.db");
    sql(&holed, "PRAGMA foreign_keys = OFF; DELETE FROM messages WHERE seq = 7");
    assert!(verify(&holed).contains("holes in their log"));
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

    let mut memory = Database::sqlite();
    memory.url = "sqlite://".to_owned();
    let gone = refused(&memory, &["backup", "x.db"]);
    assert!(gone.contains("in memory"), "{gone}");
}
