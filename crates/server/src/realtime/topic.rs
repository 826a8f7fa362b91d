//! A room that connections listen to: its feed, its listeners, and what they need to join in the middle.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use mesh_protocol::{RoomId, UserId};

use super::{conn::Conn, encode::Encoder, frame};
use crate::domain::{
    feed::{Feed, Verdict},
    happening::{Change, Origin},
    outqueue::Class,
    recovery::{CatchUp, Step},
};

/// Bytes that a room keeps while somebody is joining it; beyond it they read the store again. All of it fits into a
/// connection's queue beside what may wait there.
const RING_LIMIT: usize = 512 * 1024;
/// Bytes of one run of frames: larger batches are cut, so that nobody's queue is filled at one blow.
const RUN_LIMIT: usize = 128 * 1024;

/// Events without a number that a room keeps while somebody is joining it.
const ASIDE_LIMIT: usize = 256;

/// A change on its way to the listeners.
pub(super) struct Pending {
    pub(super) change: Change,
    pub(super) origin: Option<Origin>,
}

/// One change within a run.
struct Mark {
    seq: u64,
    start: usize,
    /// Whose it is, and its author's own copy.
    own: Option<(u64, Bytes)>,
}

/// Changes that follow each other, as one piece of bytes: a listener gets them with one reference.
struct Run {
    bytes: Bytes,
    marks: Vec<Mark>,
}

impl Run {
    fn first(&self) -> u64 {
        self.marks.first().map_or(0, |mark| mark.seq)
    }

    fn last(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.seq)
    }

    /// Gives `conn` what comes after `position`, as a replay: its author was answered when it happened.
    fn replay(&self, conn: &Conn, position: u64) {
        let begin = self.marks.partition_point(|mark| mark.seq <= position);
        if let Some(first) = self.marks.get(begin) {
            conn.push(Class::Ordered, self.bytes.slice(first.start..));
        }
    }

    /// Queues what comes after `position` for `conn`; to its author with the answer. Whether somebody has to write it.
    fn send(&self, conn: &Conn, position: u64) -> bool {
        let begin = self.marks.partition_point(|mark| mark.seq <= position);
        let Some(first) = self.marks.get(begin) else { return false };
        let is_own = |mark: &&Mark| mark.own.as_ref().is_some_and(|(number, _)| *number == conn.number);
        if !self.marks[begin..].iter().any(|mark| is_own(&mark)) {
            return conn.queue(Class::Ordered, std::iter::once(self.bytes.slice(first.start..)));
        }
        let mut pieces = Vec::new();
        let mut from = first.start;
        for (index, mark) in self.marks.iter().enumerate().skip(begin) {
            if is_own(&mark)
                && let Some((_, own)) = &mark.own
            {
                let end = self.marks.get(index + 1).map_or(self.bytes.len(), |next| next.start);
                if mark.start > from {
                    pieces.push(self.bytes.slice(from..mark.start));
                }
                pieces.push(own.clone());
                from = end;
            }
        }
        if from < self.bytes.len() {
            pieces.push(self.bytes.slice(from..));
        }
        conn.queue(Class::Ordered, pieces)
    }
}

struct Listener {
    /// The connection's number, beside its handle so that a search touches no other memory.
    number: u64,
    conn: Arc<Conn>,
    catch: CatchUp,
}

/// What the hub does after an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// The last change that was delivered.
    pub(super) after: u64,
    /// The first one that waits behind the hole.
    pub(super) until: u64,
}

/// The state of a room that connections listen to.
pub(super) struct Topic {
    room: RoomId,
    feed: Feed<Pending>,
    listeners: Vec<Listener>,
    /// Connections on their way in: while there are some, the ring keeps what was delivered.
    joining: usize,
    ring: VecDeque<Arc<Run>>,
    ring_bytes: usize,
    /// What was told without a number while somebody was joining.
    aside: Vec<(Class, Bytes)>,
    /// Who was put out while somebody was joining, and when: their joins that began before lead nowhere.
    expelled: HashMap<UserId, u64>,
    /// Counts what puts people out.
    expulsions: u64,
}

/// Where a join began.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    aside: usize,
    expulsions: u64,
}

