//! From an accepted connection to who serves it: a WebSocket at once, anything else with HTTP.

use std::{
    cell::RefCell,
    convert::Infallible,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Request},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
};

use crate::{
    http::{self, Shell},
    realtime::{
        hub::Hub,
        upgrade::{self, Agreed, Opened, Switch},
    },
    tasks::Tasks,
    tls::{Stream, Tls},
};

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of a client before it is known what it wants: a handshake has less than a quarter of it.
const FIRST_READ: usize = 4 * 1024;
/// Where WebSockets are had.
pub(super) const WEBSOCKET: &str = "/ws";

thread_local! {
    /// One buffer a thread: who has said nothing yet holds none.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; FIRST_READ].into());
}

/// What stands behind a listener.
pub(super) struct Front {
    pub(super) site: Arc<Shell>,
    /// Where WebSockets are had.
    pub(super) hub: Option<Arc<Hub>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) tasks: Tasks,
}

impl Front {
    /// Takes connections until the house stops.
    pub(super) async fn accept(self, listener: TcpListener) {
        let front = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = front.tasks.soft_stop() => return,
            };
            match accepted {
                Ok((io, addr)) => {
                    let _ = io.set_nodelay(true);
                    // On the heap, as a WebSocket needs none of it later, and its task lives long.
                    let greeting = Box::pin(front.clone().greet(io, addr));
                    front.tasks.spawn_for_client("client", async {
                        if let Some(opened) = greeting.await {
                            opened.serve().await;
                        }
                    });
                }
                Err(e) => {
                    // Out of file descriptors, most often: those who are here go on, and some will leave.
                    tracing::warn!(error = &e as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn unless_stopping<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // What has come already is taken in.
            biased;
            done = what => Some(done),
            () = self.tasks.soft_stop() => None,
        }
    }

    /// Serves a client until it ends, or becomes a WebSocket.
    async fn greet(self: Arc<Self>, io: TcpStream, addr: SocketAddr) -> Option<Opened> {
        let mut io = match &self.tls {
            None => Stream::Plain(io),
            Some(tls) => self.unless_stopping(tls.accept(io)).await??,
        };
        let Some(hub) = &self.hub else {
            self.speak_http(io, Vec::new(), addr).await;
            return None;
        };
        let first = tokio::time::timeout(HEAD_TIMEOUT, read_first(&mut io));
        // Nothing was asked yet: who is put off now has lost nothing.
        let mut first = self.unless_stopping(first).await?.ok()?.ok()?;
        match self.shake_hands(hub, &mut io, &mut first).await {
            Ok(Some(agreed)) => upgrade::open(io, first, hub, agreed).await,
            Ok(None) => {
                let (io, early, agreed) = self.speak_http(io, first, addr).await?;
                upgrade::open(io, early, hub, agreed).await
            }
            Err(e) => {
                tracing::debug!(error = &e as &dyn std::error::Error, "a handshake ended early");
                None
            }
        }
    }

    /// Answers a WebSocket's handshake, where `first` is one and nothing about it is to be refused; what came behind it is
    /// left in `first`.
    async fn shake_hands(&self, hub: &Hub, io: &mut Stream, first: &mut Vec<u8>) -> io::Result<Option<Agreed>> {
        let Some((request, length)) = http::simple_get(first, WEBSOCKET) else { return Ok(None) };
        let (uri, headers) = (request.uri(), request.headers());
        let Some(accept) = upgrade::accepts(hub, headers) else { return Ok(None) };
        let visit = self.site.begin(request.method(), uri, headers);
        let answered = visit.within(upgrade::answer(hub, uri, headers, accept)).await;
        let Some((mut response, agreed)) = answered else { return Ok(None) };
        self.site.end(visit, Some(WEBSOCKET), &mut response);
        io.write_all(&head_of_101(response.headers())).await?;
        io.flush().await?;
        first.drain(..length);
        first.shrink_to_fit();
        Ok(Some(agreed))
    }

    /// Speaks HTTP until the connection ends or becomes a WebSocket, of which this gives all there is to know.
    async fn speak_http(&self, io: Stream, first: Vec<u8>, addr: SocketAddr) -> Option<(Stream, Vec<u8>, Agreed)> {
        let switch = Switch::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(ConnectInfo(addr));
            extensions.insert(switch.clone());
            let site = self.site.clone();
            async move { Ok::<_, Infallible>(site.answer(request.map(Body::new)).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 * 1024)
            // One piece is cheaper to write than two, also where it has to be put together.
            .writev(false)
            .serve_connection(TokioIo::new(Begun { first, at: 0, io }), service)
            .with_upgrades();
        let outcome = {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = self.tasks.soft_stop() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        // The connection is dropped by now: an upgrade that it has not completed will never be, and nobody waits for it.
        if let Err(e) = outcome {
            tracing::debug!(error = &e as &dyn std::error::Error, "an HTTP connection ended early");
            return None;
        }
        let (upgraded, agreed) = switch.take()?.complete().await?;
        let Ok(parts) = upgraded.downcast::<TokioIo<Begun>>() else {
            tracing::error!("an upgraded connection is of an unexpected kind");
            return None;
        };
        // A copy: what came early lies in HTTP's buffer, which would stay as long as the connection.
        Some((parts.io.into_inner().io, parts.read_buf.to_vec(), agreed))
    }
}

/// Waits for a client's first bytes; none where it has gone without a word.
async fn read_first(io: &mut Stream) -> io::Result<Vec<u8>> {
    std::future::poll_fn(|cx| {
        READ.with_borrow_mut(|buffer| {
            let mut into = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut into))?;
            Poll::Ready(Ok(into.filled().to_vec()))
        })
    })
    .await
}

/// The head of an answer that opens a WebSocket (RFC 6455, section 4.2.2).
fn head_of_101(headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A connection of which the first bytes were read already.
struct Begun {
    first: Vec<u8>,
    /// How many of them were given.
    at: usize,
    io: Stream,
}

impl AsyncRead for Begun {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.first[this.at..];
        if rest.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, into);
        }
        let given = rest.len().min(into.remaining());
        into.put_slice(&rest[..given]);
        this.at += given;
        if this.at == this.first.len() {
            (this.first, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
