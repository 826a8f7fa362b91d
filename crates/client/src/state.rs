//! What the client knows, and the rules: what comes in changes it, and it says what to send, to read and to tell.
//! Nothing here waits or does I/O; the time is passed in.

mod incoming;
mod resume;

use std::collections::{BTreeMap, HashMap, VecDeque};

use mesh_protocol::{
    PeerId, RoomId, UserId,
    event::{ClientEvent, chat::MessageSend, room, system},
    limits::MAX_PAGE,
    model::Message,
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Duration, Instant},
};

use crate::{
    Config, Error, Event, ambient, backoff,
    outlet::Outlet,
    pace::Pace,
    roomlog::{Out, RoomLog},
    socket::frame,
};

/// Somebody who waits for an answer, and the place that this takes.
pub(crate) struct Waiter<T> {
    reply: oneshot::Sender<Result<T, Error>>,
    _place: OwnedSemaphorePermit,
}

impl<T> Waiter<T> {
    pub(crate) fn new(reply: oneshot::Sender<Result<T, Error>>, place: OwnedSemaphorePermit) -> Self {
        Self { reply, _place: place }
    }

    fn tell(self, answer: Result<T, Error>) {
        // Who does not wait any more need not be told.
        let _ = self.reply.send(answer);
    }
}

/// What the handles ask for.
pub(crate) enum Command {
    Join { room_id: RoomId, since_seq: Option<u64>, waiter: Waiter<room::Joined> },
    Leave { room_id: RoomId, waiter: Waiter<()> },
    Send { message: MessageSend, waiter: Waiter<Message> },
    Token(String),
    Close(oneshot::Sender<()>),
}

/// What is to be sent, or was sent and waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Join(RoomId),
    Leave(RoomId),
    Send(u64),
    Auth,
}

#[derive(Default)]
struct Room {
    /// None before it was joined for the first time.
    log: Option<RoomLog>,
    /// Joined on this connection.
    live: bool,
    /// Joined once.
    known: bool,
    /// A join is on its way.
    asking: bool,
    attempts: u32,
    waiters: Vec<Waiter<room::Joined>>,
    /// In `State::active`.
    active: bool,
    /// In `State::behind`.
    behind: bool,
}

impl Room {
    /// Asks for everything after what was given.
    fn join(&self, room_id: RoomId) -> ClientEvent {
        ClientEvent::RoomJoin(room::Join { room_id, since_seq: self.log.as_ref().map(RoomLog::given) })
    }
}

struct Pending {
    message: MessageSend,
    waiter: Waiter<Message>,
    attempts: u32,
}

/// What lives as long as a connection.
struct Online {
    me: UserId,
    max_frame: usize,
    pace: Pace,
    /// By the id under which it was sent.
    asked: HashMap<String, Ask>,
    ready: VecDeque<Ask>,
    later: BTreeMap<(Instant, u64), Ask>,
    /// When the pace allows the next one.
    wake: Option<Instant>,
    /// History is not read before.
    fill_at: Instant,
    fill_attempts: u32,
    filling: bool,
    /// The server said that the token is about to end.
    expiring: bool,
    /// The newer token to go on with.
    token: Option<String>,
}

/// A page of history that should be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) room_id: RoomId,
    pub(crate) after: u64,
    pub(crate) limit: usize,
}