impl Topic {
    pub(super) fn new(room: RoomId) -> Self {
        Self {
            room,
            feed: Feed::new(),
            listeners: Vec::new(),
            joining: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            aside: Vec::new(),
            expelled: HashMap::new(),
            expulsions: 0,
        }
    }

    /// Nobody listens or is about to.
    pub(super) fn is_unused(&self) -> bool {
        self.listeners.is_empty() && self.joining == 0
    }

    /// Takes changes as the bus brings them and delivers those whose turn it is. Authors who don't listen get their
    /// own copy from `direct`.
    pub(super) fn offer(
        &mut self,
        changes: impl IntoIterator<Item = (u64, Pending)>,
        encoder: &Encoder,
        direct: impl Fn(&Origin, Bytes),
    ) -> Option<Hole> {
        let mut ready = Vec::new();
        for (seq, pending) in changes {
            // Whoever will not get it as a listener, being none or having had it by replay, still hears what became of
            // their own send.
            if let Some(origin) = &pending.origin
                && !self.listeners.iter().any(|l| l.number == origin.conn && l.catch.position() < seq)
            {
                direct(origin, self.own_copy(encoder, seq, &pending, origin));
            }
            match self.feed.offer(seq, pending, &mut ready) {
                Verdict::Deliver | Verdict::NeedFill { .. } | Verdict::Duplicate | Verdict::Waiting => {}
            }
        }
        self.deliver(ready, encoder);
        self.hole()
    }

    /// The hole that keeps changes waiting.
    pub(super) fn hole(&self) -> Option<Hole> {
        self.feed.missing().map(|(after, until)| Hole { after, until })
    }

    fn own_copy(&self, encoder: &Encoder, seq: u64, pending: &Pending, origin: &Origin) -> Bytes {
        let reply_to = origin.event_id.as_deref();
        let peer = origin.peer.as_str();
        let (shared, own) = encoder.change(self.room, seq, &pending.change, peer, peer, reply_to);
        frame::text_frame(&own.unwrap_or(shared))
    }

    fn deliver(&mut self, ready: Vec<(u64, Pending)>, encoder: &Encoder) {
        if ready.is_empty() || self.is_unused() {
            return;
        }
        let to = self.room.to_string();
        let mut bytes = Vec::new();
        let mut marks = Vec::new();
        for (seq, pending) in ready {
            let origin = pending.origin.as_ref();
            let from = origin.map_or("server", |o| o.peer.as_str());
            let reply_to = origin.and_then(|o| o.event_id.as_deref());
            let (shared, own) = encoder.change(self.room, seq, &pending.change, from, &to, reply_to);
            if bytes.len() + shared.len() > RUN_LIMIT && !marks.is_empty() {
                self.send(Run { bytes: std::mem::take(&mut bytes).into(), marks: std::mem::take(&mut marks) }, encoder);
            }
            let own = own.and_then(|own| origin.map(|o| (o.conn, frame::text_frame(&own))));
            marks.push(Mark { seq, start: bytes.len(), own });
            frame::write_text(&mut bytes, &shared);
        }
        self.send(Run { bytes: bytes.into(), marks }, encoder);
    }

    fn send(&mut self, run: Run, encoder: &Encoder) {
        let mut given = 0;
        let (first, last) = (run.first(), run.last());
        encoder.writers.write(self.listeners.iter_mut().filter_map(|listener| {
            if listener.catch.position() >= last {
                return None;
            }
            // All before `first` is behind everybody who listens; most are exactly there.
            let position = listener.catch.position().max(first.saturating_sub(1));
            given += last - position;
            listener.catch.advance(last);
            run.send(&listener.conn, position).then_some(&listener.conn)
        }));
        encoder.metrics.deliveries.add(given);
        if self.joining > 0 {
            self.ring_bytes += run.bytes.len();
            self.ring.push_back(Arc::new(run));
            while self.ring_bytes > RING_LIMIT
                && let Some(oldest) = self.ring.pop_front()
            {
                self.ring_bytes -= oldest.bytes.len();
            }
        }
    }

    /// Tells all listeners something without a number, in one frame or several; not the connection `but`, which gets a
    /// copy of its own.
    pub(super) fn tell(&mut self, class: Class, frame: &Bytes, but: Option<u64>, encoder: &Encoder) {
        self.hand_out(frame, encoder, |listener| (Some(listener.number) != but).then_some(class));
        if self.joining > 0 && class == Class::Ordered && self.aside.len() < ASIDE_LIMIT {
            self.aside.push((class, frame.clone()));
        }
    }

