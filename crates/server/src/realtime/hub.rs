//! Which connections there are, and who listens to which room; hands on what happens.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use mesh_protocol::{
    CloseCode, PeerId, RoomId, SessionId, UserId,
    event::chat::{MessageCreated, TypingNow},
    model::Scope,
};
use tokio::sync::mpsc;

use super::{
    conn::{Close, Conn},
    encode::Encoder,
    ticker::{self, Ticks},
    topic::{Begun, Hole, Pending, Topic},
    writers::Writers,
};
use crate::{
    app::App,
    domain::{
        call::Calls,
        gone::{End, Gone},
        happening::{Ending, Happening, Origin, RoomEvent, Told, UserEvent},
        outqueue::Class,
        p2p::Sessions,
        recovery::CatchUp,
        ring::Rings,
        shares::Shares,
    },
    service::chat,
};

/// Rooms whose holes may wait to be filled; one more is found again with the room's next change.
const FILL_QUEUE: usize = 1_024;
/// Changes read at once to fill a hole.
const FILL_PAGE: usize = 256;

struct Registered {
    user: UserId,
    conn: Arc<Conn>,
}

#[derive(Default)]
struct People {
    by_peer: HashMap<PeerId, Registered>,
    by_user: HashMap<UserId, Vec<Arc<Conn>>>,
}

