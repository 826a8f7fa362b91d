//! The part of a connection that others hold: its queue and the ways to wake and close it.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use mesh_protocol::{CloseCode, PeerId, RoomId, UserId};

use crate::{
    domain::outqueue::{Class, OutQueue, Push},
    service::auth::Caller,
    tls::Stream,
};

use super::{frame::deflate, uring::Sending};

/// Sends of one connection that may wait for the store at once.
pub const MAX_IN_FLIGHT: u32 = 512;
/// Pieces written with one system call.
pub(super) const SLICES: usize = 64;
/// Rooms that one connection may have joined at once.
pub const MAX_JOINED: usize = 2_000;

/// Why and how a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code.
    pub code: CloseCode,
    /// A word for programs.
    pub reason: &'static str,
    /// How long the client is to wait before it comes back, milliseconds.
    pub retry_after_ms: u64,
}

impl Close {
    /// An end after which the client may come back at once, if at all.
    pub const fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason, retry_after_ms: 0 }
    }
}

/// What waits to be written, and whether it is the last.
pub(super) struct Outbox {
    pub(super) queue: OutQueue,
    pub(super) close: Option<Close>,
    /// The socket, while the connection's task lives.
    pub(super) io: Option<Stream>,
    /// A writer is sending what waits.
    pub(super) lent: bool,
    /// The connection is over.
    ended: bool,
    /// Somebody else than the connection's task has written.
    pub(super) taken: bool,
    /// The socket takes no more, ever: what is queued is for nobody. What the other side said before it hung up is still
    /// read to the end.
    pub(super) deaf: bool,
    /// The connection's command waits for the queue to drain.
    awaited: bool,
}

impl Outbox {
    /// Lends a socket in the clear and the one piece that waits for it, if there is one and nothing else is to be done. Nobody
    /// else writes, and the socket stays open, until it is given back.
    pub(super) fn lend(&mut self) -> Option<Sending> {
        let Some(Stream::Plain(io)) = &self.io else { return None };
        if self.lent || self.deaf || self.close.is_some() {
            return None;
        }
        let piece = self.queue.begin_only()?;
        self.lent = true;
        Some(Sending::new(io.as_raw_fd(), piece))
    }

    /// The socket took so many bytes of what was lent.
    pub(super) fn give_back(&mut self, sent: usize) {
        self.lent = false;
        self.queue.consume(sent);
        self.taken |= sent > 0;
        if self.ended {
            self.io = None;
        }
    }

    /// Lets the socket go, once it is given back.
    pub(super) fn end(&mut self) {
        self.ended = true;
        if !self.lent {
            self.io = None;
        }
    }

    /// Writes, as much as the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` where it takes no more now, and with TLS, which is the task's own affair; `NotConnected` where the
    /// connection has ended.
    fn write(&mut self) -> io::Result<()> {
        let io = match &self.io {
            Some(Stream::Plain(io)) => io,
            Some(Stream::Tls(_)) => return Err(io::ErrorKind::WouldBlock.into()),
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        // Whoever it is lent to writes the rest as well.
        while !self.queue.is_empty() && !self.deaf && !self.lent {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.queue.io_slices(&mut slices);
            // One piece, as nearly always: `send` is cheaper than `writev`.
            let written = match &slices[..filled] {
                [one] => io.try_write(one),
                several => io.try_write_vectored(several),
            };
            match written {
                Ok(written) => {
                    self.queue.consume(written);
                    self.taken = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.queue.refuse();
                    return Err(e);
                }
                Err(_) => self.deaf = true,
            }
        }
        if self.deaf {
            self.queue.consume(self.queue.len_bytes());
        }
        Ok(())
    }
}

/// A connection, as others hold it. Nothing here waits.
pub struct Conn {
    /// Its number in this process.
    pub number: u64,
    /// Whose it is: renewals keep that.
    pub user: UserId,
    /// Its messages are compressed, as was agreed on when it was opened.
    pub(super) deflate: bool,
    /// The credential that it stands on; a renewal replaces it.
    caller: Mutex<Arc<Caller>>,
    /// Its times are to be judged anew: it is new, the credential was renewed, or the clock moved.
    pub(super) retimed: AtomicBool,
    /// It has been told its name: what is its own affair alone comes after that.
    pub(super) welcomed: AtomicBool,
    peer: OnceLock<PeerId>,
    outbox: Mutex<Outbox>,
    /// A writer has it on its list; see [`super::writers`].
    pub(super) listed: AtomicBool,
    pub(super) waker: AtomicWaker,
    in_flight: AtomicU32,
    pub(super) joined: Mutex<Vec<RoomId>>,
    /// When its TURN credential is replaced, Unix milliseconds; 0 where it has none that ends.
    pub(super) ice_due: AtomicI64,
}

impl Conn {
    /// A connection that has not said hello.
    pub fn new(number: u64, caller: Caller, deflate: bool) -> Self {
        Self {
            number,
            user: caller.user_id,
            deflate,
            caller: Mutex::new(Arc::new(caller)),
            retimed: AtomicBool::new(true),
            welcomed: AtomicBool::new(false),
            peer: OnceLock::new(),
            outbox: Mutex::new(Outbox {
                queue: OutQueue::default(),
                close: None,
                io: None,
                lent: false,
                ended: false,
                taken: false,
                deaf: false,
                awaited: false,
            }),
            listed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            in_flight: AtomicU32::new(0),
            joined: Mutex::new(Vec::new()),
            ice_due: AtomicI64::new(0),
        }
    }

