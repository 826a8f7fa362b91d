//! How a server ends, and what it leaves.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use mesh_server::{clock::Clock, config::Config, lifecycle};
use serde_json::json;

use super::{Rest, in_a_room, run_on};
use crate::kit::{Binary, Database, PATIENCE, Peer, soon};

/// A peer's last moments: goodbye, then the close frame.
async fn parts(mut peer: Peer) {
    let (code, reason, events) = peer.closed().await;
    assert_eq!((code, reason.as_str()), (1012, "restarting"));
    let goodbye = events.last().unwrap();
    assert_eq!(goodbye["type"], "system.goodbye", "{goodbye}");
    let payload = &goodbye["payload"];
    assert_eq!((&payload["code"], &payload["action"]), (&json!(1012), &json!("resume")), "{goodbye}");
    assert!(payload["retry_after_ms"].as_u64().unwrap() > 0, "{goodbye}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_it_in_order() {
    for signal in ["TERM", "INT"] {
        let database = Database::new();
        let (server, _, ana, room, mut peer) = in_a_room(&database, &[]).await;
        peer.say(&room, "the last word").await;
        let mut silent = Peer::connect(&server.base, &ana.token).await;
        server.signal(signal);
        parts(peer).await;
        let (code, _, events) = silent.closed().await;
        assert_eq!((code, events.len()), (1012, 0), "no goodbye to whom said no hello");
        drop(silent);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
        assert!(!log.contains("ERROR") && !log.contains("in time"), "{log}");

        let server = Binary::start(&database, &[]);
        assert_eq!(Rest::of(&server).messages(&ana, &room).await[0]["content"], "the last word");
    }
}

/// Priority and scheduling class of each of a process's threads with this name.
#[cfg(target_os = "linux")]
fn classes(pid: u32, name: &str) -> Vec<(i32, i32)> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        if head.split_once('(').is_some_and(|(_, comm)| comm.starts_with(name)) {
            // Fields 19 and 41 of proc_pid_stat(5); the third is the first here.
            let fields: Vec<_> = rest.split(' ').collect();
            found.push((fields[16].parse().unwrap(), fields[38].parse().unwrap()));
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn password_threads_step_back_behind_everything() {
    const SCHED_BATCH: i32 = 3;
    const SCHED_IDLE: i32 = 5;
    let database = Database::new();
    let server = Binary::start(&database, &[]);
    let cores = std::thread::available_parallelism().unwrap().get();
    let hashing = (cores - 1).max(1);
    // They do so first of all, but by themselves: the server may be a moment ahead of them.
    soon("the threads to step back", async {
        while classes(server.pid(), "bcrypt-") != vec![(19, SCHED_IDLE); hashing] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let others = classes(server.pid(), "").iter().filter(|class| **class == (0, SCHED_BATCH)).count();
    assert!(others > cores, "the others let who runs finish, and are not nice");
    assert_eq!(Rest::of(&server).register("ana").await.name, "ana");
}

/// The beginning of a request whose body never comes: a client that holds up the end.
fn begin_request(server: &Binary) -> TcpStream {
    let addr = server.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // "100 Continue" proves that a handler waits for the body.
    let head = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
         Content-Length: 44\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 64];
    let n = stream.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&answer[..n]));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished() {
    let database = Database::new();
    let server = Binary::start(&database, &[("MESH_SHUTDOWN_SECONDS", "3600")]);
    let mut stream = begin_request(&server);
    server.signal("TERM");
    server.wait_for_log("stopping");
    stream.write_all(br#"{"username": "nobody", "password": "nobody"}"#).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("invalid_credentials"), "{answer}");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_up_the_end_does_not_hold_it_for_ever() {
    let database = Database::new();
    let server = Binary::start(&database, &[("MESH_SHUTDOWN_SECONDS", "1")]);
    let _stream = begin_request(&server);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("in time"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let database = Database::new();
        let server = Binary::start(&database, &[("MESH_SHUTDOWN_SECONDS", "3600")]);
        let _stream = begin_request(&server);
        server.signal(first);
        server.wait_for_log("stopping");
        server.signal(second);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("at once"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_the_stop_is_there_afterwards() {
    let database = Database::new();
    let (server, _, ana, room, mut peer) = in_a_room(&database, &[]).await;
    for n in 0..2_000 {
        let payload = json!({"room_id": room, "content": format!("m{n}")});
        peer.send(json!({"type": "chat.message.send", "id": format!("m{n}"), "payload": payload})).await;
        // While most are still on their way, and the socket is full.
        if n == 200 {
            server.signal("TERM");
            break;
        }
    }
    let (code, _, events) = peer.closed().await;
    assert_eq!(code, 1012);
    let acknowledged: HashMap<u64, String> = events
        .iter()
        .filter(|event| event["type"] == "chat.message.created")
        .map(|event| {
            let content = event["payload"]["message"]["content"].as_str().unwrap();
            assert_eq!(event["reply_to"], content);
            (event["payload"]["seq"].as_u64().unwrap(), content.to_owned())
        })
        .collect();
    drop(peer);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");

    let server = Binary::start(&database, &[]);
    let stored = Rest::of(&server).messages(&ana, &room).await;
    for (index, message) in stored.iter().enumerate() {
        assert_eq!(message["seq"], index as u64 + 1);
        assert_eq!(message["content"], format!("m{index}"), "in the order in which they were sent");
    }
    for (seq, content) in acknowledged {
        assert_eq!(stored[seq as usize - 1]["content"], content.as_str(), "acknowledged as {seq}, and lost");
    }
}

/// Somebody stops the server and copies the one file that the documents speak of.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_the_file_alone_is_the_whole_database() {
    let database = Database::sqlite();
    let (server, _, _, room, mut peer) = in_a_room(&database, &[]).await;
    for n in 0..50 {
        peer.say(&room, &format!("m{n}")).await;
    }
    drop(peer);
    let (status, log) = server.stop();
    assert!(status.success() && !log.contains("WARN"), "{log}");
    let copy = Database::sqlite();
    std::fs::copy(database.sqlite_file().unwrap(), copy.sqlite_file().unwrap()).unwrap();
    let there = rusqlite::Connection::open(copy.sqlite_file().unwrap()).unwrap();
    let count: i64 = there.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 50);
}

/// Whether a process has its own way with SIGTERM.
fn hears_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (15 - 1) != 0
}

#[test]
fn a_signal_is_heard_before_it_listens() {
    let database = Database::sqlite();
    // It cannot begin as long as somebody else writes.
    let other = rusqlite::Connection::open(database.sqlite_file().unwrap()).unwrap();
    other.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE").unwrap();
    let mut command = Binary::command(database.dir.path());
    command.args(["--port", "0", "--log-level", "OFF", "--database-url", &database.url]);
    let mut server = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let mut errors = server.stderr.take().unwrap();
    let pid = server.id();
    std::thread::spawn(move || {
        while !hears_sigterm(pid) {
            std::thread::yield_now();
        }
        assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        tell.send(text).unwrap();
    });
    let ended = told.recv_timeout(PATIENCE);
    if ended.is_err() {
        server.kill().unwrap();
    }
    let status = server.wait().unwrap();
    assert_eq!((ended.as_deref(), status.code()), (Ok(""), Some(0)));
}

#[test]
fn a_port_in_use_is_told() {
    let database = Database::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, _, errors) = run_on(&database, &["--host", "127.0.0.1", "--port", &port, "--log-level", "OFF"]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{errors}");
}

fn config(database: &Database) -> Config {
    Config::from_pairs(&[
        ("MESH_HOST", "127.0.0.1"),
        ("MESH_PORT", "0"),
        ("MESH_BCRYPT_COST", "4"),
        ("MESH_JWT_SECRET", "a secret of more than thirty-two characters"),
        ("DATABASE_URL", &database.url),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_dies_stops_the_house_in_order_and_fails_it() {
    let database = Database::new();
    let server = lifecycle::start(config(&database), Clock::System).await.unwrap();
    let (app, base) = (server.app.clone(), format!("http://{}", server.addr));
    let running = tokio::spawn(server.run());
    let rest = Rest::at(&base);
    let ana = rest.register("ana").await;
    let mut peer = Peer::connect(&base, &ana.token).await;
    peer.hello().await;

    // A client's task that dies takes nobody with it.
    app.tasks.spawn_for_client("test", async { panic!("a bug of this test") });
    assert_eq!(rest.me(&ana.token).await.as_deref(), Ok("ana"));
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    assert!(!app.tasks.is_stopping());

    app.tasks.spawn("test", async { panic!("a bug of this test") });
    parts(peer).await;
    assert!(!soon("the end", running).await.unwrap(), "it ended as if all were well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_well() {
    let database = Database::new();
    let server = lifecycle::start(config(&database), Clock::System).await.unwrap();
    server.app.tasks.stop_softly();
    assert!(soon("the end", server.run()).await);
}

/// The server stands still meanwhile: what the system holds for it is all there is.
#[cfg(target_os = "linux")]
#[test]
fn many_who_come_at_once_find_a_place() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse::<usize>().unwrap();
    let server = Binary::start(&Database::new(), &[]);
    let addr = server.base.strip_prefix("http://").unwrap().parse().unwrap();
    server.signal("STOP");
    let mut there = Vec::new();
    for n in 0..most.min(1_500) {
        let come = TcpStream::connect_timeout(&addr, PATIENCE);
        there.push(come.unwrap_or_else(|e| panic!("connection {n} found no place: {e}")));
    }
    server.signal("CONT");
    let mut last = there.pop().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    last.write_all(b"GET /health HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
