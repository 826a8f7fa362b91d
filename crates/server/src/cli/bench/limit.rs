//! What the machine can do: a bare broadcaster without accounts, storage, order or parsing, to stand beside. What it reads
//! together it writes together. Whoever asks it by plain HTTP gets the same few words each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Fallible, wire::find};
use crate::realtime::frame::{Decoder, Incoming, accept_key, text_frame};

/// Bytes of a frame, or of what is read at once, at most.
const LONGEST: usize = 64 * 1024;

/// What a request that is no handshake is answered with.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";

type Everybody = Arc<Mutex<Vec<Arc<TcpStream>>>>;

fn locked(everybody: &Everybody) -> MutexGuard<'_, Vec<Arc<TcpStream>>> {
    everybody.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives whatever anybody says to everybody, until the process ends.
pub(super) async fn serve(addr: &str) -> Fallible<()> {
    let listener = TcpListener::bind(addr).await.map_err(|e| format!("cannot listen on {addr}: {e}"))?;
    let everybody = Everybody::default();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((io, _)) = accepted {
                let everybody = everybody.clone();
                clients.spawn(async move { client(io, &everybody).await });
            },
            // Those who have gone are forgotten.
            Some(_) = clients.join_next() => {}
        }
    }
}

/// A client's life; nothing is said of its end.
async fn client(mut io: TcpStream, everybody: &Everybody) -> Option<()> {
    io.set_nodelay(true).ok()?;
    let mut said = Vec::new();
    let key = loop {
        let Some(end) = find(&said, b"\r\n\r\n") else {
            if said.len() > 16_384 || io.read_buf(&mut said).await.ok()? == 0 {
                return None;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&said[..end]);
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key:"));
        if let Some(key) = key {
            break key.trim().to_owned();
        }
        io.write_all(ANSWER).await.ok()?;
        said.drain(..end + 4);
    };
    let accept = accept_key(&key);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    io.write_all(answer.as_bytes()).await.ok()?;
    let io = Arc::new(io);
    locked(everybody).push(io.clone());
    listen(&io, everybody).await;
    locked(everybody).retain(|other| !Arc::ptr_eq(other, &io));
    None
}

async fn listen(io: &TcpStream, everybody: &Everybody) -> Option<()> {
    let mut decoder = Decoder::new(LONGEST);
    let mut buffer = vec![0; 4_096];
    loop {
        io.readable().await.ok()?;
        let read = match io.try_read(&mut buffer) {
            Ok(0) => return None,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        };
        let (mut input, mut said) = (&mut buffer[..read], Vec::new());
        while let Some(incoming) = decoder.decode(&mut input).ok()? {
            match incoming {
                Incoming::Text(text) => said.extend_from_slice(&text_frame(text.as_bytes())),
                Incoming::Close { .. } => return None,
                Incoming::Binary(_) | Incoming::Ping(_) | Incoming::Pong(_) => {}
            }
        }
        if !said.is_empty() {
            let there = locked(everybody).clone();
            for other in there {
                write(&other, &said).await;
            }
        }
        if read == buffer.len() && read < LONGEST {
            buffer.resize(read * 2, 0);
        }
    }
}

/// Writes at once, as a rule.
async fn write(io: &TcpStream, mut rest: &[u8]) {
    while !rest.is_empty() {
        match io.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && io.writable().await.is_ok() => {}
            Err(_) => return,
        }
    }
}
