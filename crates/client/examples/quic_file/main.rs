//! A file from one agent to another, over QUIC. The server introduces the two and never sees the file; once they have
//! heard `p2p.session.created`, they don't need it.
//!
//! ```sh
//! cargo run -p mesh-client --example quic_file -- receive --into . --peer-id laptop
//! cargo run -p mesh-client --example quic_file -- send --room ROOM_ID --to laptop FILE
//! ```
//!
//! Each needs `MESH_TOKEN` (a personal access token with the scope `rtc` is enough), and the server an asymmetric
//! algorithm: `MESH_JWT_ALGORITHM=EdDSA`.

#![allow(clippy::print_stdout)]

mod identity;
mod token;

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use mesh_client::{Connection, Credential, Rest};
use mesh_protocol::{
    P2pSessionId, PeerId, RoomId,
    event::{
        ClientEvent, ServerEvent,
        p2p::{Accept, Created, Reject, Request, Requested, SessionKind},
        system::Hello,
    },
    limits::{P2P_ANSWER_SECONDS, P2P_TOKEN_SECONDS},
    model::{Capability, PeerType},
    rest::CapabilityRequest,
    text::FileName,
};
use quinn::{Endpoint, RecvStream, SendStream, VarInt};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{task::block_in_place, time::timeout};

use identity::{Identity, fingerprint};
use token::Tokens;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Sends a file from agent to agent; the server only introduces them.
#[derive(Parser)]
struct Args {
    /// The server's address
    #[arg(long, global = true, default_value = "http://localhost:8000")]
    server: String,
    /// An access token, or a personal access token with the scope `rtc`
    #[arg(long, global = true, env = "MESH_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// Where to be reached by the other agent
    #[arg(long, global = true, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Takes one file.
    Receive {
        /// The folder that it comes into
        #[arg(long, default_value = ".")]
        into: PathBuf,
        /// The name to be asked for under
        #[arg(long)]
        peer_id: Option<PeerId>,
    },
    /// Sends one file.
    Send {
        /// The room that both are members of
        #[arg(long)]
        room: String,
        /// The peer that takes it
        #[arg(long)]
        to: PeerId,
        /// Begin only after a line on standard input
        #[arg(long)]
        wait: bool,
        /// Which file
        file: PathBuf,
    },
}

/// What stands before a file.
#[derive(Serialize, Deserialize)]
struct Header {
    session_token: String,
    name: String,
    size: u64,
}

const MAX_HEADER: usize = 16 * 1024;
const PIECE: usize = 64 * 1024;
const DIALLING: Duration = Duration::from_secs(5);
const REFUSED: VarInt = VarInt::from_u32(1);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let rest = Rest::new(&args.server)?.with_token(&args.token);
    // Fetched now: later the server may be gone.
    let tokens = Tokens::new(rest.jwks().await?)?;
    let mut socket = Connection::connect(&args.server, &Credential::Token(args.token)).await?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let hello = Hello { peer_type: PeerType::Agent, version, device_name: None };
    let identity = Identity::new()?;
    match args.act {
        Act::Receive { into, peer_id } => {
            let welcome = socket.hello(hello, peer_id.as_ref()).await?;
            say(&format!("ready {}", welcome.peer_id))?;
            receive(socket, tokens, &identity, args.listen, &into).await
        }
        Act::Send { room, to, wait, file } => {
            socket.hello(hello, None).await?;
            let room_id = RoomId::parse(&room);
            let wanted = CapabilityRequest {
                room_id,
                capabilities: vec![Capability::ShareFile],
                target_peer_id: Some(to.clone()),
                ttl: None,
                fingerprint: Some(identity.fingerprint()),
            };
            let capability = rest.capability(&wanted).await?.capability_token;
            let endpoint = Endpoint::client(args.listen)?;
            let request = Request {
                room_id,
                target_peer_id: to,
                kind: SessionKind::File,
                capability_token: Some(capability),
                endpoints: vec![endpoint.local_addr()?.to_string()],
                fingerprint: identity.fingerprint(),
                meta: None,
            };
            send(socket, &tokens, &identity, &endpoint, request, wait, &file).await
        }
    }
}

/// For whoever reads along: a line, at once.
fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

// --- The one who listens ---------------------------------------------------------------------------------------------

