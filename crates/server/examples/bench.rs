//! A small bench: starts the release binary on a database of its own, loads it over loopback, and prints what it cost.
//!
//! `cargo build --release --workspace --examples && target/release/examples/bench`
//!
//! Scenarios: `fanout [receivers] [seconds]`, `send [senders] [window] [seconds]`, `idle [connections]`, `logins
//! [seconds]` (chat beside 50 logins at a time, bcrypt at cost 12), `start`; all of them without arguments. Every delivery is checked: a hole, a repetition or a wrong order ends the run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for its developers, which says what is wrong by failing"
)]

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

struct Server {
    child: Child,
    addr: String,
    start: Duration,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Usage {
    cpu: f64,
    resident_kib: u64,
}

impl Server {
    fn start() -> Self {
        Self::start_at_cost(4)
    }

    fn start_at_cost(cost: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The second start is measured: the database is there.
        let mut first = Self::launch(dir.path(), cost).0;
        first.kill().unwrap();
        first.wait().unwrap();
        let (child, addr, start) = Self::launch(dir.path(), cost);
        Self { child, addr, start, _dir: dir }
    }

    #[allow(clippy::zombie_processes, reason = "whoever asks for it waits for it")]
    fn launch(dir: &std::path::Path, cost: u32) -> (Child, String, Duration) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let exe = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("mesh-server");
        let begun = Instant::now();
        let child = Command::new(exe)
            .current_dir(dir)
            .env("MESH_HOST", "127.0.0.1")
            .env("MESH_PORT", port.to_string())
            .env("MESH_BCRYPT_COST", cost.to_string())
            .env("MESH_LOGIN_ATTEMPTS", "1000000")
            .env("MESH_EVENTS_PER_SECOND", "1000000")
            .env("LOG_LEVEL", "WARNING")
            .stdout(Stdio::null())
            .spawn()
            .expect("the release binary, built before: cargo build --release");
        let addr = format!("127.0.0.1:{port}");
        loop {
            let answer = std::net::TcpStream::connect(&addr).and_then(|mut io| {
                use std::io::{Read as _, Write as _};
                io.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
                let mut text = String::new();
                io.read_to_string(&mut text)?;
                Ok(text)
            });
            if answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200")) {
                return (child, addr, begun.elapsed());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn usage(&self) -> Usage {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Usage { cpu: ticks as f64 / 100.0, resident_kib }
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Value) -> Value {
        let mut io = TcpStream::connect(&self.addr).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        io.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "{text}");
        serde_json::from_str(body).unwrap()
    }

