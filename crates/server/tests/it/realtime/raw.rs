//! A WebSocket client of single bytes (RFC 6455): says what no decent client would.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::kit::soon;

pub const TEXT: u8 = 0x81;
/// A text that is compressed (RFC 7692).
pub const PACKED: u8 = 0xC1;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;

/// The example of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

pub struct Raw {
    io: TcpStream,
    buffer: Vec<u8>,
}

/// An HTTP answer's head and, where it has a length, its body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// The headers of a good handshake.
pub fn handshake() -> Vec<(&'static str, String)> {
    [("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade"), ("Sec-WebSocket-Version", "13")]
        .into_iter()
        .chain([("Sec-WebSocket-Key", KEY)])
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

impl Raw {
    async fn connect(base: &str, receive_buffer: Option<u32>) -> Self {
        let addr = base.strip_prefix("http://").unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let io = soon("a TCP connection", socket.connect(addr)).await.unwrap();
        Self { io, buffer: Vec::new() }
    }

    /// Asks for `path` with these headers.
    pub async fn request(base: &str, path: &str, headers: &[(&str, String)]) -> (Answer, Self) {
        Self::connect(base, None).await.ask(path, headers).await
    }

    /// A connection on which nothing was asked yet.
    pub async fn silent(base: &str) -> Self {
        Self::connect(base, None).await
    }

    /// Asks for `path` with these headers.
    pub async fn ask(self, path: &str, headers: &[(&str, String)]) -> (Answer, Self) {
        self.ask_and_say(path, headers, &[]).await
    }

    /// The same, with bytes behind the request in one piece with it.
    pub async fn ask_and_say(mut self, path: &str, headers: &[(&str, String)], more: &[u8]) -> (Answer, Self) {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: mesh.test\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        self.bytes(&[request.as_bytes(), b"\r\n", more].concat()).await;
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "the server hung up on the handshake");
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.fill().await, "the body is short");
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        (Answer { status, head, body }, self)
    }

    /// A WebSocket that has not said hello.
    pub async fn open(base: &str, token: &str) -> Self {
        let (answer, raw) = Self::request(base, &format!("/ws?token={token}"), &handshake()).await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        raw
    }

    /// One that said hello, whose receive buffer is small.
    pub async fn narrow(base: &str, token: &str) -> Self {
        let raw = Self::connect(base, Some(8 * 1024)).await;
        let (answer, mut raw) = raw.ask(&format!("/ws?token={token}"), &handshake()).await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        raw.hello().await;
        raw
    }

    pub async fn hello(&mut self) -> Value {
        let hello = json!({"type": "system.hello", "id": "hi", "payload": {"peer_type": "client", "version": "raw"}});
        self.text(&hello.to_string()).await;
        let welcome = self.event().await;
        assert_eq!((&welcome["type"], &welcome["reply_to"]), (&json!("system.welcome"), &json!("hi")));
        welcome
    }

    /// What one read brings, of which nothing was read before: the events that are whole.
    pub async fn at_once(&mut self) -> Vec<Value> {
        assert!(self.buffer.is_empty());
        self.buffer.reserve(64 * 1024);
        assert!(self.fill().await, "the server hung up");
        let mut events = Vec::new();
        while let Some((size, frame)) = parse(&self.buffer) {
            self.buffer.drain(..size);
            events.push(serde_json::from_slice(&frame.payload).unwrap());
        }
        events
    }

    async fn fill(&mut self) -> bool {
        soon("bytes", self.io.read_buf(&mut self.buffer)).await.is_ok_and(|n| n > 0)
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// A masked frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.bytes(&masked(first, payload)).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes()).await;
    }

    /// A text as a client sends it that has agreed to compression.
    pub async fn packed(&mut self, text: &str) {
        self.frame(PACKED, &packed(text.as_bytes())).await;
    }

    /// The next frame; none at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((size, frame)) = parse(&self.buffer) {
                self.buffer.drain(..size);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(frame @ Frame { first: TEXT | PACKED, .. }) => return self.read(frame),
                Some(Frame { first: PING | PONG, .. }) => {}
                other => panic!("expected an event, got {other:?}"),
            }
        }
    }

    /// The event that a frame holds.
    pub fn read(&self, frame: Frame) -> Value {
        let text = if frame.first == PACKED { unpacked(&frame.payload) } else { frame.payload };
        serde_json::from_slice(&text).unwrap()
    }

    /// Reads to the close frame: its code and reason, and the events before it.
    pub async fn closed(&mut self) -> (u16, String, Vec<Value>) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Some(frame @ Frame { first: TEXT | PACKED, .. }) => events.push(self.read(frame)),
                Some(Frame { first: CLOSE, payload }) => {
                    let (code, reason) = payload.split_first_chunk().unwrap();
                    return (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap(), events);
                }
                Some(Frame { first: PING | PONG, .. }) => {}
                other => panic!("expected a close frame, got {other:?} after {} events", events.len()),
            }
        }
    }

    /// Closes as a client should, and waits until the server has hung up: by then it has forgotten this connection.
    pub async fn close(mut self) {
        self.frame(CLOSE, &1000_u16.to_be_bytes()).await;
        while let Some(frame) = self.next().await {
            assert!(frame.first != CLOSE || frame.payload == 1000_u16.to_be_bytes(), "{frame:?}");
        }
    }
}

/// A message, compressed without what came before (RFC 7692, section 7.2.1).
pub fn packed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    Compress::new(Compression::best(), false).compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0x00, 0x00, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

/// A message that the server has compressed without what came before.
fn unpacked(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 * 1024);
    let whole = [message, &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let mut inflate = Decompress::new(false);
    inflate.decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(inflate.total_in(), whole.len() as u64);
    out
}

/// A client's frame. `first` holds FIN, reserved bits and opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The beginning of a frame with a payload of that length; `bit` is the mask bit.
pub fn head(first: u8, bit: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(bit | length as u8),
        126..=0xFFFF => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame
}

/// A server's frame at the beginning of `bytes`, and its size.
fn parse(bytes: &[u8]) -> Option<(usize, Frame)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server must not mask");
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((start + length, Frame { first, payload }))
}
