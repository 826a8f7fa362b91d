//! Disks that are full or fail, databases that are held or gone: told clearly, over by itself, and nothing acknowledged
//! is lost.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::{parse, sum};
use crate::{
    kit::{Account, Binary, Database, Peer, Server, output, postgres_url, skipped, soon, until},
    process::{Rest, in_a_room},
};

/// A server, somebody in a room, and what was acknowledged there.
struct House {
    binary: Binary,
    rest: Rest,
    ana: Account,
    room: String,
    acked: BTreeSet<String>,
}

impl House {
    async fn open(database: &Database) -> Self {
        let binary = Binary::start(database, &[]);
        let rest = Rest::of(&binary);
        let ana = rest.register("ana").await;
        let room = rest.room(&ana, "Cuisine").await;
        let mut house = Self { binary, rest, ana, room, acked: BTreeSet::new() };
        assert_eq!(house.say("before").await, Ok(()));
        house
    }

    /// Says something; or why it was refused.
    async fn say(&mut self, content: &str) -> Result<(), (u16, Value)> {
        let path = format!("/api/rooms/{}/messages", self.room);
        let body = json!({"content": content});
        let (status, answer) = self.rest.ask("POST", &path, Some(&self.ana.token), Some(body)).await;
        if status != 201 {
            return Err((status, answer["code"].clone()));
        }
        self.acked.insert(answer["id"].as_str().unwrap().to_owned());
        Ok(())
    }

    /// Says things until one is refused, which must come.
    async fn say_until_refused(&mut self) -> (u16, Value) {
        let long = "x".repeat(3_000);
        for _ in 0..5_000 {
            if let Err(refused) = self.say(&long).await {
                return refused;
            }
        }
        panic!("nothing was refused");
    }

    async fn figure(&self, name: &str) -> f64 {
        let figures = self.rest.http.get(format!("{}/metrics", self.rest.base)).send().await.unwrap();
        sum(&parse(&figures.text().await.unwrap()), name, &[])
    }

    /// Probes and figures tell what is wrong, also after the server has tried to write by itself, and could not.
    async fn shows(&self, code: &str) {
        let failed = self.figure("mesh_store_transactions_failed_total").await;
        let failing = async || self.figure("mesh_store_transactions_failed_total").await;
        until("attempts to write", async || failing().await >= failed + 2.0).await;
        let (status, ready) = self.rest.ask("GET", "/ready", None, None).await;
        assert_eq!((status, &ready["code"]), (503, &json!(code)), "{ready}");
        assert_eq!(self.rest.ask("GET", "/health", None, None).await.0, 200);
        let figures = self.rest.http.get(format!("{}/metrics", self.rest.base)).send().await.unwrap();
        let figures = parse(&figures.text().await.unwrap());
        assert_eq!(sum(&figures, "mesh_store_trouble", &[("trouble", code)]), 1.0);
        assert_eq!((sum(&figures, "mesh_store_trouble", &[]), sum(&figures, "mesh_ready", &[])), (1.0, 0.0));
    }

    /// Everywhere it is told what is wrong, and what needs no writing goes on.
    async fn tells(&self, code: &str) {
        self.shows(code).await;
        let path = format!("/api/rooms/{}/messages", self.room);
        assert_eq!(self.rest.ask("GET", &path, Some(&self.ana.token), None).await.0, 200);
        let mut peer = Peer::connect(&self.rest.base, &self.ana.token).await;
        peer.hello().await;
        self.refuses(&mut peer).await;
    }

    /// A send by WebSocket is refused, and may be tried again.
    async fn refuses(&self, peer: &mut Peer) {
        let refused = peer.ask("chat.message.send", json!({"room_id": self.room, "content": "now"})).await;
        let words = (&refused["type"], &refused["payload"]["code"], &refused["payload"]["retryable"]);
        assert_eq!(words, (&json!("system.error"), &json!("internal"), &json!(true)), "{refused}");
    }

