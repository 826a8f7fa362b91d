//! Databases of earlier releases, and servers of two versions on one database.
//!
//! `tests/fixtures/NNNN.{sqlite,postgres}.sql` are what the binaries of that time left behind; `make.py` beside them makes
//! those of a new release.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mesh_server::store::migrate::{Dialect, MIGRATIONS};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    kit::{Account, Binary, Database, Peer, output, postgres_url, skipped},
    process::{Rest, in_a_room},
};

/// What every fixture's house was made with.
const SECRET: &str = "the secret of the houses in these files";
const PASSWORD: &str = "correct horse battery";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The fixtures of one kind, oldest first.
fn fixtures(kind: &str) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(version) = name.strip_suffix(&format!(".{kind}.sql")) {
            found.push((version.parse().unwrap(), std::fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    assert!(found.len() >= 2 && found[0].0 == 5, "{:?}", found.iter().map(|f| f.0).collect::<Vec<_>>());
    found
}

fn sql(database: &Database, text: String) {
    match database.sqlite_file() {
        Some(file) => rusqlite::Connection::open(file).unwrap().execute_batch(&text).unwrap(),
        None => {
            let url = database.url.clone();
            // The synchronous client must not run on a runtime's thread.
            std::thread::spawn(move || {
                postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&text).unwrap()
            })
            .join()
            .unwrap();
        }
    }
}

fn migrate(database: &Database, args: &[&str]) -> String {
    let mut command = Binary::command(database.dir.path());
    command.arg("migrate").args(args).env("DATABASE_URL", &database.url);
    let (status, out, errors) = output(command);
    assert_eq!(status, Some(0), "{errors}");
    out
}

async fn login(rest: &Rest, name: &str) -> Account {
    let body = json!({"username": name, "password": PASSWORD});
    let (status, answer) = rest.ask("POST", "/api/auth/login", None, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Account { id: text(&answer["user"]["id"]), name: name.to_owned(), token: text(&answer["access_token"]) }
}

/// The house is whole, and works: `said` more messages were said since it was made.
async fn works(database: &Database, said: usize) {
    let server = Binary::start(database, &[("MESH_JWT_SECRET", SECRET)]);
    let rest = Rest::of(&server);
    let (ana, ben) = (login(&rest, "ana").await, login(&rest, "ben").await);
    let (_, me) = rest.ask("GET", "/api/auth/me", Some(&ana.token), None).await;
    assert_eq!((&me["role"], &me["display_name"]), (&json!("admin"), &json!("ana")), "{me}");
    let (status, rooms) = rest.ask("GET", "/api/rooms", Some(&ben.token), None).await;
    assert_eq!(status, 200, "{rooms}");
    let rooms: BTreeMap<&str, &Value> =
        rooms.as_array().unwrap().iter().map(|room| (room["name"].as_str().unwrap(), room)).collect();
    let kitchen = rooms["Kitchen"]["id"].as_str().unwrap();
    assert_eq!(rooms.keys().collect::<Vec<_>>(), [&"Kitchen"], "ben is not a member of Attic");
    let log = rest.messages(&ana, kitchen).await;
    assert_eq!(log.len(), 30 + said);
    for (at, message) in log.iter().enumerate() {
        assert_eq!(message["seq"], at as u64 + 1);
        if at < 30 {
            let who = if at % 3 == 0 { "ben" } else { "ana" };
            assert_eq!(message["content"], format!("message {at} à l'été \u{1f372}"));
            assert_eq!(message["author"]["username"].as_str().or(message["username"].as_str()).unwrap_or(who), who);
        }
    }
    let path = format!("/api/rooms/{kitchen}/messages");
    let body = json!({"content": format!("said later {said}")});
    assert_eq!(rest.ask("POST", &path, Some(&ben.token), Some(body)).await.0, 201);
    let (status, found) = rest.ask("GET", &format!("{path}/search?q=ete"), Some(&ben.token), None).await;
    assert_eq!((status, found.as_array().map_or(0, Vec::len)), (200, 30), "{found}");
    let mut peer = Peer::connect(&rest.base, &ben.token).await;
    peer.hello().await;
    peer.ask("room.join", json!({"room_id": kitchen, "since_seq": 29})).await;
    for seq in 30..=31 + said {
        assert_eq!(peer.next_of("chat.message.created").await["payload"]["message"]["seq"], seq);
    }
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

async fn upgrades(database: Database, version: i64, dump: String) {
    sql(&database, dump);
    let newest = MIGRATIONS.iter().map(|m| m.version).max().unwrap();
    let before = migrate(&database, &["status"]);
    assert_eq!(before.contains("missing"), version < newest, "{before}");
    works(&database, 0).await;
    assert!(!migrate(&database, &["status"]).contains("missing"));
    // One step down and up again: what the newest step added may be lost, and nothing else.
    let back = migrate(&database, &["down", "--yes"]);
    assert_eq!(back.lines().count(), 1, "{back}");
    migrate(&database, &["up"]);
    works(&database, 1).await;
    // All the way back to where it came from, and up.
    let status = migrate(&database, &["status"]);
    let later = status.lines().filter(|line| line[..4].parse::<i64>().unwrap() > version).count();
    if later > 0 {
        migrate(&database, &["down", &later.to_string(), "--yes"]);
        assert_eq!(migrate(&database, &["status"]), before);
        works(&database, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn houses_of_earlier_releases_move_in_on_sqlite() {
    for (version, dump) in fixtures("sqlite") {
        upgrades(Database::sqlite(), version, dump).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn houses_of_earlier_releases_move_in_on_postgres() {
    let Some(server) = postgres_url() else { return skipped("upgrades on PostgreSQL", "MESH_TEST_POSTGRES_URL") };
    for (version, dump) in fixtures("postgres") {
        upgrades(Database::postgres(&server), version, dump).await;
    }
}

/// A database somewhere holds what they made: a released migration never changes.
#[test]
fn released_migrations_are_as_they_were() {
    let released = std::fs::read_to_string(folder().join("released.txt")).unwrap();
    let mut known = 0;
    for line in released.lines().filter(|line| !line.starts_with('#')) {
        let (hash, name) = line.split_once("  ").unwrap();
        let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(name)).unwrap();
        let found: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hash, "{name} was changed: make a new migration instead");
        known += 1;
    }
    assert!(known >= 31, "{known}");
}

/// A rolling upgrade: while a newer server has brought the database further, this one goes on. It stands for the older.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_works_on_while_a_newer_one_expands_the_schema() {
    let database = Database::new();
    let (server, rest, ana, room, mut peer) = in_a_room(&database, &[]).await;
    peer.say(&room, "before").await;
    // What an expanding migration may do: tables, columns that may be left out, indexes.
    let expand = "CREATE TABLE future_things (id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE); \
        ALTER TABLE users ADD COLUMN future TEXT; \
        ALTER TABLE rooms ADD COLUMN future BIGINT NOT NULL DEFAULT 0; \
        ALTER TABLE messages ADD COLUMN future TEXT; \
        ALTER TABLE sessions ADD COLUMN future BIGINT; \
        CREATE INDEX messages_future ON messages (room_id, created_at); \
        INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'from_the_future', 0); \
        UPDATE messages SET future = 'written by the newer one'";
    sql(&database, expand.to_owned());
    peer.say(&room, "after").await;
    let ben = rest.register("ben").await;
    assert_eq!(rest.me(&ben.token).await.as_deref(), Ok("ben"));
    rest.room(&ben, "Attic").await;
    assert_eq!(rest.messages(&ana, &room).await.len(), 2);
    let mut again = Peer::connect(&rest.base, &ana.token).await;
    again.hello().await;
    again.ask("room.join", json!({"room_id": room, "since_seq": 0})).await;
    for content in ["before", "after"] {
        assert_eq!(again.next_of("chat.message.created").await["payload"]["message"]["content"], content);
    }
    let found = rest.ask("GET", &format!("/api/rooms/{room}/messages/search?q=after"), Some(&ana.token), None).await;
    assert_eq!((found.0, found.1.as_array().map_or(0, Vec::len)), (200, 1), "{}", found.1);
    assert_eq!(rest.ask("GET", "/ready", None, None).await.0, 200);
    let (status, log) = server.stop();
    assert!(status.success() && !log.contains("ERROR"), "{log}");
    // Once it has stopped, the older one is not for this database any more, and says so.
    let mut command = Binary::command(database.dir.path());
    command.envs([("DATABASE_URL", database.url.as_str()), ("MESH_PORT", "0")]);
    let (status, _, errors) = output(command);
    assert_eq!(status, Some(1));
    assert!(errors.contains("newer than this binary"), "{errors}");
}

/// A server from before 0011 fills no `name_key`: whoever it adds beside this one is told of all the same.
#[tokio::test(flavor = "multi_thread")]
async fn whom_an_older_server_adds_is_seen_by_the_newer_one() {
    let database = Database::new();
    migrate(&database, &["up"]);
    // Nothing of 0013 is there yet, so that its way up has something to mend.
    let later = MIGRATIONS.iter().filter(|m| m.version >= 13 && m.dialect != other(&database)).count();
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let (ana, ben, cyd) = (rest.register("ana").await, rest.register("ben").await, rest.register("cyd").await);
    let room = rest.room(&ana, "Kitchen").await;
    let add = |who: &Account| {
        let (id, room) = (&who.id, &room);
        sql(
            &database,
            format!(
                "INSERT INTO room_members (room_id, user_id, role, joined_at, read_seq) \
            VALUES ('{room}', '{id}', 'member', 1, 0); UPDATE rooms SET member_count = member_count + 1 WHERE id = '{room}'"
            ),
        );
    };
    let path = format!("/api/rooms/{room}/members");
    let listed = |answer: Value| -> Vec<String> {
        answer.as_array().unwrap().iter().map(|m| m["username"].as_str().unwrap().to_owned()).collect()
    };
    add(&ben);
    let (status, members) = rest.ask("GET", &path, Some(&ana.token), None).await;
    assert_eq!((status, listed(members)), (200, vec!["ana".to_owned(), "ben".to_owned()]));
    let body = json!({"content": "@ben soup is ready"});
    let (_, said) = rest.ask("POST", &format!("/api/rooms/{room}/messages"), Some(&ana.token), Some(body)).await;
    assert_eq!(said["mentions"], json!([ben.id]), "{said}");
    let (status, log) = server.stop();
    assert!(status.success() && !log.contains("ERROR"), "{log}");

    migrate(&database, &["down", &later.to_string(), "--yes"]);
    add(&cyd);
    let server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let (_, members) = rest.ask("GET", &path, Some(&ana.token), None).await;
    assert_eq!(listed(members), ["ana", "ben", "cyd"]);
    server.stop();
}

/// The database's kind that a migration of the other kind is for.
fn other(database: &Database) -> Dialect {
    if database.sqlite_file().is_some() { Dialect::Postgres } else { Dialect::Sqlite }
}

/// PostgreSQL refuses statements that were prepared before what they answer with was changed, for as long as the connection
/// lives: the older server, which goes on beside a newer one, prepares them anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_prepares_anew_what_a_newer_one_has_changed() {
    let Some(url) = postgres_url() else { return skipped("statements that are stale", "MESH_TEST_POSTGRES_URL") };
    let database = Database::postgres(&url);
    let (server, rest, ana, room, mut peer) = in_a_room(&database, &[]).await;
    // Often enough that each of the server's connections has met them.
    let all = async |upto: usize| {
        for n in 0..40 {
            assert_eq!(rest.ask("GET", "/api/rooms", Some(&ana.token), None).await.0, 200);
            assert_eq!(rest.ask("GET", &format!("/api/rooms/{room}"), Some(&ana.token), None).await.0, 200);
            let (status, made) =
                rest.ask("POST", "/api/rooms", Some(&ana.token), Some(json!({"name": format!("r{n}")}))).await;
            assert_eq!(status, 201, "{made}");
            let path = format!("/api/rooms/{}", made["id"].as_str().unwrap());
            let (status, changed) = rest.ask("PATCH", &path, Some(&ana.token), Some(json!({"name": "Attic"}))).await;
            assert_eq!(status, 200, "{changed}");
        }
        assert_eq!(rest.messages(&ana, &room).await.len(), upto);
    };
    peer.say(&room, "before").await;
    all(1).await;
    for (turn, order) in ["C", "default"].into_iter().enumerate() {
        // What 0012 does, there and back.
        sql(&database, format!("ALTER TABLE rooms ALTER COLUMN id TYPE TEXT COLLATE \"{order}\""));
        peer.say(&room, "after").await;
        all(turn + 2).await;
    }
    let (status, log) = server.stop();
    assert!(status.success() && !log.contains("ERROR"), "{log}");
}