pub(crate) struct State {
    pub(crate) outlet: Outlet,
    /// The name to propose.
    pub(crate) peer_id: Option<PeerId>,
    rooms: BTreeMap<RoomId, Room>,
    leaves: BTreeMap<RoomId, Vec<Waiter<()>>>,
    /// In the order in which they were asked for.
    sends: BTreeMap<u64, Pending>,
    /// Rooms that may have something to give.
    active: VecDeque<RoomId>,
    /// Rooms that need history.
    behind: VecDeque<RoomId>,
    next: u64,
    fill_room: usize,
    retry: (Duration, Duration),
    /// Joins said with the hello, by their ids.
    early: HashMap<String, RoomId>,
    /// How many may be: none before the server has told its limits.
    early_joins: usize,
    online: Option<Online>,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            outlet: Outlet::new(config.event_capacity),
            peer_id: config.peer_id.clone(),
            rooms: BTreeMap::new(),
            leaves: BTreeMap::new(),
            sends: BTreeMap::new(),
            active: VecDeque::new(),
            behind: VecDeque::new(),
            next: 0,
            // Not a page for each single place that falls free.
            fill_room: MAX_PAGE.min(config.event_capacity / 2).max(1),
            retry: (config.backoff_min, config.backoff_max),
            early: HashMap::new(),
            early_joins: 0,
            online: None,
        }
    }

    /// A handle asks; [`Command::Token`] and [`Command::Close`] are not for here.
    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Join { room_id, since_seq, waiter } => {
                let room = self.rooms.entry(room_id).or_default();
                if let (None, Some(since)) = (&room.log, since_seq) {
                    room.log = Some(RoomLog::new(since));
                }
                room.waiters.push(waiter);
                if let Some(online) = &mut self.online
                    && !std::mem::replace(&mut room.asking, true)
                {
                    online.ready.push_back(Ask::Join(room_id));
                }
            }
            Command::Leave { room_id, waiter } => {
                if let Some(room) = self.rooms.remove(&room_id) {
                    let left = || Error::Stopped("the room was left".to_owned());
                    room.waiters.into_iter().for_each(|waiter| waiter.tell(Err(left())));
                }
                match &mut self.online {
                    Some(online) => {
                        self.leaves.entry(room_id).or_default().push(waiter);
                        online.ready.push_back(Ask::Leave(room_id));
                    }
                    None => waiter.tell(Ok(())),
                }
            }
            Command::Send { message, waiter } => {
                self.next += 1;
                self.sends.insert(self.next, Pending { message, waiter, attempts: 0 });
                if let Some(online) = &mut self.online {
                    online.ready.push_back(Ask::Send(self.next));
                }
            }
            Command::Token(_) | Command::Close(_) => {}
        }
    }

    /// Goes on with another token, on this connection.
    pub(crate) fn renew(&mut self, token: String) {
        if let Some(online) = &mut self.online
            && online.token.replace(token).is_none()
        {
            online.ready.push_front(Ask::Auth);
        }
    }

    /// Whether a newer token is needed, which is said once.
    pub(crate) fn is_expiring(&mut self) -> bool {
        self.online.as_mut().is_some_and(|online| std::mem::take(&mut online.expiring))
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.online = None;
        for room in self.rooms.values_mut() {
            room.live = false;
            room.asking = false;
            room.attempts = 0;
            room.behind = false;
            if let Some(log) = &mut room.log {
                log.disconnected();
            }
        }
        self.behind.clear();
        // A connection that is gone receives nothing: that is what leaving asks for.
        for waiter in std::mem::take(&mut self.leaves).into_values().flatten() {
            waiter.tell(Ok(()));
        }
    }

    /// The client ends: who waits is told.
    pub(crate) fn stop(&mut self, reason: &str) {
        self.disconnected();
        let stopped = || Error::Stopped(reason.to_owned());
        for waiter in std::mem::take(&mut self.rooms).into_values().flat_map(|room| room.waiters) {
            waiter.tell(Err(stopped()));
        }
        for pending in std::mem::take(&mut self.sends).into_values() {
            pending.waiter.tell(Err(stopped()));
        }
    }

    /// The next frame to send, if one may be sent now.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<String> {
        loop {
            let online = self.online.as_mut()?;
            while let Some(entry) = online.later.first_entry()
                && entry.key().0 <= now
            {
                online.ready.push_back(entry.remove());
            }
            let &ask = online.ready.front()?;
            let event = match ask {
                Ask::Join(room_id) => self.rooms.get(&room_id).map(|room| room.join(room_id)),
                Ask::Leave(room_id) => {
                    self.leaves.contains_key(&room_id).then_some(ClientEvent::RoomLeave(room::Leave { room_id }))
                }
                Ask::Send(key) => {
                    if self.sends.get(&key).is_some_and(|pending| pending.waiter.reply.is_closed()) {
                        self.sends.remove(&key);
                    }
                    self.sends.get(&key).map(|pending| ClientEvent::MessageSend(pending.message.clone()))
                }
                Ask::Auth => online.token.clone().map(|token| ClientEvent::Auth(system::Auth { token })),
            };
            let Some(event) = event else {
                online.ready.pop_front();
                continue;
            };
            if let Err(wake) = online.pace.take(now) {
                online.wake = Some(wake);
                return None;
            }
            online.ready.pop_front();
            if ask == Ask::Auth {
                online.token = None;
            }
            self.next += 1;
            let id = format!("e{}", self.next);
            let text = frame(Some(&id), None, &event);
            if text.len() > online.max_frame
                && let Ask::Send(key) = ask
                && let Some(pending) = self.sends.remove(&key)
            {
                let (bytes, limit) = (text.len(), online.max_frame);
                pending.waiter.tell(Err(Error::TooLarge { bytes, limit }));
                continue;
            }
            online.asked.insert(id, ask);
            return Some(text);
        }
    }

    /// When [`State::next_frame`] or [`State::next_fill`] may have something, though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let online = self.online.as_ref()?;
        let later = online.later.first_key_value().map(|(&(at, _), _)| at);
        let wake = online.wake.filter(|_| !online.ready.is_empty());
        let fill = (!self.behind.is_empty() && !online.filling && self.may_fill()).then_some(online.fill_at);
        [later, wake, fill].into_iter().flatten().min()
    }

    /// Gives what may be given now.
    pub(crate) fn pump(&mut self) {
        while self.outlet.free() > 0 {
            let Some(room_id) = self.active.pop_front() else { return };
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            let Some(log) = &mut room.log else { continue };
            match log.pop() {
                Some(out) => {
                    self.active.push_back(room_id);
                    self.outlet.put(match out {
                        Out::Change(change) => change.into(),
                        Out::Gap { after_seq, to_seq } => Event::Gap { room_id, after_seq, to_seq },
                    });
                }
                None => {
                    room.active = false;
                    if room.live && log.missing().is_some() && !std::mem::replace(&mut room.behind, true) {
                        self.behind.push_back(room_id);
                    }
                }
            }
        }
    }

    /// The page of history that should be read now; [`State::filled`] takes it.
    pub(crate) fn next_fill(&mut self, now: Instant) -> Option<Fill> {
        let may = self.may_fill();
        let online = self.online.as_mut()?;
        if online.filling || online.fill_at > now || !may {
            return None;
        }
        while let Some(room_id) = self.behind.pop_front() {
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            room.behind = false;
            if let Some((after, _)) = room.log.as_ref().and_then(RoomLog::missing) {
                online.filling = true;
                return Some(Fill { room_id, after, limit: MAX_PAGE.min(self.outlet.free()) });
            }
        }
        None
    }

    /// A page of history came.
    ///
    /// # Errors
    /// Where the credential was refused.
    pub(crate) fn filled(&mut self, fill: Fill, page: Result<Vec<Message>, Error>, now: Instant) -> Result<(), Error> {
        let Some(online) = &mut self.online else { return Ok(()) };
        online.filling = false;
        let before = self.rooms.get(&fill.room_id).and_then(|room| room.log.as_ref()?.missing());
        match page {
            Ok(page) => {
                if let Some(log) = self.rooms.get_mut(&fill.room_id).and_then(|room| room.log.as_mut()) {
                    let complete = page.len() < fill.limit;
                    for change in log.page(fill.after, page, complete, self.outlet.free()) {
                        self.outlet.put(change.into());
                    }
                }
                let after = self.rooms.get(&fill.room_id).and_then(|room| room.log.as_ref()?.missing());
                let stuck = before.is_some() && before.map(|(given, _)| given) == after.map(|(given, _)| given);
                self.fill_again(stuck, now);
            }
            Err(error) if error.is_credential() => return Err(error),
            Err(Error::Api(problem)) if matches!(problem.status, 403 | 404) => {
                self.lose(fill.room_id, Error::Api(problem))
            }
            Err(_) => self.fill_again(true, now),
        }
        self.activate(fill.room_id);
        Ok(())
    }

    fn fill_again(&mut self, failed: bool, now: Instant) {
        let (min, max) = self.retry;
        let Some(online) = &mut self.online else { return };
        if failed {
            online.fill_at = now + backoff::delay(min, max, online.fill_attempts, ambient::random());
            online.fill_attempts += 1;
        } else {
            online.fill_attempts = 0;
        }
    }

    fn may_fill(&self) -> bool {
        self.outlet.free() >= self.fill_room
    }

    fn activate(&mut self, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&room_id)
            && !std::mem::replace(&mut room.active, true)
        {
            self.active.push_back(room_id);
        }
    }

    /// A room can't be had any more.
    fn lose(&mut self, room_id: RoomId, error: Error) {
        let Some(room) = self.rooms.remove(&room_id) else { return };
        let text = error.to_string();
        let again = |error: &Error| match error {
            Error::Refused(refused) => Error::Refused(refused.clone()),
            Error::Api(problem) => Error::Api(problem.clone()),
            _ => Error::Protocol(text.clone()),
        };
        room.waiters.into_iter().for_each(|waiter| waiter.tell(Err(again(&error))));
        if room.known {
            self.outlet.put(Event::Lost { room_id, error });
        }
    }
}