    /// Tells all listeners how far `user` has read: the user's other devices for sure, others unless they are slow. The
    /// connection `but` gets a copy of its own.
    pub(super) fn tell_read(&self, frame: &Bytes, user: UserId, but: Option<u64>, encoder: &Encoder) {
        self.hand_out(frame, encoder, |listener| {
            let class = if listener.conn.user == user { Class::Ordered } else { Class::Ephemeral };
            (Some(listener.number) != but).then_some(class)
        });
    }

    /// Tells all listeners but those of `user` something that is worth nothing later.
    pub(super) fn tell_others(&self, frame: &Bytes, user: UserId, encoder: &Encoder) {
        self.hand_out(frame, encoder, |listener| (listener.conn.user != user).then_some(Class::Ephemeral));
    }

    /// Queues frames for the listeners for whom `class` gives one, and has them written.
    fn hand_out(&self, frames: &Bytes, encoder: &Encoder, class: impl Fn(&Listener) -> Option<Class>) {
        encoder.writers.write(self.listeners.iter().filter_map(|listener| {
            let begun = listener.conn.queue(class(listener)?, std::iter::once(frames.clone()));
            begun.then_some(&listener.conn)
        }));
    }

    /// `user`, whose connections are `conns`, receives nothing from here on.
    pub(super) fn expel(&mut self, user: UserId, conns: &[Arc<Conn>]) {
        self.listeners.retain(|l| !conns.iter().any(|conn| conn.number == l.number));
        if self.joining > 0 {
            self.expulsions += 1;
            self.expelled.insert(user, self.expulsions);
        }
    }

    /// Nobody listens any more; those who did.
    pub(super) fn drop_listeners(&mut self) -> Vec<Arc<Conn>> {
        self.listeners.drain(..).map(|listener| listener.conn).collect()
    }

    /// Somebody begins to join: from now on the ring keeps what is delivered. Ends with [`Self::end_join`]. Gives the
    /// place from which on they need what is told aside.
    pub(super) fn begin_join(&mut self) -> Begun {
        self.joining += 1;
        Begun { aside: self.aside.len(), expulsions: self.expulsions }
    }

    /// That join is over, whether it went well or not.
    pub(super) fn end_join(&mut self) {
        self.joining = self.joining.saturating_sub(1);
        if self.joining == 0 {
            self.ring = VecDeque::new();
            self.ring_bytes = 0;
            self.aside = Vec::new();
            self.expelled = HashMap::new();
        }
    }

    /// Makes `conn` a listener where it has everything up to now, or can have it from the ring; else says from where
    /// to read on. `known` is a last sequence number that the store told after [`Self::begin_join`]. False where the
    /// connection's user was put out meanwhile.
    pub(super) fn try_listen(
        &mut self,
        conn: &Arc<Conn>,
        catch: &CatchUp,
        known: u64,
        begun: Begun,
        encoder: &Encoder,
    ) -> Result<bool, u64> {
        if self.expelled.get(&conn.user).is_some_and(|at| *at > begun.expulsions) {
            return Ok(false);
        }
        if !self.feed.is_started() {
            let mut ready = Vec::new();
            self.feed.start(known, &mut ready);
            self.deliver(ready, encoder);
        }
        let position = self.feed.position().unwrap_or(known);
        let ring_first = self.ring.front().map(|run| run.first());
        let mut catch = *catch;
        match catch.try_live(position, ring_first) {
            Step::Live { .. } => {}
            Step::FromRing { after } => {
                for run in &self.ring {
                    run.replay(conn, after.max(catch.position()));
                    catch.advance(run.last());
                }
            }
            Step::ReadMore { after } => return Err(after),
        }
        for (class, frame) in self.aside.iter().skip(begun.aside) {
            conn.push(*class, frame.clone());
        }
        self.listeners.retain(|l| l.number != conn.number);
        self.listeners.push(Listener { number: conn.number, conn: conn.clone(), catch });
        Ok(true)
    }

    /// `conn` no longer listens.
    pub(super) fn unlisten(&mut self, number: u64) {
        if let Some(index) = self.listeners.iter().position(|l| l.number == number) {
            self.listeners.swap_remove(index);
        }
    }
}
