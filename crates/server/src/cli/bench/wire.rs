//! A WebSocket client that reads as cheaply as can be: what is measured is the server.

use std::{cell::RefCell, io};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Fallible, nats};
use crate::realtime::frame::deflate;

/// Bytes read at once, into a buffer that the thread owns.
const READ_BUFFER: usize = 64 * 1024;
/// A request's head, its answer's.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a compressed event as it was.
const MAX_EVENT: usize = 1024 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
}

/// What a connection speaks.
enum Language {
    WebSocket,
    /// To be said to this subject.
    Nats(Box<str>),
}

/// A connection that said hello.
pub(super) struct Socket {
    pub(super) io: TcpStream,
    language: Language,
    /// The beginning of a frame whose rest has not come yet.
    rest: Vec<u8>,
    /// What was read so far, frames and all.
    pub(super) bytes: u64,
    /// Its peer id, once it was welcomed.
    pub(super) peer: Box<str>,
}

const HELLO: &str = r#"{"type":"system.hello","id":"hello","payload":{"peer_type":"client","version":"bench"}}"#;

/// The event that joins `room`, an id.
fn join(room: &str, since: Option<u64>) -> String {
    let since = since.map(|since| format!(r#","since_seq":{since}"#)).unwrap_or_default();
    format!(r#"{{"type":"room.join","id":"join","payload":{{"room_id":"{room}"{since}}}}}"#)
}

/// What is wanted of an answer.
#[derive(Default)]
pub(super) struct Answer {
    /// The first `peer_id`: a welcome's own.
    peer: Box<str>,
    /// The first `last_seq`: the one of the room that was joined.
    last_seq: Option<u64>,
}

impl Answer {
    fn read(frame: &[u8]) -> Fallible<Self> {
        if frame.starts_with(br#"{"type":"system.error""#) {
            return Err(format!("the server refused: {}", String::from_utf8_lossy(frame)));
        }
        let peer = text_of(frame, "peer_id").unwrap_or_default().into();
        Ok(Self { peer, last_seq: number_of(frame, "last_seq") })
    }

    fn joined(&self) -> Fallible<u64> {
        self.last_seq.ok_or_else(|| "a join was answered without last_seq".to_owned())
    }
}

pub(super) fn broken(e: io::Error) -> String {
    format!("the connection broke: {e}")
}

impl Socket {
    /// Connects, upgrades, says hello and hears the welcome.
    pub(super) async fn open(addr: &str, token: &str) -> Fallible<Self> {
        let mut socket = Self::upgrade(addr, &format!("/ws?token={token}"), false).await?;
        socket.say(&[HELLO]).await?;
        let [welcome] = socket.answers(["hello"], |_| {}).await?;
        socket.peer = welcome.peer;
        Ok(socket)
    }

    /// The same, and joins a room in one go, as our client does when it comes back; `each` gets whatever comes up to the
    /// answers and with them. With it the room's last number. `compressed` offers compression.
    pub(super) async fn enter(
        addr: &str,
        token: &str,
        compressed: bool,
        room: &str,
        since: Option<u64>,
        each: impl FnMut(&[u8]),
    ) -> Fallible<(Self, u64)> {
        let mut socket = Self::upgrade(addr, &format!("/ws?token={token}"), compressed).await?;
        socket.say(&[HELLO, &join(room, since)]).await?;
        let [welcome, joined] = socket.answers(["hello", "join"], each).await?;
        socket.peer = welcome.peer;
        Ok((socket, joined.joined()?))
    }

    async fn connect(addr: &str, language: Language) -> Fallible<Self> {
        let io = TcpStream::connect(addr).await.map_err(|e| format!("cannot connect to {addr}: {e}"))?;
        io.set_nodelay(true).map_err(broken)?;
        Ok(Self { io, language, rest: Vec::new(), bytes: 0, peer: Box::default() })
    }

    /// Connects to nats-server; nothing is said yet.
    pub(super) async fn to_nats(addr: &str, subject: &str) -> Fallible<Self> {
        Self::connect(addr, Language::Nats(subject.into())).await
    }

    /// Connects and upgrades; with `compressed` to a server that has to agree to compression.
    pub(super) async fn upgrade(addr: &str, path: &str, compressed: bool) -> Fallible<Self> {
        let mut socket = Self::connect(addr, Language::WebSocket).await?;
        let Self { io, rest, .. } = &mut socket;
        let offer = if compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        io.write_all(head.as_bytes()).await.map_err(broken)?;
        let end = loop {
            if let Some(at) = find(rest, b"\r\n\r\n") {
                break at + 4;
            }
            if rest.len() > MAX_HEAD || io.read_buf(rest).await.map_err(broken)? == 0 {
                return Err("the server answered the upgrade with no whole head".to_owned());
            }
        };
        if !rest.starts_with(b"HTTP/1.1 101") {
            let line = rest.split(|b| *b == b'\r').next().unwrap_or_default();
            return Err(format!("the server refused the upgrade: {}", String::from_utf8_lossy(line)));
        }
        // Without the windows of those before: the bench's clients keep none.
        if compressed && find(&rest[..end], b"server_no_context_takeover").is_none() {
            return Err("the server did not agree to compression: MESH_WS_COMPRESSION=on".to_owned());
        }
        rest.drain(..end);
        rest.shrink_to_fit();
        Ok(socket)
    }

    /// Joins a room; `each` gets whatever comes up to the answer and with it. The room's last number.
    pub(super) async fn join(&mut self, room: &str, since: Option<u64>, each: impl FnMut(&[u8])) -> Fallible<u64> {
        self.say(&[join(room, since)]).await?;
        let [joined] = self.answers(["join"], each).await?;
        joined.joined()
    }

    /// Writes events, as one piece.
    pub(super) async fn say(&mut self, texts: &[impl AsRef<str>]) -> Fallible<()> {
        let texts = texts.iter().map(AsRef::as_ref);
        let mut out = Vec::with_capacity(texts.clone().map(|text: &str| text.len() + 8).sum());
        for text in texts {
            match &self.language {
                Language::WebSocket => write_frame(&mut out, 0x81, text.as_bytes()),
                Language::Nats(subject) => nats::publish(&mut out, subject, text),
            }
        }
        self.io.write_all(&out).await.map_err(broken)
    }

    /// Reads until the answers to these ids have come; everything else of the same pieces goes to `each`. The answers are
    /// large: they are neither kept nor parsed, which would cost more than to send them.
    pub(super) async fn answers<const N: usize>(
        &mut self,
        ids: [&str; N],
        mut each: impl FnMut(&[u8]),
    ) -> Fallible<[Answer; N]> {
        let keys = ids.map(|id| format!("\"reply_to\":\"{id}\""));
        let (mut answers, mut refused) = ([const { None }; N], None);
        while answers.iter().any(Option::is_none) {
            self.read(|frame| {
                let head = &frame[..frame.len().min(512)];
                let mut waiting = answers.iter_mut().zip(&keys).filter(|(answer, _)| answer.is_none());
                match waiting.find(|(_, key)| find(head, key.as_bytes()).is_some()) {
                    Some((answer, _)) => {
                        *answer = Some(Answer::read(frame).unwrap_or_else(|words| {
                            refused = Some(words);
                            Answer::default()
                        }));
                    }
                    None => each(frame),
                }
            })
            .await?;
        }
        match refused {
            Some(words) => Err(words),
            None => Ok(answers.map(Option::unwrap_or_default)),
        }
    }

    /// Waits until something comes and gives every complete text frame. May be dropped while it waits.
    pub(super) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Fallible<()> {
        // What came with the upgrade's answer.
        let mut early = self.bytes == 0 && !self.rest.is_empty();
        loop {
            let taken = if early {
                early = false;
                self.bytes += self.rest.len() as u64;
                self.take(&[], &mut each)?
            } else {
                self.io.readable().await.map_err(broken)?;
                READ.with_borrow_mut(|buffer| match self.io.try_read(buffer) {
                    Ok(0) => Err("the server closed the connection".to_owned()),
                    Ok(n) => {
                        self.bytes += n as u64;
                        self.take(&buffer[..n], &mut each)
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Taken::default()),
                    Err(e) => Err(broken(e)),
                })?
            };
            if taken.pinged {
                let mut pong = Vec::new();
                match self.language {
                    Language::WebSocket => write_frame(&mut pong, 0x8a, b""),
                    Language::Nats(_) => pong.extend_from_slice(b"PONG\r\n"),
                }
                self.io.write_all(&pong).await.map_err(broken)?;
            }
            if taken.frames {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Fallible<Taken> {
        let nats = matches!(self.language, Language::Nats(_));
        let mut read = |bytes: &[u8]| if nats { nats::messages(bytes, each) } else { frames(bytes, each) };
        if self.rest.is_empty() {
            let (taken, used) = read(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(taken);
        }
        self.rest.extend_from_slice(bytes);
        let (taken, used) = read(&self.rest)?;
        if used == self.rest.len() {
            // A silent connection holds nothing.
            self.rest = Vec::new();
        } else {
            self.rest.drain(..used);
        }
        Ok(taken)
    }
}

/// What a piece of bytes held.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) frames: bool,
    pub(super) pinged: bool,
}

/// Gives each complete text frame; how many bytes they took.
fn frames(bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Fallible<(Taken, usize)> {
    let (mut taken, mut at, mut text) = (Taken::default(), 0, Vec::new());
    loop {
        let rest = &bytes[at..];
        let (head, length): (usize, usize) = match rest {
            [_, n, ..] if *n < 126 => (2, usize::from(*n)),
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (10, usize::try_from(length).map_err(|_| "a frame is larger than this machine's memory".to_owned())?)
            }
            _ => break,
        };
        let Some(payload) = rest.get(head..head.saturating_add(length)) else { break };
        match rest[0] {
            0x81 => {
                taken.frames = true;
                each(payload);
            }
            0xc1 => {
                taken.frames = true;
                text.clear();
                deflate::inflate(payload, MAX_EVENT, &mut text)
                    .map_err(|e| format!("an event could not be decompressed: {e}"))?;
                each(&text);
            }
            0x89 => taken.pinged = true,
            0x8a => {}
            0x88 => return Err(format!("the server closed: {}", close_words(payload))),
            other => return Err(format!("the server sent a frame that begins with {other:#04x}")),
        }
        at += head + length;
    }
    Ok((taken, at))
}

fn close_words(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => format!("{} {}", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason)),
        _ => "without a code".to_owned(),
    }
}

/// Writes a frame as a client does. A mask of zeros is a mask.
fn write_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Where `what` begins.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn digits(bytes: &[u8]) -> u64 {
    bytes.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0')))
}

/// Finds numbers in events. Events of a room are alike: where the last one bore its number, the next is looked at first.
#[derive(Default)]
pub(super) struct Reader {
    at: usize,
}

impl Reader {
    /// The number of a numbered change, and its room's id.
    pub(super) fn change<'a>(&mut self, frame: &'a [u8]) -> Option<(&'a [u8], u64)> {
        const KEY: &[u8] = br#"","seq":"#;
        let kind = frame.get(br#"{"type":""#.len()..)?;
        if !kind.starts_with(b"chat.message.") && !kind.starts_with(b"chat.reaction.updated") {
            return None;
        }
        if !frame.get(self.at..)?.starts_with(KEY) {
            self.at = find(frame, KEY)?;
        }
        let room = frame.get(self.at.checked_sub(36)?..self.at)?;
        Some((room, digits(&frame[self.at + KEY.len()..])))
    }
}

/// What stands behind the first of this name.
fn value_of<'a>(frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let key = format!("\"{name}\":");
    find(frame, key.as_bytes()).map(|at| &frame[at + key.len()..])
}

/// A whole number that stands under a name.
pub(super) fn number_of(frame: &[u8], name: &str) -> Option<u64> {
    value_of(frame, name).map(digits)
}

/// A text that stands under a name, and needs no escapes.
fn text_of<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let text = value_of(frame, name)?.strip_prefix(b"\"")?;
    std::str::from_utf8(&text[..memchr::memchr(b'"', text)?]).ok()
}

/// The time that a message's author wrote at its beginning: see [`super::load::said_at`].
pub(super) fn stamp(frame: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""content":""#;
    let at = find(frame, KEY)? + KEY.len();
    frame.get(at)?.is_ascii_digit().then(|| digits(&frame[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(text: &[u8]) -> Vec<u8> {
        let mut out = vec![0x81];
        if text.len() < 126 {
            out.push(text.len() as u8);
        } else {
            out.push(126);
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(text);
        out
    }

    #[test]
    fn only_whole_frames_are_given() {
        let long = [b'y'; 300];
        let mut bytes = server_frame(b"one");
        bytes.extend(server_frame(&long));
        let whole = bytes.len();
        bytes.extend([0x89, 0]);
        bytes.extend(&server_frame(b"three")[..4]);
        let mut seen = Vec::new();
        let (taken, used) = frames(&bytes, &mut |frame: &[u8]| seen.push(frame.to_vec())).unwrap();
        assert_eq!((seen, used), (vec![b"one".to_vec(), long.to_vec()], whole + 2));
        assert!(taken.frames && taken.pinged);
    }

    #[test]
    fn a_close_is_an_error_with_its_words() {
        let error = frames(&[0x88, 6, 0x11, 0x4d, b's', b'l', b'o', b'w'], &mut |_: &[u8]| {}).err().unwrap();
        assert_eq!(error, "the server closed: 4429 slow");
    }

    #[test]
    fn numbers_are_read_where_they_stand() {
        let room = "0198c0de-0000-7000-8000-000000000001";
        let event = |kind: &str, id: &str, seq: u64| {
            format!(
                r#"{{"type":"{kind}","id":"{id}","payload":{{"room_id":"{room}","seq":{seq},"message":{{"seq":3,"content":"77 x"}}}}}}"#
            )
        };
        let mut reader = Reader::default();
        for (kind, id, seq) in [
            ("chat.message.created", "a", 9),
            ("chat.message.created", "b", 10),
            ("chat.reaction.updated", "longer", 11),
        ] {
            let text = event(kind, id, seq);
            assert_eq!(reader.change(text.as_bytes()), Some((room.as_bytes(), seq)));
            assert_eq!(stamp(text.as_bytes()), Some(77));
        }
        assert_eq!(reader.change(event("chat.history", "a", 9).as_bytes()), None);
        assert_eq!(reader.change(br#"{"type":"presence.update"}"#), None);
    }
}
