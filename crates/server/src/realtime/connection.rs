//! The task that owns a socket: reads frames, lets them be acted on, writes what waits, keeps the times.

use std::{
    cell::RefCell,
    future::Future,
    io::IoSlice,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use mesh_protocol::{
    CloseCode, Timestamp,
    event::system::{Goodbye, TokenExpiring},
    limits::{
        EVENTS_BURST_FACTOR, HEARTBEAT_SECONDS, HELLO_SECONDS, MAX_FRAME_BYTES, SIGNALS_BURST, SIGNALS_PER_SECOND,
    },
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    conn::{Close, Conn, Outbox, SLICES},
    dispatch,
    frame::{self, Decoder, Incoming},
    hub::Hub,
};
use crate::{
    domain::{bucket::Bucket, outqueue::Class},
    service::chat::Sends,
    tls::Stream,
};

/// How long parting words may take to leave, and the other side to part.
const PARTING: Duration = Duration::from_secs(3);
/// The same for a reader who is too slow: what the system holds for it goes before.
const SLOW_PARTING: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(HEARTBEAT_SECONDS);
/// Turns of one connection before others get theirs.
const TURNS: usize = 16;
/// Connections that a restarted server is asked to take back in a second.
const RETURNS_PER_SECOND: u64 = 1_000;
/// How long before its end a credential's holder is warned, milliseconds.
const WARNING_MS: i64 = 60_000;
/// Answers to a client that arrives which wait for the next one.
const HELD_BYTES: usize = 32 * 1024;
const READ_BUFFER: usize = 64 * 1024;

thread_local! {
    /// One read buffer a thread: a silent connection holds none.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
}

type Command = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Parting words are queued; what the other side still says is dropped.
    Parting {
        heard: bool,
    },
}

enum Turn {
    Idle,
    Worked,
    End,
}

/// A WebSocket connection with a verified credential.
pub(super) struct Connection {
    pub(super) conn: Arc<Conn>,
    pub(super) hub: Arc<Hub>,
    decoder: Decoder,
    /// Bytes that were read but not acted on yet.
    backlog: Vec<u8>,
    /// The event that is being acted on: the next is read when it is done.
    command: Option<Command>,
    /// What was said in the bytes that are being acted on, and was not given to the store yet.
    pub(super) sends: Sends,
    /// It arrives: what a hello and the joins behind it are answered with leaves together.
    pub(super) arriving: bool,
    pub(super) bucket: Bucket,
    /// Signalling has its own: the candidates of a call come by the dozen.
    pub(super) signals: Bucket,
    /// Malformed frames in a row.
    pub(super) malformed: u32,
    /// Events refused for their rate in a row.
    pub(super) flooding: u32,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    heard_at: Instant,
    next_ping: Instant,
    /// When the parting is over.
    ends_at: Instant,
    /// The client has heard that its credential ends.
    warned: bool,
    opened_at: Instant,
}

impl Drop for Connection {
    // Bound to the value's lifetime, so that no way out forgets it.
    fn drop(&mut self) {
        let metrics = &self.hub.app().metrics;
        metrics.sockets.fall();
        let mut outbox = self.conn.outbox();
        // The socket ends with its task, whoever else still holds the connection.
        outbox.end();
        let close = outbox.close;
        drop(outbox);
        metrics.end(close.map(|close| close.code));
        if close.is_some_and(|close| close.reason == "too_slow") {
            metrics.slow_readers.add(1);
        }
        let user = self.conn.user;
        self.hub.app().presence.disconnect(user, self.conn.number);
        self.hub.unregister(&self.conn, user);
    }
}

/// Serves a connection to its end. It stands on the heap: its task would hold room for it twice.
pub(super) async fn serve(mut connection: Box<Connection>) {
    let app = connection.hub.app().clone();
    let over = tokio::select! {
        () = std::future::poll_fn(|cx| connection.poll(cx)) => true,
        () = app.tasks.soft_stop() => false,
    };
    if !over {
        connection.conn.close(connection.restarting());
        std::future::poll_fn(|cx| connection.poll(cx)).await;
    }
    // Only TLS has a last word, and is never lent.
    let io = connection.conn.outbox().io.take_if(|io| matches!(io, Stream::Tls(_)));
    if let Some(mut io) = io {
        io.farewell().await;
    }
}

