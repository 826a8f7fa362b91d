//! `mesh-server db copy`: SQLite to PostgreSQL and back, with the real binary. What is in both is compared by this test's own
//! reading, not by the program's.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::kit::{Account, Binary, Database, EXE, Peer, Server, output, postgres_url, skipped};

/// What a database keeps for itself.
const OWN: &[&str] = &["schema_migrations", "search_index"];

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Binary::command(Path::new("/"));
    // As long as it takes: 100,000 messages on a busy machine.
    let done = command.args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// Copies, which must succeed; each table's rows and hash.
fn copied(from: &Database, to: &Database) -> BTreeMap<String, (u64, String)> {
    let (status, out, errors) = run(&["db", "copy", &from.url, &to.url, "--verify", "--json"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["verified"], true);
    let of = |t: &Value| {
        let text = |name: &str| t[name].as_str().unwrap().to_owned();
        (text("table"), (t["rows"].as_u64().unwrap(), text("hash")))
    };
    told["tables"].as_array().unwrap().iter().map(of).collect()
}

fn refused(from: &str, to: &str, status: i32) -> String {
    let (found, out, errors) = run(&["db", "copy", from, to, "--verify"]);
    assert_eq!((found, out.as_str()), (Some(status), ""), "{errors}");
    assert!(errors.starts_with("mesh-server: ") && errors.lines().count() == 1, "{errors}");
    errors
}

fn both(what: &str) -> Option<(Database, Database, Database)> {
    let Some(server) = postgres_url() else {
        skipped(what, "MESH_TEST_POSTGRES_URL");
        return None;
    };
    // An order of texts that is not that of their bytes.
    let locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'";
    Some((Database::sqlite(), Database::postgres_with(&server, locale), Database::sqlite()))
}

type Tables = BTreeMap<String, BTreeMap<String, Column>>;

#[derive(Debug, Clone, Default)]
struct Column {
    text: bool,
    nullable: bool,
    /// The table and column that it points at.
    points_at: Option<(String, String)>,
}

/// Every table of an SQLite database, read from its catalog.
fn tables(conn: &rusqlite::Connection) -> Tables {
    let sql = "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM pragma_table_list t \
        JOIN pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.type = 'table'";
    let mut tables = Tables::new();
    let mut asked = conn.prepare(sql).unwrap();
    let mut rows = asked.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (table, column): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let (kind, required, key): (String, bool, i64) =
            (row.get(2).unwrap(), row.get(3).unwrap(), row.get(4).unwrap());
        let own = OWN.contains(&table.as_str()) || table.starts_with("sqlite_") || column == "doc";
        if !own {
            let nullable = !required && key == 0;
            let found = Column { text: kind == "TEXT", nullable, points_at: None };
            tables.entry(table).or_default().insert(column, found);
        }
    }
    for (name, columns) in &mut tables {
        let mut asked = conn.prepare("SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list($1)").unwrap();
        let mut rows = asked.query([name]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let column: String = row.get(0).unwrap();
            columns.get_mut(&column).unwrap().points_at = Some((row.get(1).unwrap(), row.get(2).unwrap()));
        }
    }
    tables
}

/// What is to stand in a column of a made-up row: other values in each row, the same where one points at the other.
fn made_up(tables: &Tables, table: &str, column: &str, row: usize) -> String {
    let here = &tables[table][column];
    match &here.points_at {
        Some((table, column)) => made_up(tables, table, column, row),
        None if here.text => format!("'{table}.{column} {row} é\u{1f980}'' \"\\ B'"),
        None => format!("{}", 1_000_000_007_i64 * (row as i64 + 1) + column.len() as i64),
    }
}

/// Fills every table: rows with every column, and then one with as few as may be.
fn fill(conn: &rusqlite::Connection) -> Tables {
    const ROWS: usize = 301;
    let tables = tables(conn);
    // Which table comes first is of no interest here.
    conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN").unwrap();
    for (table, columns) in &tables {
        for row in 0..ROWS {
            let value = |(name, column): (&String, &Column)| {
                let nothing = row == ROWS - 1 && column.nullable && column.points_at.is_none();
                if nothing { "NULL".to_owned() } else { made_up(&tables, table, name, row) }
            };
            let names = columns.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
            conn.execute_batch(&format!("INSERT INTO {table} ({names}) VALUES ({values})")).unwrap();
        }
    }
    conn.execute_batch("COMMIT").unwrap();
    tables
}