    async fn account(&self, name: &str) -> String {
        let body = json!({"username": name, "password": "correct horse battery"});
        let answer = self.ask("POST", "/api/auth/register", "", body).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn room(&self, token: &str) -> String {
        let room = self.ask("POST", "/api/rooms", token, json!({"name": "bench", "visibility": "public"})).await;
        room["id"].as_str().unwrap().to_owned()
    }
}

/// A connection that reads as cheaply as can be.
struct Socket {
    io: TcpStream,
    buffer: Vec<u8>,
}

impl Socket {
    async fn open(addr: &str, token: &str, room: &str) -> Self {
        let mut io = TcpStream::connect(addr).await.unwrap();
        io.set_nodelay(true).unwrap();
        let head = format!(
            "GET /ws?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        let mut socket = Self { io, buffer: Vec::new() };
        socket
            .send(&[
                json!({"type": "system.hello", "payload": {"peer_type": "client", "version": "bench"}}).to_string(),
                json!({"type": "room.join", "id": "join", "payload": {"room_id": room}}).to_string(),
            ])
            .await;
        let mut joined = false;
        while !joined {
            socket.read(|frame| joined |= has(frame, br#""reply_to":"join""#)).await;
        }
        socket
    }

    async fn send(&mut self, texts: &[String]) {
        let mut out = Vec::new();
        for text in texts {
            let bytes = text.as_bytes();
            out.push(0x81);
            if bytes.len() < 126 {
                out.push(0x80 | bytes.len() as u8);
            } else {
                out.push(0x80 | 126);
                out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            }
            // A mask of zeros is a mask.
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(bytes);
        }
        self.io.write_all(&out).await.unwrap();
    }

    /// Reads once and gives every complete text frame.
    async fn read(&mut self, mut each: impl FnMut(&[u8])) {
        let read = self.io.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the server closed: {}", String::from_utf8_lossy(&self.buffer));
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            let (head, length) = match rest {
                [_, n, ..] if *n < 126 => (2, usize::from(*n)),
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                [_, 127, n @ ..] if n.len() >= 8 => (10, u64::from_be_bytes(n[..8].try_into().unwrap()) as usize),
                _ => break,
            };
            if rest.len() < head + length {
                break;
            }
            if rest[0] == 0x81 {
                each(&rest[head..head + length]);
            } else {
                assert_eq!(rest[0], 0x89, "{}", String::from_utf8_lossy(&rest[head..head + length]));
            }
            at += head + length;
        }
        self.buffer.drain(..at);
    }
}

fn has(frame: &[u8], what: &[u8]) -> bool {
    frame.windows(what.len()).any(|w| w == what)
}

/// The number of a `chat.message.created`, read where the server writes it.
fn seq(frame: &[u8]) -> Option<u64> {
    let key = br#""seq":"#;
    if !frame.starts_with(br#"{"type":"chat.message.created""#) {
        return None;
    }
    let at = frame.windows(key.len()).position(|w| w == key)? + key.len();
    let digits = frame[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// One room, `count` receivers, one sender with a window of its own echoes.
async fn fanout(count: usize, seconds: u64) {
    let server = Arc::new(Server::start());
    let token = server.account("sender").await;
    let room = server.room(&token).await;
    let delivered = Arc::new(AtomicU64::new(0));
    let running = Arc::new(AtomicBool::new(true));
    let mut tasks = Vec::new();
    for index in 0..count {
        let token = if index % 10 == 0 { server.account(&format!("user{index}")).await } else { token.clone() };
        let mut socket = Socket::open(&server.addr, &token, &room).await;
        let delivered = delivered.clone();
        let running = running.clone();
        tasks.push(tokio::spawn(async move {
            let mut last = 0;
            while running.load(Ordering::Relaxed) {
                let mut got = 0;
                let reading = socket.read(|frame| {
                    if let Some(seq) = seq(frame) {
                        assert_eq!(seq, last + 1, "a hole or a repetition");
                        last = seq;
                        got += 1;
                    }
                });
                let _ = tokio::time::timeout(Duration::from_millis(500), reading).await;
                delivered.fetch_add(got, Ordering::Relaxed);
            }
        }));
    }
    let mut sender = Socket::open(&server.addr, &token, &room).await;
    let content = "x".repeat(128);
    let mut number = 0_u64;
    let mut event = move || {
        number += 1;
        json!({"type": "chat.message.send", "id": format!("s{number}"), "payload": {"room_id": room, "content": content}})
            .to_string()
    };
    let first: Vec<String> = (0..64).map(|_| event()).collect();
    let (before, begun) = (server.usage(), Instant::now());
    sender.send(&first).await;
    let mut sent = 64_u64;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut echoes = 0;
        sender.read(|frame| echoes += u64::from(seq(frame).is_some())).await;
        let more: Vec<String> = (0..echoes).map(|_| event()).collect();
        sent += echoes;
        sender.send(&more).await;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = server.usage().cpu - before.cpu;
    let deliveries = delivered.load(Ordering::Relaxed) as f64;
    running.store(false, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a receiver found a mistake");
    }
    println!(
        "fanout  {count} receivers, 128 bytes, window 64: {:.0} deliveries/s, {:.2} CPU s per million, {:.0} sent/s, \
         {:.0} deliveries per CPU s",
        deliveries / elapsed,
        cpu / deliveries * 1e6,
        sent as f64 / elapsed,
        deliveries / cpu,
    );
}

/// `count` senders in as many rooms, each with a window of unacknowledged sends.
async fn send(count: usize, window: usize, seconds: u64) {
    let server = Arc::new(Server::start());
    let token = server.account("owner").await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut sockets = Vec::new();
    for _ in 0..count {
        let room = server.room(&token).await;
        sockets.push((Socket::open(&server.addr, &token, &room).await, room));
    }
    let (before, begun) = (server.usage(), Instant::now());
    let mut tasks = Vec::new();
    for (mut socket, room) in sockets {
        let acknowledged = acknowledged.clone();
        tasks.push(tokio::spawn(async move {
            let content = "x".repeat(128);
            let mut number = 0_u64;
            let mut last = 0;
            let mut event = move || {
                number += 1;
                let payload = json!({"room_id": room, "content": content});
                json!({"type": "chat.message.send", "id": format!("s{number}"), "payload": payload}).to_string()
            };
            let first: Vec<String> = (0..window).map(|_| event()).collect();
            socket.send(&first).await;
            while begun.elapsed() < Duration::from_secs(seconds) {
                let mut echoes = 0;
                socket
                    .read(|frame| {
                        if let Some(seq) = seq(frame) {
                            assert_eq!(seq, last + 1, "a hole or a repetition");
                            last = seq;
                            echoes += 1;
                        }
                    })
                    .await;
                acknowledged.fetch_add(echoes, Ordering::Relaxed);
                let more: Vec<String> = (0..echoes).map(|_| event()).collect();
                socket.send(&more).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a sender found a mistake");
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = server.usage().cpu - before.cpu;
    let acknowledged = acknowledged.load(Ordering::Relaxed) as f64;
    println!(
        "send    {count} senders, window {window}: {:.0} acknowledged/s, {:.1} CPU s per million",
        acknowledged / elapsed,
        cpu / acknowledged * 1e6,
    );
}

/// Connections that have joined a room and say nothing.
async fn idle(count: usize) {
    let server = Server::start();
    let mut tokens = Vec::new();
    let mut rooms = Vec::new();
    for index in 0..50 {
        tokens.push(server.account(&format!("user{index}")).await);
        rooms.push(server.room(&tokens[index]).await);
    }
    let (before, begun) = (server.usage(), Instant::now());
    let mut sockets = Vec::with_capacity(count);
    for index in 0..count {
        sockets.push(Socket::open(&server.addr, &tokens[index % 50], &rooms[index % 50]).await);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = server.usage();
    println!(
        "idle    {count} connections: {:.2} KiB each, {:.0} accepted/s one after the other",
        (after.resident_kib - before.resident_kib) as f64 / count as f64,
        count as f64 / elapsed,
    );
}

/// Chat at 100 messages a second to 20 receivers, without and with 50 logins at a time.
async fn logins(seconds: u64) {
    let server = Arc::new(Server::start_at_cost(12));
    let token = server.account("sender").await;
    let room = server.room(&token).await;
    let (alone, _) = chat_latency(&server, &token, &room, seconds).await;
    let running = Arc::new(AtomicBool::new(true));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (server, running) = (server.clone(), running.clone());
            tokio::spawn(async move {
                let mut done = 0_u64;
                while running.load(Ordering::Relaxed) {
                    let body = json!({"username": "sender", "password": "correct horse battery"});
                    server.ask("POST", "/api/auth/login", "", body).await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let (beside, count) = chat_latency(&server, &token, &room, seconds).await;
    running.store(false, Ordering::Relaxed);
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    println!(
        "logins  chat p99 {:.2} ms alone, {:.2} ms beside 50 logins at a time ({count} deliveries, {done} logins)",
        alone, beside,
    );
}

/// The 99th percentile of the time from a send to its delivery, milliseconds, and how many deliveries there were.
async fn chat_latency(server: &Arc<Server>, token: &str, room: &str, seconds: u64) -> (f64, usize) {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&server.addr, token, room).await;
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut over = false;
            while !over {
                socket
                    .read(|frame| {
                        let key = br#""content":""#;
                        let Some(at) = frame.windows(key.len()).position(|w| w == key) else { return };
                        let digits = frame[at + key.len()..].iter().take_while(|b| b.is_ascii_digit());
                        let sent = digits.fold(0, |n, b| n * 10 + u64::from(b - b'0'));
                        over |= sent == 0;
                        if sent > 0 {
                            times.push(begun.elapsed().as_micros() as u64 - sent);
                        }
                    })
                    .await;
            }
            times
        }));
    }
    let mut sender = Socket::open(&server.addr, token, room).await;
    let say = |content: String| {
        let payload = json!({"room_id": room, "content": content});
        [json!({"type": "chat.message.send", "payload": payload}).to_string()]
    };
    let mut every = tokio::time::interval(Duration::from_millis(10));
    let mut scratch = [0; 65_536];
    while begun.elapsed() < Duration::from_secs(seconds) {
        every.tick().await;
        sender.send(&say(begun.elapsed().as_micros().to_string())).await;
        while sender.io.try_read(&mut scratch).is_ok_and(|n| n > 0) {}
    }
    sender.send(&say("end".to_owned())).await;
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a receiver"));
    }
    times.sort_unstable();
    (times[times.len() * 99 / 100] as f64 / 1e3, times.len())
}

fn start() {
    let mut times: Vec<_> = (0..9).map(|_| Server::start().start).collect();
    times.sort();
    let server = Server::start();
    println!(
        "start   {:.1} ms to the first 200 (median of 9), {:.1} MiB idle",
        times[4].as_secs_f64() * 1e3,
        server.usage().resident_kib as f64 / 1024.0,
    );
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |a| a.parse().expect("a number"));
    match arguments.first().map(String::as_str) {
        Some("fanout") => fanout(number(1, 500), number(2, 10) as u64).await,
        Some("send") => send(number(1, 16), number(2, 32), number(3, 10) as u64).await,
        Some("idle") => idle(number(1, 5_000)).await,
        Some("logins") => logins(number(1, 10) as u64).await,
        Some("start") => start(),
        Some(other) => panic!("{other}: fanout, send, idle, logins or start"),
        None => {
            start();
            fanout(500, 10).await;
            send(16, 32, 10).await;
            idle(5_000).await;
            logins(10).await;
        }
    }
}