/// Completes the closing handshake of a connection without a valid credential.
pub(super) async fn refuse(mut io: Stream, close: Close) {
    let mut words = close_bytes(close);
    let parting = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        if io.write_all_buf(&mut words).await.is_ok() && io.flush().await.is_ok() {
            let mut rest = [0; 512];
            let mut decoder = Decoder::new(MAX_FRAME_BYTES);
            // Until the other side parts too: a socket that is dropped with unread bytes resets, and the words are lost.
            while let Ok(n @ 1..) = io.read(&mut rest).await {
                let mut input = &mut rest[..n];
                while let Ok(Some(incoming)) = decoder.decode(&mut input) {
                    if matches!(incoming, Incoming::Close { .. }) {
                        return;
                    }
                }
            }
        }
    };
    let _ = tokio::time::timeout(PARTING, parting).await;
    io.farewell().await;
}

fn close_bytes(close: Close) -> Bytes {
    frame::close_frame(Some(close.code.number()), close.reason)
}

impl Connection {
    /// A connection of which nothing was heard but `early`, which came behind the upgrade request.
    pub(super) fn open(io: Stream, early: Vec<u8>, hub: Arc<Hub>, conn: Arc<Conn>) -> Box<Self> {
        let now = Instant::now();
        let (app, now_ms) = (hub.app(), dispatch::now_ms(hub.app()));
        let rate = app.config.events_per_second;
        app.metrics.sockets.rise();
        app.metrics.opened.add(1);
        conn.outbox().io = Some(io);
        Box::new(Self {
            bucket: Bucket::new(rate, rate.saturating_mul(EVENTS_BURST_FACTOR), now_ms),
            signals: Bucket::new(SIGNALS_PER_SECOND.max(rate), SIGNALS_BURST.max(rate), now_ms),
            decoder: Decoder::new(MAX_FRAME_BYTES).with_deflate(conn.deflate),
            conn,
            hub,
            backlog: early,
            command: None,
            sends: Sends::default(),
            arriving: false,
            malformed: 0,
            flooding: 0,
            phase: Phase::Open,
            // The first turn looks at every time, and sets it.
            timer: Box::pin(tokio::time::sleep_until(now + HEARTBEAT)),
            heard_at: now,
            next_ping: now + HEARTBEAT,
            ends_at: now,
            warned: false,
            opened_at: now,
        })
    }