    /// The cause is gone: all goes on by itself, and what was acknowledged is there, also after a new start.
    async fn recovers(mut self, database: &Database) {
        self.binary.wait_for_log("the database can be written again");
        assert_eq!(self.rest.ask("GET", "/ready", None, None).await.0, 200);
        assert_eq!(self.say("after").await, Ok(()));
        self.holds_all().await;
        self.binary.kill();
        self.binary = Binary::start(database, &[]);
        self.rest = Rest::of(&self.binary);
        self.holds_all().await;
        let (status, log) = self.binary.stop();
        assert!(status.success(), "{log}");
    }

    async fn holds_all(&self) {
        let log = self.rest.messages(&self.ana, &self.room).await;
        let seqs: Vec<_> = log.iter().map(|m| m["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>(), "numbers without holes");
        let there: BTreeSet<_> = log.iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
        assert!(self.acked.is_subset(&there), "something acknowledged is lost");
    }
}

/// A file system of its own, small, in memory.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Needs root.
    pub(super) fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(at))
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = std::fs::File::create(&path).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    let mut database = Database::sqlite();
    let Some(disk) = Disk::mount(database.dir.path().join("disk"), "3m") else {
        return skipped("a full disk", "the right to mount");
    };
    database.url = format!("sqlite:///{}", disk.0.join("mesh.db").display());
    let mut house = House::open(&database).await;
    let ballast = disk.fill();
    assert_eq!(house.say_until_refused().await, (503, json!("disk_full")));
    house.tells("disk_full").await;
    std::fs::remove_file(ballast).unwrap();
    house.recovers(&database).await;
}

/// A limit on the size of files comes with a signal that kills whoever does not look.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_does_not_kill() {
    let limit = |house: &House, size: &str| {
        let pid = house.binary.pid().to_string();
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}:")]).status().is_ok_and(|s| s.success())
    };
    let database = Database::sqlite();
    let mut house = House::open(&database).await;
    if !limit(&house, "4096") {
        return skipped("a limit on the size of files", "the path to prlimit");
    }
    assert_eq!(house.say_until_refused().await, (503, json!("disk_failing")));
    house.tells("disk_failing").await;
    assert!(limit(&house, "unlimited"));
    house.recovers(&database).await;
}

/// Makes a running server's system calls fail, until it is dropped.
struct Strace(Child);

