//! Outgoing queue of one connection: bounded in bytes, never waits, gives its memory back.
//!
//! It holds whole, ready-made frames by reference, so that an event to five hundred connections is
//! five hundred pointers to one text. What waits is written with one vectored write:
//! [`OutQueue::io_slices`], then [`OutQueue::consume`] with what the socket took.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Default limit of one connection's queue, in bytes (1 MiB): some seconds of a very busy room.
pub const DEFAULT_LIMIT: usize = 1024 * 1024;

/// So many times the limit may wait while the socket was not asked: it is our own thread then that is late, put aside by the
/// system perhaps, and not the reader.
const UNASKED: usize = 8;

/// What a chunk costs beside its bytes, in bytes. Counted against the limit: half a million
/// two-byte frames would else pass for one mebibyte while they hold sixteen.
pub const CHUNK_COST: usize = size_of::<Bytes>();

/// What is lost if a chunk is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The answer to something that this connection asked.
    Reply,
    /// Part of an ordered stream: nothing may be left out.
    Ordered,
    /// Worth something only at once (typing, presence): dropped first under load.
    Ephemeral,
}

/// What became of a pushed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It is in the queue.
    Pushed {
        /// The queue was empty before: its writer sleeps and is to be woken.
        was_empty: bool,
    },
    /// Ephemeral, and the queue is loaded: left out.
    Dropped,
    /// The reader is too slow for what it must get, now or earlier: the queue takes nothing more
    /// (close 4429), or [`OutQueue::push_last`] has ended it.
    TooSlow,
}

/// The queue. 80 bytes, without heap while it holds at most one chunk.
#[derive(Debug)]
pub struct OutQueue {
    /// The first chunk, what is left of it; empty exactly when the queue is. Kept apart from the
    /// rest so that the common case, one chunk to an idle reader, allocates nothing.
    front: Bytes,
    rest: VecDeque<Bytes>,
    /// Bytes in `front` and `rest`.
    bytes: usize,
    limit: u32,
    /// Some bytes of `front` were written: it must be completed, or the peer loses the frame boundary.
    begun: bool,
    /// The socket took no more when it was last asked.
    refused: bool,
    /// Nothing more is taken by `push`.
    dead: bool,
    too_slow: bool,
}

impl Default for OutQueue {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl OutQueue {
    /// An empty queue for at most `limit` bytes (at most 4 GiB), of which each chunk takes its
    /// length and [`CHUNK_COST`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            front: Bytes::new(),
            rest: VecDeque::new(),
            bytes: 0,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            begun: false,
            refused: false,
            dead: false,
            too_slow: false,
        }
    }

    /// Appends a chunk of whole frames, or says why not. Never waits.
    ///
    /// An ephemeral chunk is dropped while the queue holds more than a quarter of the limit. Any
    /// other one that would exceed the limit ends the queue: what nobody began to write is
    /// discarded, and this and every later push answer [`Push::TooSlow`]. A single chunk larger
    /// than the limit is taken by an empty queue, so that a big batch doesn't kill an idle reader.
    /// Until the socket refuses something ([`OutQueue::refuse`]), eight times as much may wait.
    #[inline]
    pub fn push(&mut self, class: Class, chunk: Bytes) -> Push {
        if self.dead {
            return Push::TooSlow;
        }
        let was_empty = self.front.is_empty();
        if !was_empty {
            let limit = self.limit as usize;
            let held = self.cost();
            let with_it = held.saturating_add(chunk.len() + CHUNK_COST);
            if class == Class::Ephemeral {
                if with_it > limit || held > limit / 4 {
                    return Push::Dropped;
                }
            } else if with_it > if self.refused { limit } else { limit.saturating_mul(UNASKED) } {
                self.too_slow = true;
                self.end();
                return Push::TooSlow;
            }
        }
        // Nobody is to be woken for nothing.
        let was_empty = was_empty && !chunk.is_empty();
        self.append(chunk);
        Push::Pushed { was_empty }
    }

    /// Appends parting words (goodbye, close frame) whatever the limit and even to a dead queue,
    /// and ends it: every later [`OutQueue::push`] answers [`Push::TooSlow`].
    ///
    /// What waits stays and is written before. It is the caller's to say little: no limit holds here.
    pub fn push_last(&mut self, chunk: Bytes) {
        self.dead = true;
        self.append(chunk);
    }

    /// Fills `out` with what is to be written next, in order, and returns how many slices it filled.
    ///
    /// The first one is what is left of the front chunk. Pass `&out[..n]` to a vectored write, then
    /// call [`OutQueue::consume`]. The other slots are left as they were.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        if self.front.is_empty() {
            return 0;
        }
        let chunks = std::iter::once(&self.front).chain(&self.rest);
        let mut filled = 0;
        for (slot, chunk) in out.iter_mut().zip(chunks) {
            *slot = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// What is to be written, where that is one chunk, or what is left of it. It counts as begun from here on: it stays until
    /// [`OutQueue::consume`] says how much was written, whatever else becomes of the queue.
    #[inline]
    pub fn begin_only(&mut self) -> Option<Bytes> {
        let only = !self.front.is_empty() && self.rest.is_empty();
        self.begun |= only;
        only.then(|| self.front.clone())
    }

    /// The socket takes no more now: from here on the limit holds, until it takes something.
    pub const fn refuse(&mut self) {
        self.refused = true;
    }

    /// Takes away the first `n` bytes, which were written. More than there is empties the queue.
    ///
    /// A queue that becomes empty gives all its memory back.
    pub fn consume(&mut self, n: usize) {
        let mut left = n;
        self.bytes = self.bytes.saturating_sub(n);
        self.refused &= n == 0;
        while left >= self.front.len() && !self.front.is_empty() {
            left -= self.front.len();
            self.begun = false;
            match self.rest.pop_front() {
                Some(next) => self.front = next,
                None => {
                    self.front = Bytes::new();
                    self.rest = VecDeque::new();
                }
            }
        }
        if left > 0 && !self.front.is_empty() {
            self.front.advance(left);
            self.begun = true;
        }
    }

    /// What is left of a chunk that was written in part, if there is one. It must go out before
    /// anything else, also on a queue that is dead, or the peer can't find the next frame.
    #[must_use]
    pub fn partial(&self) -> Option<&Bytes> {
        self.begun.then_some(&self.front)
    }

    /// Whether nothing waits to be written.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    /// Bytes that wait to be written.
    #[inline]
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Chunks that wait to be written, the partial one included.
    #[must_use]
    pub fn len_chunks(&self) -> usize {
        usize::from(!self.front.is_empty()) + self.rest.len()
    }

    /// Whether the queue ended because the reader was too slow (close 4429).
    #[inline]
    #[must_use]
    pub const fn is_too_slow(&self) -> bool {
        self.too_slow
    }

    /// Ends the queue for a reader who is gone or no longer wanted: discards all but the chunk that
    /// is written in part, and takes no more ([`OutQueue::push_last`] excepted).
    pub fn end(&mut self) {
        self.dead = true;
        self.rest = VecDeque::new();
        if !self.begun {
            self.front = Bytes::new();
        }
        self.bytes = self.front.len();
    }

    fn cost(&self) -> usize {
        self.bytes.saturating_add(self.len_chunks().saturating_mul(CHUNK_COST))
    }

    #[inline]
    fn append(&mut self, chunk: Bytes) {
        // An empty chunk would look like an empty queue.
        if chunk.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.front.is_empty() {
            self.front = chunk;
        } else {
            self.rest.push_back(chunk);
        }
    }
}

#[cfg(test)]
mod tests;