/// Every row of a table as text, its columns in the order of their names.
type Rows = BTreeMap<String, BTreeSet<Vec<Option<String>>>>;

fn wanted(tables: &Tables) -> Vec<(String, usize, String)> {
    let of = |(table, columns): (&String, &BTreeMap<String, Column>)| {
        let cells = columns.keys().map(|name| format!("CAST(\"{name}\" AS TEXT)")).collect::<Vec<_>>().join(", ");
        (table.clone(), columns.len(), format!("SELECT {cells} FROM \"{table}\""))
    };
    tables.iter().map(of).collect()
}

fn rows_of_sqlite(database: &Database, tables: &Tables) -> Rows {
    let conn = rusqlite::Connection::open(database.sqlite_file().unwrap()).unwrap();
    let read = |(table, width, sql): (String, usize, String)| {
        let mut asked = conn.prepare(&sql).unwrap();
        let found = asked.query_map([], |row| (0..width).map(|at| row.get(at)).collect::<Result<Vec<_>, _>>());
        (table, found.unwrap().map(Result::unwrap).collect())
    };
    wanted(tables).into_iter().map(read).collect()
}

fn rows_of_postgres(database: &Database, tables: &Tables) -> Rows {
    let (url, wanted) = (database.url.clone(), wanted(tables));
    // The synchronous client must not run on a runtime's thread.
    let asked = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let mut read = |(table, width, sql): (String, usize, String)| {
            let found = client.query(&sql, &[]).unwrap();
            (table, found.iter().map(|row| (0..width).map(|at| row.get(at)).collect()).collect())
        };
        wanted.into_iter().map(&mut read).collect()
    });
    asked.join().unwrap()
}

