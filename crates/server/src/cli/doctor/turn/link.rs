//! How messages come to a TURN server and back: datagrams, which are repeated, or a stream.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

use crate::cli::doctor::stun::{self, HEAD, Message};

/// How long an answer may take, with all repetitions.
pub(super) const ANSWER: Duration = Duration::from_secs(4);
/// When a datagram is sent again for the first time; then after twice as long (RFC 8489, section 6.2.1).
pub(super) const REPEAT: Duration = Duration::from_millis(400);
/// The largest datagram that is read, bytes.
pub(super) const DATAGRAM: usize = 2048;

/// How a client reaches the TURN server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

pub(super) enum Link {
    Udp(UdpSocket),
    /// With what was read and is no whole message yet.
    Tcp(TcpStream, Vec<u8>),
}

/// A local address to send from.
pub(super) fn any(to: SocketAddr) -> SocketAddr {
    let ip = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(ip, 0)
}

impl Link {
    pub(super) async fn open(transport: Transport, to: SocketAddr) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(any(to)).await?;
                socket.connect(to).await?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => timeout(ANSWER, TcpStream::connect(to))
                .await
                .map_err(io::Error::from)?
                .map(|s| Self::Tcp(s, Vec::new())),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).await.map(drop),
            Self::Tcp(stream, _) => stream.write_all(bytes).await,
        }
    }

    /// The next message, or datagram.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut bytes = vec![0; DATAGRAM];
                let length = socket.recv(&mut bytes).await?;
                bytes.truncate(length);
                Ok(bytes)
            }
            Self::Tcp(stream, read) => loop {
                // What a cancelled call has read stays for the next one.
                if let Some(head) = read.first_chunk::<HEAD>() {
                    let length = stun::length(*head).ok_or(io::ErrorKind::InvalidData)?;
                    if read.len() >= length {
                        let rest = read.split_off(length);
                        return Ok(std::mem::replace(read, rest));
                    }
                }
                if stream.read_buf(read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

/// Asks until an answer to this very request comes; a datagram is repeated.
pub(super) async fn ask(link: &mut Link, request: &[u8]) -> io::Result<Vec<u8>> {
    let transaction = Message::read(request).ok_or(io::ErrorKind::InvalidInput)?.transaction;
    let deadline = Instant::now() + ANSWER;
    let repeats = matches!(link, Link::Udp(_));
    let (mut wait, mut garbage) = (REPEAT, false);
    loop {
        link.send(request).await?;
        let until = if repeats { deadline.min(Instant::now() + wait) } else { deadline };
        wait *= 2;
        loop {
            match timeout_at(until, link.receive()).await {
                Ok(Ok(bytes)) => match Message::read(&bytes) {
                    Some(answer) if answer.transaction == transaction => return Ok(bytes),
                    Some(_) => {}
                    None => garbage = true,
                },
                Ok(Err(e)) => return Err(e),
                Err(_) if Instant::now() >= deadline => {
                    let kind = if garbage { io::ErrorKind::InvalidData } else { io::ErrorKind::TimedOut };
                    return Err(kind.into());
                }
                Err(_) => break,
            }
        }
    }
}