impl Strace {
    fn inject(pid: u32, calls: &str, error: &str) -> Option<Self> {
        let mut command = Command::new("strace");
        let (fault, trace) = (format!("inject={calls}:error={error}"), format!("trace={calls}"));
        command.args(["-f", "-e", &fault, "-e", &trace, "-p", &pid.to_string()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = lines.by_ref().map_while(Result::ok).any(|line| line.contains(" attached"));
        // What it says must be read, or it stands still.
        std::thread::spawn(move || lines.for_each(drop));
        attached.then_some(Self(child))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// While these calls fail, what is sent is refused, and told why.
async fn refuses_while(calls: &str, error: &str) {
    let database = Database::sqlite();
    let mut house = House::open(&database).await;
    let Some(strace) = Strace::inject(house.binary.pid(), calls, error) else {
        return skipped("a disk that fails", "the right to trace (strace)");
    };
    assert_eq!(house.say_until_refused().await, (503, json!("disk_failing")));
    house.tells("disk_failing").await;
    drop(strace);
    house.recovers(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_to_flush_acknowledges_nothing() {
    refuses_while("fsync,fdatasync", "EIO").await;
}

/// As a file system is that the kernel made read-only after an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_takes_no_writes_any_more_is_told() {
    refuses_while("pwrite64", "EROFS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_system_is_named_at_the_start() {
    let mut database = Database::sqlite();
    let Some(disk) = Disk::mount(database.dir.path().join("disk"), "3m") else {
        return skipped("a read-only file system", "the right to mount");
    };
    database.url = format!("sqlite:///{}", disk.0.join("mesh.db").display());
    let house = House::open(&database).await;
    let (status, log) = house.binary.stop();
    assert!(status.success(), "{log}");
    // Without SQLite's log beside it, as after a stop that closed each of its connections.
    let alone = rusqlite::Connection::open(disk.0.join("mesh.db")).unwrap();
    alone.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(alone);
    assert!(!disk.0.join("mesh.db-wal").exists());
    let remount = |how: &str| Command::new("mount").args(["-o", how]).arg(&disk.0).status().unwrap().success();
    assert!(remount("remount,ro"));
    let mut command = Binary::command(database.dir.path());
    command.envs([("DATABASE_URL", database.url.as_str()), ("MESH_PORT", "0")]);
    let (status, _, errors) = output(command);
    assert_eq!(status, Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.starts_with("mesh-server: ") && last.contains("mesh.db") && last.contains("read"), "{errors}");
    assert!(remount("remount,rw"));
    let binary = Binary::start(&database, &[]);
    let rest = Rest::of(&binary);
    assert_eq!(rest.messages(&house.ana, &house.room).await.len(), 1);
}

/// Forward by a day and back by two: numbers go on, nobody is cut off who need not be, and it is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_loses_nothing() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43200")]).await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    let (mut a, mut b) = (server.peer(&ana).await, server.peer(&ben).await);
    a.join(&room).await;
    b.join(&room).await;
    let jumps = server.app.metrics.clock_jumps.get();
    assert_eq!(server.ask("GET", "/ready", None, None).await, (200, json!({"status": "ok"})));
    const DAY: i64 = 86_400;
    for (n, jump) in [0, DAY, -2 * DAY, DAY].into_iter().enumerate() {
        server.advance(jump);
        let said = a.say(&room, &format!("m{n}")).await;
        assert_eq!(said["payload"]["message"]["seq"], n as u64 + 1);
        assert_eq!(b.next_of("chat.message.created").await["payload"]["message"]["content"], format!("m{n}"));
        let ready = json!({"status": "ok", "warnings": ["clock_jumped"]});
        assert_eq!(server.ask("GET", "/ready", None, None).await, (200, ready));
        assert_eq!(server.ask("GET", "/health", None, None).await, (200, json!({"status": "ok"})));
    }
    assert!(server.app.metrics.clock_jumps.get() >= jumps + 3);
    let mut again = server.peer(&ben).await;
    again.ask("room.join", json!({"room_id": room, "since_seq": 0})).await;
    for n in 0..4 {
        assert_eq!(again.next_of("chat.message.created").await["payload"]["message"]["content"], format!("m{n}"));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_holds_is_named() {
    let database = Database::sqlite();
    let mut house = House::open(&database).await;
    let mut peer = Peer::connect(&house.rest.base, &house.ana.token).await;
    peer.hello().await;
    let other = rusqlite::Connection::open(database.sqlite_file().unwrap()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The server asks for ten seconds before it gives up.
    assert_eq!(house.say("now").await, Err((503, json!("database_locked"))));
    house.refuses(&mut peer).await;
    let (status, ready) = house.rest.ask("GET", "/ready", None, None).await;
    assert_eq!((status, &ready["code"]), (503, &json!("database_locked")));
    assert_eq!((house.figure("mesh_store_trouble").await, house.figure("mesh_ready").await), (1.0, 0.0));
    house.holds_all().await;
    other.execute_batch("ROLLBACK").unwrap();
    house.recovers(&database).await;
}

/// A disk that cannot be read is told to whoever asked for what lies there, and it is over with its cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_read_is_told() {
    let database = Database::sqlite();
    let mut house = House::open(&database).await;
    for _ in 0..300 {
        assert_eq!(house.say(&"x".repeat(3_000)).await, Ok(()));
    }
    // A new server has read nothing of the room.
    house.binary.kill();
    house.binary = Binary::start(&database, &[]);
    house.rest = Rest::of(&house.binary);
    let Some(strace) = Strace::inject(house.binary.pid(), "pread64", "EIO") else {
        return skipped("a disk that cannot be read", "the right to trace (strace)");
    };
    let path = format!("/api/rooms/{}/messages?limit=200", house.room);
    for _ in 0..20 {
        let (status, answer) = house.rest.ask("GET", &path, Some(&house.ana.token), None).await;
        assert_eq!(status, 503, "{answer}");
        // SQLite takes some of what a disk does for a damaged file.
        assert!(["disk_failing", "database_corrupt"].contains(&answer["code"].as_str().unwrap()), "{answer}");
    }
    assert_eq!(house.rest.ask("GET", "/health", None, None).await.0, 200);
    drop(strace);
    house.holds_all().await;
    assert_eq!(house.say("after").await, Ok(()));
    let (status, log) = house.binary.stop();
    assert!(status.success(), "{log}");
}

/// Changes a PostgreSQL server's mind about the house's database, and ends its connections.
fn turn(server: &str, database: &Database, how: &str) {
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let (server, how) = (server.to_owned(), how.to_owned());
    // The synchronous client must not run on a runtime's thread.
    let turned = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&server, postgres::NoTls).unwrap();
        client.batch_execute(&format!("ALTER DATABASE {name} {how}")).unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        client.execute(end, &[&name]).unwrap();
    });
    turned.join().unwrap();
}

/// The server comes back to a PostgreSQL that was gone, by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_gone_is_named() {
    let Some(url) = postgres_url() else {
        return skipped("a PostgreSQL that is gone", "MESH_TEST_POSTGRES_URL");
    };
    let database = Database::postgres(&url);
    let mut house = House::open(&database).await;
    let mut peer = Peer::connect(&house.rest.base, &house.ana.token).await;
    peer.hello().await;
    turn(&url, &database, "ALLOW_CONNECTIONS false");
    assert_eq!(house.say_until_refused().await, (503, json!("database_unreachable")));
    house.shows("database_unreachable").await;
    house.refuses(&mut peer).await;
    turn(&url, &database, "ALLOW_CONNECTIONS true");
    house.recovers(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_takes_no_writes_is_named() {
    let Some(url) = postgres_url() else {
        return skipped("a PostgreSQL that takes no writes", "MESH_TEST_POSTGRES_URL");
    };
    let database = Database::postgres(&url);
    let mut house = House::open(&database).await;
    turn(&url, &database, "SET default_transaction_read_only = true");
    // The first finds the connection gone.
    let refused = loop {
        let (status, code) = house.say_until_refused().await;
        assert_eq!(status, 503);
        if code != "database_unreachable" {
            break code;
        }
    };
    assert_eq!(refused, "database_read_only");
    house.tells("database_read_only").await;
    turn(&url, &database, "SET default_transaction_read_only = false");
    house.recovers(&database).await;
}

/// Readiness falls first: whoever is here goes on, until the stop begins.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_falls_before_anything_else() {
    let database = Database::new();
    let (binary, rest, _, room, mut peer) = in_a_room(&database, &[("MESH_DRAIN_SECONDS", "3600")]).await;
    binary.signal("TERM");
    binary.wait_for_log("will stop");
    let (status, ready) = rest.ask("GET", "/ready", None, None).await;
    assert_eq!((status, &ready["code"]), (503, &json!("stopping")));
    // A client that never was here before, and one that was.
    assert_eq!(Rest::at(&rest.base).ask("GET", "/health", None, None).await.0, 200);
    peer.say(&room, "still here").await;
    // The second signal lets the stop begin; it is in order.
    binary.signal("TERM");
    assert_eq!(peer.closed().await.0, 1012);
    let (status, log) = soon("the end", async { tokio::task::spawn_blocking(|| binary.wait()).await.unwrap() }).await;
    assert!(status.success(), "{log}");
}
