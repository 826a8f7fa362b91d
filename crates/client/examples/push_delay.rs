//! How long chat takes to reach somebody while push is off, answered at once, refused, never answered, or has nobody
//! there: `cargo run --release -p mesh-client --example push_delay -- target/release/mesh-server`.
//!
//! Each server is a process of its own on a new database; in one room somebody talks at a fixed rate, one listens, and
//! the others are away and are to be told of it.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, reason = "a program of its own: its clock, tasks and threads are the system's")]

use std::{
    error::Error,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use mesh_client::{Connection, Credential, Incoming, Rest};
use mesh_protocol::{
    RoomId,
    event::{ClientEvent, ServerEvent, chat, room, system},
    model::PeerType,
    rest::{AddMemberRequest, CreateRoomRequest, RegisterRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures what push costs chat.
#[derive(Parser)]
struct Args {
    /// The server's executable
    server: PathBuf,
    /// Members who are away
    #[arg(long, default_value_t = 200)]
    away: usize,
    /// Messages a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Runs of each kind, in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// `DATABASE_URL` of an empty database, emptied by nobody; SQLite in a temporary folder unless given
    #[arg(long)]
    database: Option<String>,
}

/// What stands where Gotify should.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Off,
    Fast,
    Fails,
    Hangs,
    Nobody,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Off, "push off"),
    (Kind::Fast, "Gotify answers at once"),
    (Kind::Fails, "Gotify answers 500"),
    (Kind::Hangs, "Gotify never answers"),
    (Kind::Nobody, "nobody listens there"),
];

/// Answers like Gotify, or not.
async fn stand_in(listener: TcpListener, kind: Kind) {
    while let Ok((mut io, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = io.read(&mut piece).await {
                bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
                // Its body is one JSON object, which ends the request.
                if kind != Kind::Hangs && bytes.ends_with(b"}") {
                    bytes.clear();
                    let status = if kind == Kind::Fast { "200 OK" } else { "500 Internal Server Error" };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 8\r\n\r\n{{\"id\":1}}");
                    if io.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        });
    }
}

struct Server {
    child: Child,
    base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits until it says where it listens.
fn start(exe: &Path, dir: &Path, database: &str, gotify: Option<&str>) -> Fallible<Server> {
    let mut command = Command::new(exe);
    command.current_dir(dir).env_clear().envs([
        ("MESH_HOST", "127.0.0.1"),
        ("MESH_PORT", "0"),
        ("MESH_BCRYPT_COST", "4"),
        ("MESH_LOGIN_ATTEMPTS", "1000000"),
        ("MESH_EVENTS_PER_SECOND", "1000000"),
        ("DATABASE_URL", database),
    ]);
    if let Some(url) = gotify {
        command.env("GOTIFY_URL", url).env("GOTIFY_TOKEN", "ATokenOfNobody");
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let log = child.stderr.take().ok_or("no log")?;
    let mut lines = BufReader::new(log).lines();
    let mut server = Server { child, base: String::new() };
    for line in lines.by_ref() {
        if let Some((_, rest)) = line?.split_once("listening addr=") {
            server.base = format!("http://{}", rest.split(' ').next().unwrap_or_default());
            break;
        }
    }
    // Nobody waits for a reader of its log.
    std::thread::spawn(move || lines.for_each(drop));
    if server.base.is_empty() { Err("the server does not start".into()) } else { Ok(server) }
}

async fn account(rest: &Rest, name: &str) -> Fallible<String> {
    let request = RegisterRequest {
        username: name.to_owned(),
        password: "correct horse battery".to_owned(),
        email: None,
        display_name: None,
        invite: None,
    };
    Ok(rest.register(&request).await?.access_token)
}

async fn join(server: &Server, token: &str, room_id: RoomId) -> Fallible<Connection> {
    let mut socket = Connection::connect(&server.base, &Credential::Token(token.to_owned())).await?;
    let hello = system::Hello { peer_type: PeerType::Client, version: "1".to_owned(), device_name: None };
    socket.hello(hello, None).await?;
    socket.request(&ClientEvent::RoomJoin(room::Join { room_id, since_seq: None })).await?;
    Ok(socket)
}

/// Talks, and listens at the other end: from the send until it is read there.
async fn run(args: &Args, kind: Kind) -> Fallible<Vec<Duration>> {
    let dir = std::env::temp_dir().join(format!("mesh-push-delay-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let database = args.database.clone().unwrap_or_else(|| format!("sqlite:///{}", dir.join("mesh.db").display()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stands = match kind {
        Kind::Off | Kind::Nobody => {
            drop(listener);
            None
        }
        kind => Some(tokio::spawn(stand_in(listener, kind))),
    };
    let server = start(&args.server.canonicalize()?, &dir, &database, (kind != Kind::Off).then_some(url.as_str()))?;
    let outcome = talk(args, &server).await;
    drop(server);
    if let Some(task) = stands {
        task.abort();
    }
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn talk(args: &Args, server: &Server) -> Fallible<Vec<Duration>> {
    let rest = Rest::new(&server.base)?;
    let (ana, ben) = (account(&rest, "ana").await?, account(&rest, "ben").await?);
    let owner = rest.with_token(&ana);
    let request = CreateRoomRequest { name: "Cuisine".to_owned(), description: None, visibility: None };
    let room_id = owner.create_room(&request).await?.id;
    let away: Vec<String> = (0..args.away).map(|n| format!("away{n}")).collect();
    for name in &away {
        account(&rest, name).await?;
    }
    for name in away.into_iter().chain(["ben".to_owned()]) {
        owner.add_member(room_id, &AddMemberRequest { username: Some(name), ..AddMemberRequest::default() }).await?;
    }
    let (mut speaker, mut listener) = (join(server, &ana, room_id).await?, join(server, &ben, room_id).await?);
    let count = args.rate * args.seconds;
    let began = Instant::now();
    let listening = tokio::spawn(async move {
        let mut delays = Vec::new();
        while delays.len() < count as usize {
            if let Incoming::Event { event, .. } = listener.recv().await?
                && let ServerEvent::MessageCreated(created) = *event
            {
                let sent: u64 = created.message.content.parse()?;
                delays.push(began.elapsed().saturating_sub(Duration::from_micros(sent)));
            }
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(delays)
    });
    let mut ticks = interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..count {
        tokio::select! {
            _ = ticks.tick() => {}
            // What comes back is read, so that nothing waits for it.
            heard = async { loop { if let Err(e) = speaker.recv().await { break e; } } } => return Err(heard.into()),
        }
        let content = began.elapsed().as_micros().to_string();
        let event = chat::MessageSend { room_id, content, client_id: None, reply_to_id: None };
        speaker.send(&ClientEvent::MessageSend(event)).await?;
    }
    listening.await?
}

fn at(sorted: &[Duration], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0.0, |delay| delay.as_secs_f64() * 1e3)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Arc::new(Args::parse());
    let mut all: Vec<Vec<Duration>> = KINDS.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.rounds {
        for ((kind, name), delays) in KINDS.iter().zip(&mut all) {
            match run(&args, *kind).await {
                Ok(more) => delays.extend(more),
                Err(e) => {
                    eprintln!("{name}: {e}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!("{} members away, {} messages a second, {} runs of {} s", args.away, args.rate, args.rounds, args.seconds);
    println!("{:24} {:>9} {:>9} {:>9}", "delivered after, ms", "p50", "p99", "largest");
    for ((_, name), delays) in KINDS.iter().zip(&mut all) {
        delays.sort_unstable();
        println!("{name:24} {:9.2} {:9.2} {:9.2}", at(delays, 50), at(delays, 99), at(delays, 100));
    }
    ExitCode::SUCCESS
}