async fn receive(
    mut socket: Connection,
    mut tokens: Tokens,
    identity: &Identity,
    listen: SocketAddr,
    into: &Path,
) -> Result<()> {
    let asked = loop {
        let incoming = socket.recv().await?;
        if let Some(ServerEvent::P2pRequested(asked)) = incoming.event() {
            if asked.kind == SessionKind::File {
                break asked.clone();
            }
            let reason = Some("files only".to_owned());
            let reject = Reject { session_id: asked.session_id, reason };
            socket.send(&ClientEvent::P2pReject(reject)).await?;
        }
    };
    let caller = read_fingerprint(&asked.fingerprint)?;
    let endpoint = identity.listen(listen, &caller)?;
    let accept = Accept {
        session_id: asked.session_id,
        endpoints: vec![endpoint.local_addr()?.to_string()],
        fingerprint: identity.fingerprint(),
    };
    let answer = socket.request(&ClientEvent::P2pAccept(accept)).await?;
    let Some(ServerEvent::P2pCreated(created)) = answer.event() else { return Err("the session was not made".into()) };
    say(&format!("created {}", created.session_id))?;
    let taking = take(&endpoint, &mut tokens, identity, &asked, &caller, into);
    let patience = Duration::from_secs(P2P_TOKEN_SECONDS);
    let (name, sum, connection) = unless_closed(&mut socket, created.session_id, timeout(patience, taking)).await??;
    say(&format!("received {name} {sum}"))?;
    // The other side parts when it has read the answer: from the server it would hear sooner that this one has gone.
    connection.closed().await;
    drop(socket);
    endpoint.wait_idle().await;
    Ok(())
}

/// Takes the file of the first who shows the session's token.
async fn take(
    endpoint: &Endpoint,
    tokens: &mut Tokens,
    identity: &Identity,
    asked: &Requested,
    caller: &str,
    into: &Path,
) -> Result<(String, String, quinn::Connection)> {
    while let Some(incoming) = endpoint.accept().await {
        // Somebody else's certificate ends the handshake.
        let Ok(connection) = incoming.await else { continue };
        let Ok((mut answer, mut stream)) = connection.accept_bi().await else { continue };
        let own = identity.fingerprint();
        let opened = async {
            let header = read_header(&mut stream).await?;
            let claims = tokens.take(&header.session_token, asked.session_id, &own, caller)?;
            let is_asker = claims.initiator.peer_id == asked.from_peer && claims.initiator.sub == asked.from_user;
            if !is_asker || claims.room_id != asked.room_id || claims.kind != asked.kind {
                return Err("the token is for something else than what was asked".into());
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(header)
        };
        let header = match opened.await {
            Ok(header) => header,
            Err(error) => {
                connection.close(REFUSED, error.to_string().as_bytes());
                continue;
            }
        };
        let (name, sum) = save(&mut stream, &header, into).await?;
        answer.write_all(&sum).await?;
        answer.finish()?;
        return Ok((name, hex(&sum), connection));
    }
    Err("the endpoint is closed".into())
}

async fn save(stream: &mut RecvStream, header: &Header, into: &Path) -> Result<(String, [u8; 32])> {
    let name = FileName::parse(&header.name)?.into_string();
    let (path, part) = (into.join(&name), into.join(format!("{name}.part")));
    if path.exists() {
        return Err(format!("{} is there already", path.display()).into());
    }
    let mut file = block_in_place(|| File::create_new(&part))?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = stream.read_chunk(PIECE, true).await? {
        size += chunk.bytes.len() as u64;
        if size > header.size {
            break;
        }
        hash.update(&chunk.bytes);
        block_in_place(|| file.write_all(&chunk.bytes))?;
    }
    if size != header.size {
        block_in_place(|| fs::remove_file(&part))?;
        return Err(format!("{size} bytes came, {} were announced", header.size).into());
    }
    block_in_place(|| file.sync_all().and_then(|()| fs::rename(&part, &path)))?;
    Ok((name, hash.finalize().into()))
}

async fn read_header(stream: &mut RecvStream) -> Result<Header> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err("the header is too long".into());
    }
    let mut header = vec![0; length];
    stream.read_exact(&mut header).await?;
    Ok(serde_json::from_slice(&header)?)
}

// --- The one who dials -----------------------------------------------------------------------------------------------