/// Whatever tables and columns there will be: each has rows here, and each comes along.
#[test]
fn every_table_and_column_comes_along_both_ways() {
    let Some((here, there, back)) = both("a copy of every table") else { return };
    let mut command = Binary::command(here.dir.path());
    command.args(["migrate", "up"]).env("DATABASE_URL", &here.url);
    assert_eq!(output(command).0, Some(0));
    let conn = rusqlite::Connection::open(here.sqlite_file().unwrap()).unwrap();
    let tables = fill(&conn);
    assert!(tables.len() > 20 && tables["rooms"].contains_key("purged_seq"), "{tables:?}");
    // Rooms that were deleted have no log to be looked at; the one that was not has an empty one.
    conn.execute_batch("UPDATE rooms SET last_seq = purged_seq WHERE deleted_at IS NULL; DELETE FROM room_changes WHERE \
        room_id IN (SELECT id FROM rooms WHERE deleted_at IS NULL); DELETE FROM messages WHERE room_id IN (SELECT id FROM \
        rooms WHERE deleted_at IS NULL)").unwrap();
    drop(conn);

    let first = copied(&here, &there);
    let whole = rows_of_sqlite(&here, &tables);
    assert!(whole.values().all(|rows| rows.len() >= 300), "a table is empty");
    assert_eq!(rows_of_postgres(&there, &tables), whole);
    let second = copied(&there, &back);
    assert_eq!(rows_of_sqlite(&back, &tables), whole);
    assert_eq!(first, second, "the same hashes both ways");
    assert_eq!(first.keys().collect::<Vec<_>>(), tables.keys().collect::<Vec<_>>());
    for (table, (rows, _)) in &first {
        assert_eq!(*rows, whole[table].len() as u64, "{table}");
    }
    let hashes: BTreeSet<_> = first.values().map(|(_, hash)| hash).collect();
    assert_eq!(hashes.len(), first.len());

    // The index of words is made anew.
    let conn = rusqlite::Connection::open(back.sqlite_file().unwrap()).unwrap();
    let counted = "SELECT (SELECT COUNT(*) FROM messages_fts_docsize), (SELECT COUNT(*) FROM messages WHERE content <> ''), \
        (SELECT upto FROM search_index) - (SELECT MAX(doc) FROM messages)";
    let (indexed, messages, behind): (i64, i64, i64) =
        conn.query_row(counted, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!((indexed, behind), (messages, 0));

    // Twice is once too often, and changes nothing.
    assert!(refused(&here.url, &there.url, 1).contains("not empty"));
    assert_eq!(rows_of_postgres(&there, &tables), whole);
}

#[test]
fn what_cannot_be_copied_is_refused_and_leaves_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let url = |name: &str| format!("sqlite:///{}", dir.path().join(name).display());
    let (house, empty) = (url("house.db"), url("new.db"));
    let migrate = |url: &str, args: &[&str]| {
        let mut command = Binary::command(dir.path());
        command.arg("migrate").args(args).env("DATABASE_URL", url);
        assert_eq!(output(command).0, Some(0));
    };
    migrate(&house, &["up"]);
    let is_new = || {
        !dir.path().join("new.db").exists() || {
            let conn = rusqlite::Connection::open(dir.path().join("new.db")).unwrap();
            conn.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).unwrap() == 0
        }
    };

    assert!(refused(&url("none.db"), &empty, 1).contains("there is no"));
    assert!(!dir.path().join("none.db").exists());
    assert!(refused(&house, &house, 1).contains("same database"));
    assert!(refused("sqlite://", &empty, 2).contains("FROM"));
    assert!(refused(&house, "mysql://h/d", 2).contains("TO: expected"));
    assert!(refused(&house, "@/nowhere", 2).contains("/nowhere"));
    assert!(is_new());

    // A password that stands in a file is told nowhere.
    std::fs::write(dir.path().join("url"), "postgresql://mesh:hunter2@127.0.0.1:1/mesh\n").unwrap();
    let named = format!("@{}", dir.path().join("url").display());
    let told = refused(&house, &named, 1);
    assert!(told.contains("cannot connect") && !told.contains("hunter2"), "{told}");

    let other = rusqlite::Connection::open(dir.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE thing (id TEXT PRIMARY KEY)").unwrap();
    assert!(refused(&url("other.db"), &empty, 1).contains("no database of Mesh Server"));
    assert!(refused(&house, &url("other.db"), 1).contains("thing"));
    assert_eq!(other.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).unwrap(), 2);

    let old = url("old.db");
    migrate(&old, &["up"]);
    migrate(&old, &["down", "--yes"]);
    assert!(refused(&old, &empty, 1).contains("older version"));
    assert!(is_new());

    // A log with a hole, and a text that the other database does not take.
    let conn = rusqlite::Connection::open(dir.path().join("house.db")).unwrap();
    conn.execute_batch(
        "INSERT INTO users (id, username, username_key, display_name, password_hash, role, created_at) \
        VALUES ('u', 'ana', 'ana', 'a' || char(0) || 'b', 'x', 'admin', 1)",
    )
    .unwrap();
    if let Some(server) = postgres_url() {
        let target = Database::postgres(&server);
        let told = refused(&house, &target.url, 1);
        assert!(told.contains("the database to copy to"), "{told}");
        conn.execute_batch("UPDATE users SET display_name = 'ana'").unwrap();
        // Nothing of the first attempt is left in the way.
        assert_eq!(run(&["db", "copy", &house, &target.url, "--verify"]).0, Some(0));
    }
    conn.execute_batch(
        "INSERT INTO rooms (id, name, visibility, kind, owner_id, last_seq, member_count, activity_at, \
        created_at, updated_at) VALUES ('r', 'r', 'public', 'group', 'u', 3, 0, 1, 1, 1)",
    )
    .unwrap();
    assert!(refused(&house, &empty, 1).contains("holes"));
    assert!(is_new());
}