    /// Its peer id, once it said hello.
    pub fn peer(&self) -> Option<&PeerId> {
        self.peer.get()
    }

    /// Whether it has been told its name.
    pub(super) fn is_welcomed(&self) -> bool {
        self.welcomed.load(Ordering::Acquire)
    }

    /// Who is behind it.
    pub fn caller(&self) -> Arc<Caller> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a newer credential of the same user in the place of the one until now.
    pub(super) fn renew(&self, caller: Caller) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(caller);
        self.judge_times_anew();
    }

    /// Makes the connection look at the clock.
    pub(super) fn judge_times_anew(&self) {
        self.retimed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn name(&self, peer: PeerId) {
        let _ = self.peer.set(peer);
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues frames; a reader too slow for them is closed with 4429.
    pub fn push(&self, class: Class, frames: Bytes) {
        self.push_all(class, std::iter::once(frames));
    }

    /// The same for several, under one lock and with one wake-up.
    pub fn push_all(&self, class: Class, frames: impl IntoIterator<Item = Bytes>) {
        if self.queue(class, frames) {
            self.waker.wake();
        }
    }

    /// The same without waking anybody: whether the queue was empty, so that somebody has to write.
    pub(super) fn queue(&self, class: Class, frames: impl IntoIterator<Item = Bytes>) -> bool {
        let mut outbox = self.outbox();
        let (mut begun, mut wake) = (false, false);
        for frame in frames {
            match outbox.queue.push(class, self.packed(frame)) {
                Push::Pushed { was_empty } => begun |= was_empty,
                Push::Dropped => {}
                Push::TooSlow => {
                    if outbox.close.is_none() {
                        outbox.close = Some(Close::new(CloseCode::TooSlow, "too_slow"));
                        wake = true;
                    }
                    break;
                }
            }
        }
        drop(outbox);
        if wake {
            self.waker.wake();
        }
        begun
    }

    /// Frames as this connection gets them.
    pub(super) fn packed(&self, frames: Bytes) -> Bytes {
        if self.deflate { deflate::pack(frames) } else { frames }
    }

    /// Writes what waits, for the connection's task, which does the rest where the socket does not take all.
    pub(super) fn flush(&self) {
        self.flush_held(self.outbox());
    }

    /// The same, unless what waits can be lent to whoever sends for many.
    pub(super) fn lend_or_flush(&self) -> Option<Sending> {
        let mut outbox = self.outbox();
        let lent = outbox.lend();
        if lent.is_none() {
            self.flush_held(outbox);
        }
        lent
    }

    /// The socket took so many bytes of what was lent; what else waits is written.
    pub(super) fn give_back(&self, sent: usize) {
        let mut outbox = self.outbox();
        outbox.give_back(sent);
        self.flush_held(outbox);
    }

    fn flush_held(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let mut wake = std::mem::take(&mut outbox.awaited);
        // Parting is the task's own affair.
        wake |= outbox.close.is_some() || outbox.write().is_err();
        drop(outbox);
        if wake {
            self.waker.wake();
        }
    }

    /// Resolves when at most `bytes` wait to be written, or the connection ends. One waits at a time: the connection's
    /// own command.
    pub(super) async fn drained(&self, bytes: usize) {
        // Asked again by the connection's task whenever it has written something, or was woken since others have.
        std::future::poll_fn(|_| {
            let mut outbox = self.outbox();
            if outbox.queue.len_bytes() <= bytes || outbox.close.is_some() {
                return std::task::Poll::Ready(());
            }
            outbox.awaited = true;
            std::task::Poll::Pending
        })
        .await;
    }

    /// Ends the connection; the first reason counts.
    pub fn close(&self, close: Close) {
        let mut outbox = self.outbox();
        if outbox.close.is_none() {
            outbox.close = Some(close);
        }
        drop(outbox);
        self.waker.wake();
    }

    /// Whether it is ending.
    pub fn is_closing(&self) -> bool {
        self.outbox().close.is_some()
    }

    /// Counts a send that waits for the store.
    pub(super) fn begin_send(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// That send has its outcome.
    pub(super) fn end_send(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == MAX_IN_FLIGHT {
            self.waker.wake();
        }
    }

    /// Whether it may send more before the store has caught up.
    pub(super) fn may_send(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) < MAX_IN_FLIGHT
    }
}