    /// The parting of a planned stop. Clients are told to come back spread over time, so that they don't all return
    /// at once.
    fn restarting(&self) -> Close {
        let spread_ms = (self.hub.connections() as u64 * 1_000 / RETURNS_PER_SECOND).clamp(1_000, 30_000);
        let retry_after_ms = 500 + self.conn.number.wrapping_mul(7_919) % spread_ms;
        Close { retry_after_ms, ..Close::new(CloseCode::Restarting, "restarting") }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What this task brings about itself it comes upon itself: it need not be woken for that.
        drop(self.conn.waker.take());
        let mut can_be_woken = false;
        for _ in 0..TURNS {
            match self.turn(cx) {
                Turn::Worked => {}
                Turn::End => return Poll::Ready(()),
                Turn::Idle if can_be_woken => return Poll::Pending,
                Turn::Idle => {
                    self.conn.waker.register(cx.waker());
                    // One more, for what others brought before that.
                    can_be_woken = true;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done now, each kind of thing once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::Idle;
        self.part_if_asked();
        match self.write(cx) {
            Turn::Idle => {}
            Turn::Worked => turn = Turn::Worked,
            Turn::End => return Turn::End,
        }
        if let Some(command) = &mut self.command
            && command.as_mut().poll(cx).is_ready()
        {
            self.command = None;
            turn = Turn::Worked;
        }
        match self.read(cx) {
            Turn::Idle => {}
            Turn::Worked => turn = Turn::Worked,
            Turn::End => return Turn::End,
        }
        let retimed = self.conn.retimed.swap(false, Ordering::AcqRel);
        if retimed {
            self.warned = false;
        }
        if retimed || self.timer.as_mut().poll(cx).is_ready() {
            if self.tick() {
                return Turn::End;
            }
            turn = Turn::Worked;
        }
        turn
    }

    /// Ends the connection at once: nothing more that it says is acted on.
    pub(super) fn end(&mut self, close: Close) {
        self.conn.close(close);
        self.part_if_asked();
    }

    /// Queues the parting words once somebody wants this connection to end.
    fn part_if_asked(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        let Some(close) = self.conn.outbox().close else { return };
        let goodbye = self.conn.peer().map(|peer| {
            let words = Goodbye {
                code: close.code.number(),
                reason: close.reason.to_owned(),
                action: close.code.action(),
                retry_after_ms: close.retry_after_ms,
            };
            self.hub.encoder.event(&words, peer.as_str(), None)
        });
        let mut outbox = self.conn.outbox();
        if let Some(goodbye) = goodbye {
            outbox.queue.push_last(goodbye);
        }
        outbox.queue.push_last(close_bytes(close));
        drop(outbox);
        self.begin_parting(false, if close.code == CloseCode::TooSlow { SLOW_PARTING } else { PARTING });
    }

    fn begin_parting(&mut self, heard: bool, patience: Duration) {
        self.phase = Phase::Parting { heard };
        self.command = None;
        self.backlog = Vec::new();
        self.ends_at = Instant::now() + patience;
        self.timer.as_mut().reset(self.ends_at);
    }

    /// Writes what waits, as much as the socket takes.
    fn write(&mut self, cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::Idle;
        let mut outbox = self.conn.outbox();
        let Outbox { queue, io: Some(io), lent: false, taken, deaf, .. } = &mut *outbox else {
            // A writer has it, which wakes this task where it leaves something to do.
            return if outbox.lent { Turn::Idle } else { Turn::End };
        };
        if self.arriving && self.command.is_some() && queue.len_bytes() < HELD_BYTES {
            return Turn::Idle;
        }
        while !queue.is_empty() && !*deaf {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = queue.io_slices(&mut slices);
            let io = Pin::new(&mut *io);
            let written = match &slices[..filled] {
                [one] => io.poll_write(cx, one),
                several => io.poll_write_vectored(cx, several),
            };
            match written {
                Poll::Ready(Ok(written)) => queue.consume(written),
                Poll::Ready(Err(_)) => *deaf = true,
                Poll::Pending => {
                    queue.refuse();
                    break;
                }
            }
            (*taken, turn) = (true, Turn::Worked);
        }
        // While nothing is read, what is taken is the sign of life: its pongs wait to be read too.
        if std::mem::take(taken) && self.command.is_some() {
            self.heard_at = Instant::now();
        }
        // TLS may hold what the socket did not take; in the clear there is nothing to do.
        if queue.is_empty() && !*deaf {
            match Pin::new(&mut *io).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => *deaf = true,
                Poll::Pending => return turn,
            }
        }
        if *deaf {
            queue.consume(queue.len_bytes());
            // Whoever hung up without a word may have said something before; where it parts, all is said.
            return if self.phase == Phase::Open { turn } else { Turn::End };
        }
        if !queue.is_empty() {
            return turn;
        }
        // All is said, and heard.
        if self.phase == (Phase::Parting { heard: true }) {
            return Turn::End;
        }
        turn
    }

    fn may_read(&self) -> bool {
        match self.phase {
            Phase::Open => self.command.is_none() && self.conn.may_send(),
            Phase::Parting { .. } => true,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Turn {
        if !self.may_read() {
            return Turn::Idle;
        }
        if !self.backlog.is_empty() {
            let mut bytes = std::mem::take(&mut self.backlog);
            self.take_in(&mut bytes);
            return Turn::Worked;
        }
        READ.with_borrow_mut(|buffer| {
            let mut into = ReadBuf::new(buffer);
            let read = match &mut self.conn.outbox().io {
                Some(io) => Pin::new(io).poll_read(cx, &mut into),
                None => return Turn::End,
            };
            match read {
                Poll::Ready(Ok(())) if into.filled().is_empty() => Turn::End,
                Poll::Ready(Ok(())) => {
                    self.heard_at = Instant::now();
                    self.take_in(into.filled_mut());
                    Turn::Worked
                }
                Poll::Ready(Err(_)) => Turn::End,
                Poll::Pending => Turn::Idle,
            }
        })
    }

    /// Acts on the frames in `bytes`; what must wait becomes the backlog.
    fn take_in(&mut self, bytes: &mut [u8]) {
        let mut input = bytes;
        // The decoder is taken out so that what it lends can be acted on with the rest of `self`.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(MAX_FRAME_BYTES));
        while self.may_read() {
            match decoder.decode(&mut input) {
                Ok(Some(incoming)) => self.hear(incoming),
                Ok(None) => break,
                Err(violation) => {
                    let code = match violation.close_code() {
                        4413 => CloseCode::FrameTooLarge,
                        1007 => CloseCode::InvalidUtf8,
                        _ => CloseCode::Protocol,
                    };
                    self.end(Close::new(code, violation.reason()));
                    // Nothing after it can be understood.
                    input = &mut [];
                    break;
                }
            }
        }
        self.decoder = decoder;
        self.sends.hand_over(self.hub.app());
        if self.phase == Phase::Open {
            self.backlog.extend_from_slice(input);
        }
    }

    fn hear(&mut self, incoming: Incoming<'_>) {
        if self.phase != Phase::Open {
            if matches!(incoming, Incoming::Close { .. }) {
                self.phase = Phase::Parting { heard: true };
            }
            return;
        }
        match incoming {
            Incoming::Text(text) => {
                self.command = dispatch::text(self, text);
            }
            Incoming::Binary(_) => dispatch::binary(self),
            Incoming::Ping(payload) => self.conn.push(Class::Reply, frame::pong_frame(payload)),
            Incoming::Pong(_) => {}
            Incoming::Close { code, .. } => {
                let mut outbox = self.conn.outbox();
                outbox.close = Some(Close::new(CloseCode::Normal, "closed"));
                outbox.queue.push_last(frame::close_frame(code, ""));
                drop(outbox);
                self.begin_parting(true, PARTING);
            }
        }
    }

    /// A time has come; whether the connection ends at once.
    fn tick(&mut self) -> bool {
        let now = Instant::now();
        if self.phase != Phase::Open {
            return now >= self.ends_at;
        }
        let hello_by = self.opened_at + Duration::from_secs(HELLO_SECONDS);
        if self.conn.peer().is_none() && now >= hello_by {
            self.conn.close(Close::new(CloseCode::Timeout, "no_hello"));
            return false;
        }
        // By the wall clock, which the credential was made by.
        let caller = self.conn.caller();
        let left = caller.expires_at.saturating_mul(1_000).saturating_sub(self.hub.app().clock.now_ms());
        if left <= 0 {
            self.conn.close(Close::new(CloseCode::Credential, "token_expired"));
            return false;
        }
        let welcomed = self.conn.welcomed.load(Ordering::Acquire);
        if left <= WARNING_MS
            && !self.warned
            && welcomed
            && let Some(peer) = self.conn.peer()
        {
            let expires_at = Timestamp::from_millis(caller.expires_at.saturating_mul(1_000));
            let warning = self.hub.encoder.event(&TokenExpiring { expires_at }, peer.as_str(), None);
            self.conn.push(Class::Reply, warning);
            self.warned = true;
        }
        if now >= self.next_ping {
            if now.duration_since(self.heard_at) >= 2 * HEARTBEAT {
                self.conn.close(Close::new(CloseCode::Timeout, "no_pong"));
                return false;
            }
            self.conn.push(Class::Reply, frame::ping_frame(b""));
            self.next_ping = now + HEARTBEAT;
        }
        let look_again = if self.warned || !welcomed { left } else { left.saturating_sub(WARNING_MS).max(1) };
        let look_again = Duration::from_millis(u64::try_from(look_again).unwrap_or(0));
        let mut next = self.next_ping.min(now + look_again.min(HEARTBEAT));
        if self.conn.peer().is_none() {
            next = next.min(hello_by);
        }
        self.timer.as_mut().reset(next);
        false
    }
}