/// What people see of the house, which must be the same everywhere.
async fn seen(server: &Server, ana: &Account, ben: &Account, room: &str) -> Value {
    let mut all = serde_json::Map::new();
    for (who, path) in [
        (ana, "/api/auth/me".to_owned()),
        (ana, "/api/auth/tokens".to_owned()),
        (ana, "/api/auth/totp".to_owned()),
        (ana, "/api/rooms".to_owned()),
        (ana, format!("/api/rooms/{room}")),
        (ana, format!("/api/rooms/{room}/members")),
        (ana, format!("/api/rooms/{room}/messages?limit=200")),
        (ana, format!("/api/rooms/{room}/bans")),
        (ana, format!("/api/rooms/{room}/invites")),
        (ana, format!("/api/rooms/{room}/messages/search?q=soup")),
        (ana, "/api/admin/users".to_owned()),
        (ana, "/api/admin/audit".to_owned()),
        (ben, "/api/rooms".to_owned()),
        (ben, "/api/notifications".to_owned()),
    ] {
        let (status, answer) = server.get(&path, who).await;
        assert_eq!(status, 200, "{path}: {answer}");
        all.insert(format!("{}: {path}", who.name), answer);
    }
    all.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_moves_to_postgres_and_back_and_goes_on() {
    let Some((here, there, back)) = both("a house that moves") else { return };
    let settings = [("GOTIFY_URL", "http://127.0.0.1:9"), ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43200")];
    let server = Server::start_on(here, &settings).await;
    let (ana, ben, cyd) = (server.register("ana").await, server.register("ben").await, server.register("cyd").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    server.add(&ana, &room, &cyd).await;
    let messages = format!("/api/rooms/{room}/messages");
    for n in 0..10 {
        let body = json!({"content": format!("@ben soup {n} à l'été"), "client_id": format!("c{n}")});
        assert_eq!(server.post(&messages, &ana, body).await.0, 201);
    }
    let (_, log) = server.get(&format!("{messages}?limit=1"), &ana).await;
    let last = log[0]["id"].as_str().unwrap().to_owned();
    let done = |(status, answer): (u16, Value)| assert!((200..300).contains(&status), "{answer}");
    let of = |rest: &str| format!("{messages}/{last}{rest}");
    done(server.ask("PATCH", &of(""), Some(&ana.token), Some(json!({"content": "soup, again"}))).await);
    done(server.ask("PUT", &of("/reactions/%F0%9F%8D%B2"), Some(&ben.token), None).await);
    let put = |path: String, who: &Account, body: Value| {
        let token = who.token.clone();
        let server = &server;
        async move { server.ask("PUT", &path, Some(&token), Some(body)).await }
    };
    done(put(format!("/api/rooms/{room}/bans/{}", cyd.id), &ana, json!({"reason": "salt"})).await);
    done(server.post(&format!("/api/rooms/{room}/invites"), &ana, json!({"max_uses": 3})).await);
    done(server.post("/api/auth/tokens", &ana, json!({"name": "bot", "scopes": ["chat:read"]})).await);
    done(server.post("/api/auth/totp", &ana, json!({})).await);
    done(server.post("/api/admin/invites", &ana, json!({"max_uses": 2})).await);
    done(put("/api/notifications/gotify".to_owned(), &ben, json!({"token": "AnTokenThatNobodySees"})).await);
    let before = seen(&server, &ana, &ben, &room).await;
    let here = server.stop().await;

    let first = copied(&here, &there);
    for table in [
        "users",
        "sessions",
        "rooms",
        "messages",
        "room_changes",
        "message_reactions",
        "message_mentions",
        "room_bans",
        "room_invites",
        "registration_invites",
        "access_tokens",
        "totp",
        "audit_log",
        "push_settings",
    ] {
        assert!(first[table].0 > 0, "no {table}");
    }
    let there = goes_on(there, &settings, &ana, &ben, &room, &before).await;
    copied(&there, &back);
    // What was said in between moved too.
    let server = Server::start_on(back, &settings).await;
    assert_eq!(server.log(&ben, &room).await.last().unwrap()["content"], "from the new house");
    server.stop().await;
}

/// The same for everybody, and the house goes on.
async fn goes_on(
    database: Database,
    settings: &[(&str, &str)],
    ana: &Account,
    ben: &Account,
    room: &str,
    before: &Value,
) -> Database {
    let server = Server::start_on(database, settings).await;
    assert_eq!(&seen(&server, ana, ben, room).await, before);
    let body = json!({"username": "ben", "password": "correct horse battery"});
    assert_eq!(server.ask("POST", "/api/auth/login", None, Some(body)).await.0, 200);
    // Somebody was away while the house moved, and resumes.
    let mut peer = Peer::connect(&server.base, &ben.token).await;
    peer.hello().await;
    let joined = peer.ask("room.join", json!({"room_id": room, "since_seq": 9})).await;
    let last = joined["payload"]["room"]["last_seq"].as_u64().or(joined["payload"]["last_seq"].as_u64()).unwrap();
    assert_eq!(peer.next_of("chat.message.edited").await["payload"]["message"]["content"], "soup, again");
    let said = peer.say(room, "from the new house").await;
    assert_eq!(said["payload"]["message"]["seq"].as_u64(), Some(last + 1), "numbers go on");
    let twice = json!({"content": "@ben soup 3 à l'été", "client_id": "c3"});
    let (status, again) = server.post(&format!("/api/rooms/{room}/messages"), ana, twice).await;
    assert!(status == 200 || status == 201, "{again}");
    assert_eq!(again["seq"].as_u64(), Some(4), "the same message as before the move");
    server.stop().await
}

/// Makes a new SQLite house's tables, and runs a script on them.
fn filled(house: &Database, script: &str) {
    let mut command = Binary::command(house.dir.path());
    command.args(["migrate", "up"]).env("DATABASE_URL", &house.url);
    assert_eq!(output(command).0, Some(0));
    rusqlite::Connection::open(house.sqlite_file().unwrap()).unwrap().execute_batch(script).unwrap();
}

/// Who watches sees how far it is; a program's log is left alone (`copied`).
#[test]
fn a_terminal_sees_how_far_a_copy_is() {
    let Some((here, there, _)) = both("a copy that is watched") else { return };
    filled(
        &here,
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 4999) \
         INSERT INTO users (id, username, username_key, display_name, password_hash, role, created_at) \
            SELECT 'u' || n, 'ana' || n, 'ana' || n, 'Ana', 'x', 'user', 1 FROM n",
    );
    let mut command = Command::new("script");
    command.args(["-qefc", &format!("{EXE} db copy {} {} --verify", here.url, there.url), "/dev/null"]);
    command.stdin(Stdio::null()).current_dir(here.dir.path());
    let (status, out, errors) = output(command);
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{out}");
    let told: Vec<u64> = out
        .split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("\x1b[Kusers: ")?.strip_suffix(" of 5000")?.parse().ok())
        .collect();
    assert!(told.len() > 3 && told.is_sorted() && told.last() == Some(&5_000), "{told:?} in {out}");
    assert!(out.contains("read anew and found the same"), "{out}");
}

#[test]
fn a_hundred_thousand_messages_move_both_ways() {
    let Some((here, there, back)) = both("a copy of 100,000 messages") else { return };
    filled(
        &here,
        "PRAGMA synchronous = OFF; BEGIN; \
         INSERT INTO users (id, username, username_key, display_name, password_hash, role, created_at) \
            VALUES ('u', 'ana', 'ana', 'Ana', 'x', 'admin', 1); \
         WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 9) \
         INSERT INTO rooms (id, name, visibility, kind, owner_id, last_seq, member_count, activity_at, created_at, \
            updated_at) SELECT 'room ' || n, 'r', 'public', 'group', 'u', 10000, 1, 1, 1, 1 FROM n; \
         WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99999) \
         INSERT INTO messages (room_id, seq, id, user_id, content, created_at) \
            SELECT 'room ' || (n % 10), n / 10 + 1, 'id ' || n, 'u', 'message ' || n || ' of the house', n FROM n; COMMIT",
    );
    let first = copied(&here, &there);
    let second = copied(&there, &back);
    assert_eq!(first["messages"].0, 100_000);
    assert_eq!(first, second);
}