/// The connections of this process and the rooms that they listen to.
pub struct Hub {
    app: Arc<App>,
    pub(super) encoder: Encoder,
    people: Mutex<People>,
    topics: Mutex<HashMap<RoomId, Arc<Mutex<Topic>>>>,
    numbers: AtomicU64,
    fill: mpsc::Sender<RoomId>,
    pub(super) ticks: Ticks,
    pub(super) calls: Mutex<Calls>,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) shares: Mutex<Shares>,
    pub(super) rings: Mutex<Rings>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub that hands on what `happenings` brings, until the house stops.
    pub fn start(app: Arc<App>, mut happenings: mpsc::Receiver<Told>) -> Arc<Self> {
        let (fill, mut holes) = mpsc::channel(FILL_QUEUE);
        let hub = Arc::new(Self {
            encoder: Encoder {
                clock: app.clock.clone(),
                ids: app.ids.clone(),
                metrics: app.metrics.clone(),
                writers: Writers::start(&app.tasks),
            },
            people: Mutex::default(),
            topics: Mutex::default(),
            numbers: AtomicU64::new(1),
            fill,
            ticks: Ticks::new(),
            calls: Mutex::default(),
            sessions: Mutex::default(),
            shares: Mutex::default(),
            rings: Mutex::default(),
            app: app.clone(),
        });
        let listener = hub.clone();
        app.tasks.spawn("fan-out", async move {
            loop {
                tokio::select! {
                    batch = happenings.recv() => match batch {
                        Some(told) => {
                            listener.app.metrics.bus_waiting.set(happenings.len());
                            listener.hand_on(told.happenings);
                            listener.app.metrics.delivery.since(told.at);
                        }
                        None => break,
                    },
                    () = listener.app.tasks.hard_stop() => break,
                }
            }
        });
        let filler = hub.clone();
        app.tasks.spawn("fill", async move {
            loop {
                tokio::select! {
                    hole = holes.recv() => match hole {
                        Some(room) => filler.fill_hole(room).await,
                        None => break,
                    },
                    () = filler.app.tasks.hard_stop() => break,
                }
            }
        });
        let ticking = hub.clone();
        app.tasks.spawn("ticker", async move { ticker::run(&ticking).await });
        hub
    }

    /// The server that this hub is part of.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// A number for a new connection.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How many connections said hello and are still there.
    pub fn connections(&self) -> usize {
        locked(&self.people).by_peer.len()
    }

    /// Gives a connection its name: the proposed one, unless another user holds it; an older connection of the same
    /// user with that name is closed with 4409. With it, a number that is higher the later a connection got its name.
    pub(super) fn register(&self, conn: &Arc<Conn>, user: UserId, proposed: Option<PeerId>) -> (PeerId, u64) {
        let mut people = locked(&self.people);
        let held_by_other = |p: &PeerId| people.by_peer.get(p).is_some_and(|held| held.user != user);
        let peer = match proposed.filter(|p| !held_by_other(p)) {
            Some(peer) => peer,
            None => loop {
                // A UUID is a valid peer id, and nobody holds a new one, unless by guessing it.
                let Ok(peer) = self.app.ids.uuid().to_string().parse() else { continue };
                if !people.by_peer.contains_key(&peer) {
                    break peer;
                }
            },
        };
        let registered = Registered { user, conn: conn.clone() };
        let older = people.by_peer.insert(peer.clone(), registered);
        if let Some(older) = &older {
            older.conn.close(Close::new(CloseCode::Replaced, "replaced"));
            forget_user(&mut people, user, older.conn.number);
        }
        people.by_user.entry(user).or_default().push(conn.clone());
        self.app.metrics.peers.set(people.by_peer.len());
        conn.name(peer.clone());
        drop(people);
        if let Some(older) = older {
            self.gone(&Gone::Peer(&End { conn: older.conn.number, user, peer: peer.clone() }));
        }
        (peer, self.next_number())
    }

    /// Forgets a connection: its name is free, and it listens to nothing.
    pub(super) fn unregister(&self, conn: &Conn, user: UserId) {
        if let Some(peer) = conn.peer() {
            let mut people = locked(&self.people);
            if people.by_peer.get(peer).is_some_and(|held| held.conn.number == conn.number) {
                people.by_peer.remove(peer);
                self.app.metrics.peers.set(people.by_peer.len());
            }
            forget_user(&mut people, user, conn.number);
            drop(people);
            self.gone(&Gone::Peer(&End { conn: conn.number, user, peer: peer.clone() }));
        }
        self.ticks.forget(conn);
        let rooms = std::mem::take(&mut *locked(&conn.joined));
        for room in rooms {
            self.unlisten(room, conn.number);
        }
    }

    /// The connection that holds a name, and whose it is.
    pub(super) fn held(&self, peer: &PeerId) -> Option<(Arc<Conn>, UserId)> {
        locked(&self.people).by_peer.get(peer).map(|held| (held.conn.clone(), held.user))
    }

    /// The connections of a user that have said hello.
    pub(super) fn connections_of(&self, user: UserId) -> Vec<Arc<Conn>> {
        locked(&self.people).by_user.get(&user).cloned().unwrap_or_default()
    }

    /// Whether the connection holds its name still.
    pub(super) fn has(&self, conn: &Conn) -> bool {
        let people = locked(&self.people);
        conn.peer().and_then(|peer| people.by_peer.get(peer)).is_some_and(|held| held.conn.number == conn.number)
    }

    pub(super) fn topic(&self, room: RoomId) -> Option<Arc<Mutex<Topic>>> {
        locked(&self.topics).get(&room).cloned()
    }

    /// Runs `change` on a topic, and forgets the topic where nobody needs it any more.
    fn change_topic<T>(&self, room: RoomId, change: impl FnOnce(&mut Topic) -> T) -> Option<T> {
        let topic = self.topic(room)?;
        let mut state = locked(&topic);
        let out = change(&mut state);
        let unused = state.is_unused();
        drop(state);
        if unused {
            let mut topics = locked(&self.topics);
            // Whoever came in between has made it used, or has put another in its place.
            if topics.get(&room).is_some_and(|there| Arc::ptr_eq(there, &topic)) && locked(&topic).is_unused() {
                topics.remove(&room);
                self.app.metrics.rooms.set(topics.len());
            }
        }
        Some(out)
    }

    /// Begins to join a room; the ring keeps what is delivered until the guard is dropped.
    pub(super) fn begin_join(self: &Arc<Self>, room: RoomId) -> Joining {
        let mut topics = locked(&self.topics);
        let topic = topics.entry(room).or_insert_with(|| Arc::new(Mutex::new(Topic::new(room)))).clone();
        self.app.metrics.rooms.set(topics.len());
        let begun = locked(&topic).begin_join();
        Joining { hub: self.clone(), room, begun }
    }

    /// The connection no longer receives the room's events.
    pub(super) fn leave(&self, room: RoomId, conn: &Conn) {
        locked(&conn.joined).retain(|joined| *joined != room);
        self.unlisten(room, conn.number);
    }

    pub(super) fn unlisten(&self, room: RoomId, number: u64) {
        self.change_topic(room, |topic| topic.unlisten(number));
    }

    /// Hands on what one or several transactions told, in their order.
    fn hand_on(&self, batch: Vec<Happening>) {
        let mut batch = batch.into_iter().peekable();
        while let Some(happening) = batch.next() {
            match happening {
                Happening::Change { room, seq, change, origin } => {
                    let mut changes = vec![(seq, Pending { change, origin })];
                    // What follows in the same room goes out as one piece.
                    while let Some(Happening::Change { seq, change, origin, .. }) =
                        batch.next_if(|next| matches!(next, Happening::Change { room: r, .. } if *r == room))
                    {
                        changes.push((seq, Pending { change, origin }));
                    }
                    self.offer(room, changes);
                }
                Happening::Repeat { room, message, origin } => {
                    let payload = MessageCreated { room_id: room, seq: message.seq, message: *message };
                    let peer = origin.peer.as_str();
                    let frame = self.encoder.event_from(&payload, peer, peer, origin.event_id.as_deref());
                    self.direct(&origin, frame);
                }
                Happening::Room { room, mut event, origin } => {
                    if let RoomEvent::MemberAdded(member) | RoomEvent::MemberUpdated(member) = &mut event {
                        self.app.presence.fill(std::slice::from_mut(&mut **member));
                    }
                    self.tell_room(room, &event, origin.as_ref());
                }
                Happening::Ended { user, sessions, why } => self.end(user, &sessions, why),
                Happening::User { user, event } => {
                    let conns = locked(&self.people).by_user.get(&user).cloned().unwrap_or_default();
                    // A personal access token hears of rooms only where it may see them.
                    for conn in conns.iter().filter(|conn| conn.caller().may(Scope::RoomsRead)) {
                        let to = conn.peer().map_or("server", PeerId::as_str);
                        conn.push(Class::Ordered, self.encoder.user_event(&event, to));
                    }
                }
            }
        }
    }

    /// Tells a room something without a number.
    fn tell_room(&self, room: RoomId, event: &RoomEvent, origin: Option<&Origin>) {
        let (shared, own) = self.encoder.room_event(room, event, origin);
        if let Some(topic) = self.topic(room) {
            let but = origin.map(|o| o.conn);
            match event {
                RoomEvent::Read { user, .. } => locked(&topic).tell_read(&shared, *user, but, &self.encoder),
                _ => locked(&topic).tell(Class::Ordered, &shared, but, &self.encoder),
            }
        }
        if let (Some(origin), Some(own)) = (origin, own) {
            self.direct(origin, own);
        }
        if matches!(event, RoomEvent::Deleted)
            && let Some(gone) = self.change_topic(room, Topic::drop_listeners)
        {
            for conn in gone {
                locked(&conn.joined).retain(|joined| *joined != room);
            }
        }
    }

    /// Hears what was committed, on the store's thread and before its caller does: whoever is no longer a member
    /// receives nothing from here on, and shows nowhere. It takes short locks only.
    pub fn hear(&self, happenings: &[Happening]) {
        for happening in happenings {
            self.note_membership(happening);
            if let Happening::Room { room, event: RoomEvent::MemberRemoved { user, .. }, .. } = happening {
                let conns = locked(&self.people).by_user.get(user).cloned().unwrap_or_default();
                for conn in &conns {
                    locked(&conn.joined).retain(|joined| joined != room);
                }
                self.change_topic(*room, |topic| topic.expel(*user, &conns));
            }
            self.gone_with(happening);
        }
    }

    /// Who shows in which rooms follows the commits, in their order.
    fn note_membership(&self, happening: &Happening) {
        let presence = &self.app.presence;
        match happening {
            Happening::Room { room, event, .. } => match event {
                RoomEvent::MemberAdded(member) => presence.show_in(member.user_id, *room),
                RoomEvent::MemberRemoved { user, .. } => presence.hide_from(*user, *room),
                RoomEvent::Deleted => presence.forget_room(*room),
                RoomEvent::MemberUpdated(_) | RoomEvent::Updated(_) | RoomEvent::Read { .. } => {}
            },
            Happening::User { user, event: UserEvent::RoomAdded(room) } => presence.show_in(*user, room.id),
            _ => {}
        }
    }

    /// Tells the room's other users that somebody writes. Nobody waits for it and nothing keeps it.
    pub(super) fn typing(&self, room: RoomId, user: UserId, peer: &str, typing: bool) {
        if let Some(topic) = self.topic(room) {
            let payload = TypingNow { room_id: room, user_id: user, typing };
            let frame = self.encoder.event_from(&payload, peer, &room.to_string(), None);
            locked(&topic).tell_others(&frame, user, &self.encoder);
        }
    }

    /// Logins have ended: their connections are closed.
    fn end(&self, user: UserId, sessions: &[SessionId], why: Ending) {
        let close = match why {
            Ending::LoggedOut => Close::new(CloseCode::Credential, "session_ended"),
            Ending::TokenReused => Close::new(CloseCode::Credential, "token_reused"),
            Ending::Disabled => Close::new(CloseCode::Banned, "account_disabled"),
        };
        let conns = locked(&self.people).by_user.get(&user).cloned().unwrap_or_default();
        // A disabled account has no connections, on whatever they stand.
        let all = why == Ending::Disabled;
        for conn in conns.iter().filter(|conn| all || sessions.contains(&conn.caller().session_id)) {
            conn.close(close);
        }
    }

    /// The wall clock has jumped: every connection judges its times anew.
    pub fn clock_moved(&self) {
        self.app.metrics.clock_jumps.add(1);
        self.app.clock_jump.note();
        self.ticks.wake();
        let conns: Vec<_> = locked(&self.people).by_peer.values().map(|held| held.conn.clone()).collect();
        for conn in conns {
            conn.judge_times_anew();
        }
    }

    fn offer(&self, room: RoomId, changes: Vec<(u64, Pending)>) {
        let direct = |origin: &Origin, frame: Bytes| self.direct(origin, frame);
        match self.topic(room) {
            Some(topic) => {
                let hole = locked(&topic).offer(changes, &self.encoder, direct);
                if hole.is_some() {
                    let _ = self.fill.try_send(room);
                }
            }
            // Nobody listens, but the author still hears.
            None => {
                Topic::new(room).offer(changes, &self.encoder, direct);
            }
        }
    }

    /// Answers the connection that caused something, if it is still there.
    fn direct(&self, origin: &Origin, frame: Bytes) {
        let conn = locked(&self.people).by_peer.get(&origin.peer).map(|held| held.conn.clone());
        if let Some(conn) = conn.filter(|c| c.number == origin.conn) {
            conn.push(Class::Reply, frame);
        }
    }

    /// Reads from the store what the bus lost.
    async fn fill_hole(&self, room: RoomId) {
        let hole = |topic: &mut Topic| topic.hole();
        while let Some(Some(Hole { after, until })) = self.change_topic(room, hole) {
            let missing = usize::try_from(until.saturating_sub(after + 1)).unwrap_or(FILL_PAGE).min(FILL_PAGE);
            let changes = match chat::changes_after(&self.app, room, after, missing).await {
                Ok(Some(changes)) if !changes.is_empty() => changes,
                Ok(Some(_)) => break,
                Ok(None) => {
                    // What is missing is gone for good: whoever listens resumes, and is told of the gap.
                    for conn in self.change_topic(room, Topic::drop_listeners).unwrap_or_default() {
                        conn.close(Close::new(CloseCode::GoingAway, "purged"));
                    }
                    break;
                }
                Err(e) => {
                    tracing::warn!(error = &e as &dyn std::error::Error, %room, "a hole could not be filled yet");
                    break;
                }
            };
            tracing::debug!(%room, after, until, "filled a hole from the store");
            let changes = changes.into_iter().map(|(seq, change)| (seq, Pending { change, origin: None }));
            self.change_topic(room, |topic| topic.offer(changes, &self.encoder, |_, _| {}));
        }
    }
}

fn forget_user(people: &mut People, user: UserId, number: u64) {
    if let Some(conns) = people.by_user.get_mut(&user) {
        conns.retain(|conn| conn.number != number);
        if conns.is_empty() {
            people.by_user.remove(&user);
        }
    }
}

/// A join that is under way.
pub(super) struct Joining {
    hub: Arc<Hub>,
    room: RoomId,
    begun: Begun,
}

impl Joining {
    /// See [`Topic::try_listen`].
    pub(super) fn try_listen(&self, conn: &Arc<Conn>, catch: &CatchUp, known: u64) -> Result<(), u64> {
        let (encoder, begun) = (&self.hub.encoder, self.begun);
        // The topic is there as long as this join is.
        let listens = self.hub.change_topic(self.room, |topic| topic.try_listen(conn, catch, known, begun, encoder));
        if !listens.unwrap_or(Ok(true))? {
            self.hub.leave(self.room, conn);
        }
        Ok(())
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.hub.change_topic(self.room, Topic::end_join);
    }
}