async fn send(
    mut socket: Connection,
    tokens: &Tokens,
    identity: &Identity,
    endpoint: &Endpoint,
    request: Request,
    wait: bool,
    path: &Path,
) -> Result<()> {
    let answer = socket.request(&ClientEvent::P2pRequest(request)).await?;
    let Some(ServerEvent::Ack(ack)) = answer.event() else { return Err("this is no answer to a request".into()) };
    let session = ack.session_id.ok_or("the answer names no session")?;
    let made = timeout(Duration::from_secs(2 * P2P_ANSWER_SECONDS), async {
        loop {
            match socket.recv().await?.event() {
                Some(ServerEvent::P2pCreated(created)) if created.session_id == session => break Ok(created.clone()),
                Some(ServerEvent::P2pClosed(closed)) if closed.session_id == session => {
                    let words = closed.message.clone().unwrap_or_default();
                    break Err(format!("no session: {} {words}", closed.reason.as_str()).into());
                }
                _ => {}
            }
        }
    });
    let created: Created = made.await?.map_err(|e: Box<dyn std::error::Error + Send + Sync>| e)?;
    // The server signed which certificate the other side shows: nobody on the way can have put another in its place.
    let claims = tokens.read(&created.session_token)?;
    let listener = read_fingerprint(&created.peer.fingerprint)?;
    let is_ours = claims.initiator.cnf.fingerprint == identity.fingerprint() && claims.session_id == session;
    let is_theirs = claims.responder.cnf.fingerprint == listener && claims.responder.sub == created.peer.user_id;
    if !is_ours || !is_theirs || claims.responder.peer_id != created.peer.peer_id {
        return Err("the session's token is bound to other certificates".into());
    }
    say(&format!("created {session}"))?;
    if wait {
        block_in_place(|| io::stdin().read_line(&mut String::new()))?;
    }
    let sum = unless_closed(&mut socket, session, give(endpoint, identity, &listener, &created, path)).await?;
    say(&format!("sent {sum}"))?;
    endpoint.wait_idle().await;
    Ok(())
}

async fn give(
    endpoint: &Endpoint,
    identity: &Identity,
    listener: &str,
    created: &Created,
    path: &Path,
) -> Result<String> {
    let connection = dial(endpoint, identity, listener, &created.peer.endpoints).await?;
    let (mut stream, mut answer) = connection.open_bi().await?;
    let mut file = block_in_place(|| File::open(path))?;
    let header = Header {
        session_token: created.session_token.clone(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        size: file.metadata()?.len(),
    };
    let sent = async {
        let header = serde_json::to_vec(&header)?;
        stream.write_all(&u32::try_from(header.len())?.to_be_bytes()).await?;
        stream.write_all(&header).await?;
        let sum = copy(&mut file, &mut stream).await?;
        stream.finish()?;
        let mut theirs = [0; 32];
        answer.read_exact(&mut theirs).await?;
        if theirs != sum {
            return Err("the other side has another file than this".into());
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(hex(&sum))
    };
    let sum = sent.await.map_err(|error| match connection.close_reason() {
        Some(reason) => format!("{error}: {reason}").into(),
        None => error,
    })?;
    connection.close(VarInt::from_u32(0), b"done");
    Ok(sum)
}

async fn dial(
    endpoint: &Endpoint,
    identity: &Identity,
    listener: &str,
    addresses: &[String],
) -> Result<quinn::Connection> {
    let mut last = "the other side names no address".into();
    for address in addresses {
        // The name is not looked at: the certificate is pinned.
        let dialled = endpoint.connect_with(identity.dialer(listener)?, address.parse()?, "mesh-agent")?;
        match timeout(DIALLING, dialled).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = format!("{address}: {error}").into(),
            Err(error) => last = format!("{address}: {error}").into(),
        }
    }
    Err(last)
}

async fn copy(file: &mut File, stream: &mut SendStream) -> Result<[u8; 32]> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        let read = block_in_place(|| file.read(&mut piece))?;
        let Some(bytes @ [_, ..]) = piece.get(..read) else { return Ok(hash.finalize().into()) };
        hash.update(bytes);
        stream.write_all(bytes).await?;
    }
}

// --- Both ------------------------------------------------------------------------------------------------------------

/// Does something unless the server says that the session is over. A server that is gone says nothing: what the two have
/// agreed on holds.
async fn unless_closed<T, E>(
    socket: &mut Connection,
    session: P2pSessionId,
    work: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let told = async {
        while let Ok(incoming) = socket.recv().await {
            if let Some(ServerEvent::P2pClosed(closed)) = incoming.event()
                && closed.session_id == session
            {
                return closed.reason;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        done = work => done.map_err(Into::into),
        reason = told => Err(format!("the session was closed: {}", reason.as_str()).into()),
    }
}

/// A fingerprint that the other agent writes as this one does.
fn read_fingerprint(text: &str) -> Result<String> {
    if text.len() == fingerprint(b"").len() {
        Ok(text.to_owned())
    } else {
        Err("expected a base64url fingerprint".into())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
