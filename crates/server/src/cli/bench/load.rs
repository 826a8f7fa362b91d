//! What the scenarios have in common: saying something, listening to a room to its end, many at once.

use std::{
    future::Future,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Fallible,
    check::{Faults, Follow},
    http::Http,
    target::{Account, Target},
    times::Times,
    usage::Process,
    wire::{Reader, Socket, stamp},
};

/// How long the last deliveries of a scenario may take; what has not come then is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What stamps are counted from.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since this process first asked, and never zero.
pub(super) fn stamp_now() -> u64 {
    u64::try_from(BEGUN.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A text of `size` bytes that begins with the time; `stamp` reads it.
pub(super) fn said_now(size: usize) -> String {
    let mut text = format!("{} ", stamp_now());
    while text.len() < size {
        text.push('x');
    }
    text
}

/// The event that says `content`; its sender is answered under the number.
pub(super) fn say(room: &str, number: u64, content: &str) -> String {
    let payload = json!({"room_id": room, "content": content});
    json!({"type": "chat.message.send", "id": format!("s{number}"), "payload": payload}).to_string()
}

/// Says something by REST; its number.
pub(super) async fn post(http: &mut Http, room: &str, token: &str, content: &str) -> Fallible<u64> {
    let path = format!("/api/rooms/{room}/messages");
    let message = http.must("POST", &path, token, Some(&json!({"content": content}))).await?;
    message["seq"].as_u64().ok_or_else(|| "a message was answered without its seq".to_owned())
}

/// A connection that listens to one room, and what it heard.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) follow: Follow,
    /// From being said to being heard, where it was asked for.
    pub(super) times: Times,
    reader: Reader,
}

/// What all who listen to a room have in common.
pub(super) struct Audience {
    /// The room's last number, once it is known: whoever has it goes.
    last: AtomicU64,
    /// Counts deliveries.
    heard: Arc<AtomicU64>,
    /// Whether to look at when things were said.
    timed: bool,
    give_up: CancellationToken,
}

impl Audience {
    pub(super) fn new(heard: Arc<AtomicU64>, timed: bool) -> Arc<Self> {
        Arc::new(Self { last: AtomicU64::new(u64::MAX), heard, timed, give_up: CancellationToken::new() })
    }

    /// The room's last number will be this one: it is said after this.
    pub(super) fn ends_with(&self, last: u64) {
        self.last.store(last, Ordering::Release);
    }
}

impl Listener {
    pub(super) fn new(socket: Socket, seen: u64) -> Self {
        Self { socket, follow: Follow::after(seen), times: Times::new(), reader: Reader::default() }
    }

    /// Connects and joins a room, after `since` where it is given. The answer's last number: up to there a replay comes.
    pub(super) async fn open(addr: &str, token: &str, room: &str, since: Option<u64>) -> Fallible<(Self, u64)> {
        Self::open_as(addr, token, room, since, false).await
    }

    /// The same with what is said compressed, or not.
    pub(super) async fn open_as(
        addr: &str,
        token: &str,
        room: &str,
        since: Option<u64>,
        compressed: bool,
    ) -> Fallible<(Self, u64)> {
        let mut early = Vec::new();
        let mut reader = Reader::default();
        let hear = |frame: &[u8]| early.extend(reader.change(frame).map(|(_, seq)| seq));
        let (socket, last) = Socket::enter(addr, token, compressed, room, since, hear).await?;
        let mut listener = Self::new(socket, since.unwrap_or(last));
        early.into_iter().for_each(|seq| listener.follow.hear(seq));
        Ok((listener, last))
    }

    /// Reads once.
    async fn read(&mut self, timed: bool) -> Fallible<u64> {
        let Self { socket, follow, times, reader } = self;
        let mut heard = 0;
        socket
            .read(|frame| {
                if let Some((_, seq)) = reader.change(frame) {
                    follow.hear(seq);
                    heard += 1;
                    if timed && let Some(said) = stamp(frame) {
                        times.note_us(stamp_now().saturating_sub(said));
                    }
                }
            })
            .await?;
        Ok(heard)
    }

    /// Listens up to a number.
    pub(super) async fn until(&mut self, last: u64) -> Fallible<u64> {
        let mut heard = 0;
        while self.follow.position() < last {
            heard += self.read(false).await?;
        }
        Ok(heard)
    }

    /// Listens until the audience's end, or until it is given up.
    pub(super) async fn stay(mut self, audience: Arc<Audience>) -> Fallible<Self> {
        let listening = async {
            while self.follow.position() < audience.last.load(Ordering::Acquire) {
                let heard = self.read(audience.timed).await?;
                audience.heard.fetch_add(heard, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        };
        if let Some(outcome) = audience.give_up.run_until_cancelled(listening).await {
            outcome?;
        }
        Ok(self)
    }
}

/// Says something at a fixed rate, in events a second, for so long, but twice at least; how often. `event` makes the one of
/// number `n`, from 1 on.
pub(super) async fn speak(
    sender: &mut Socket,
    audience: &Audience,
    (rate, length): (f64, Duration),
    event: impl Fn(u64) -> String,
) -> Fallible<u64> {
    let mut every = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let messages = ((length.as_secs_f64() * rate) as u64).max(2);
    let mut said = 0;
    while said < messages {
        tokio::select! {
            _ = every.tick() => {
                said += 1;
                if said == messages {
                    audience.ends_with(said);
                }
                sender.say(&[event(said)]).await?;
            }
            read = sender.read(|_| {}) => read?,
        }
    }
    Ok(said)
}

/// Waits for an audience's end: those who listened. What has not come in time is missed by them.
pub(super) async fn leave(mut tasks: JoinSet<Fallible<Listener>>, audience: &Audience) -> Fallible<Vec<Listener>> {
    let mut there = Vec::with_capacity(tasks.len());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !tasks.is_empty() {
        match tokio::time::timeout_at(deadline, tasks.join_next()).await {
            Ok(Some(done)) => there.push(done.map_err(|e| format!("a listener died: {e}"))??),
            Ok(None) => break,
            Err(_) => {
                audience.give_up.cancel();
                // They end now, one after the other.
                while let Some(done) = tasks.join_next().await {
                    there.push(done.map_err(|e| format!("a listener died: {e}"))??);
                }
            }
        }
    }
    Ok(there)
}

/// What was wrong for those who listened up to `last`.
pub(super) fn judge(listeners: &[Listener], last: u64) -> Faults {
    let mut faults = Faults::default();
    listeners.iter().for_each(|listener| faults += listener.follow.clone().finish(last));
    faults
}

/// Does `count` things, so many at once; their outcomes in any order.
pub(super) async fn many<T, F>(
    count: usize,
    at_once: usize,
    done: &Arc<AtomicU64>,
    act: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Fallible<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Fallible<T>> + Send,
{
    let (next, act) = (Arc::new(AtomicUsize::new(0)), Arc::new(act));
    let mut tasks = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (next, act, done) = (next.clone(), act.clone(), done.clone());
        tasks.spawn(async move {
            let mut out = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok::<_, String>(out);
                }
                out.push(act(index).await?);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(part) = tasks.join_next().await {
        all.extend(part.map_err(|e| format!("a client died: {e}"))??);
    }
    Ok(all)
}

/// Accounts with a room each, into which the connections are spread evenly.
pub(super) struct Houses {
    pub(super) accounts: Vec<Account>,
    pub(super) rooms: Vec<Arc<str>>,
}

impl Houses {
    pub(super) async fn new(target: &Target, count: usize) -> Fallible<Arc<Self>> {
        let accounts = target.accounts(count).await?;
        let mut http = Http::new(&target.addr);
        let mut rooms = Vec::with_capacity(count);
        for (index, account) in accounts.iter().enumerate() {
            rooms.push(target.room(&mut http, &account.token, &index.to_string()).await?);
        }
        Ok(Arc::new(Self { accounts, rooms }))
    }

    /// Whose connection it is, and in which room.
    pub(super) fn of(&self, index: usize) -> (&str, &str) {
        let at = index % self.rooms.len();
        (&self.accounts[at].token, &self.rooms[at])
    }

    /// Says one thing in each room; the rooms' last numbers.
    pub(super) async fn say_once(&self, addr: &Arc<str>, content: &str) -> Fallible<Vec<u64>> {
        let mut http = Http::new(addr);
        let mut lasts = Vec::with_capacity(self.rooms.len());
        for (account, room) in self.accounts.iter().zip(&self.rooms) {
            lasts.push(post(&mut http, room, &account.token, content).await?);
        }
        Ok(lasts)
    }

    /// Everybody listens until they have their room's last number; how much they heard, and what was wrong. Listener
    /// `n` stands in room `n % rooms`.
    pub(super) async fn hear_all(listeners: Vec<(usize, Listener)>, lasts: &[u64]) -> Fallible<(u64, Faults)> {
        let mut tasks = JoinSet::new();
        for (index, mut listener) in listeners {
            let last = lasts[index % lasts.len()];
            tasks.spawn(async move {
                // Who does not get there in time has lost what is missing.
                let heard = match tokio::time::timeout(PATIENCE, listener.until(last)).await {
                    Ok(heard) => heard?,
                    Err(_) => 0,
                };
                Ok::<_, String>((heard, listener.follow.finish(last)))
            });
        }
        let (mut heard, mut faults) = (0, Faults::default());
        while let Some(done) = tasks.join_next().await {
            let (more, wrong) = done.map_err(|e| format!("a listener died: {e}"))??;
            heard += more;
            faults += wrong;
        }
        Ok((heard, faults))
    }
}

/// A server is quiet that has done nothing for so long: longer than a room's presence may wait to be told.
const QUIET: Duration = Duration::from_millis(1_200);

/// Waits until a server is quiet, or five seconds are over.
pub(super) async fn settle(process: Option<Process>) -> Fallible<()> {
    let Some(process) = process else { return Ok(()) };
    let (begun, mut quiet, mut before) = (Instant::now(), Instant::now(), process.usage()?.cpu);
    while quiet.elapsed() < QUIET && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = process.usage()?.cpu;
        if now > before {
            (quiet, before) = (Instant::now(), now);
        }
    }
    Ok(())
}
