//! A day of an office of two hundred people in a minute: they come, talk, react, write, read, go to lunch and come
//! back, and leave.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Bench, Fallible,
    check::{Faults, Follow},
    http::Http,
    load::{self, said_now, say, stamp_now},
    report::Outcome,
    target::{Account, Settings, Target},
    times::Times,
    usage::Stretch,
    watch::Watch,
    wire::{Reader, Socket, stamp},
};

/// People in a team, and teams of each.
const TEAM: usize = 20;
const TEAMS_OF_EACH: usize = 2;
/// A person does something so often, in a day of a minute.
const PAUSE: Duration = Duration::from_secs(2);

/// A sequence of numbers that is the same each time (xorshift64*, Marsaglia 2003, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end.max(1)
    }
}

/// Each room's last number.
type Lasts = HashMap<Arc<str>, u64>;

/// What all know of the day.
struct Day {
    addr: Arc<str>,
    begun: Instant,
    length: Duration,
    /// Counts deliveries.
    heard: Arc<AtomicU64>,
    /// Counts messages, edits and reactions.
    acts: AtomicU64,
    /// The rooms' last numbers, when all is said.
    lasts: tokio::sync::watch::Sender<Option<Arc<Lasts>>>,
    give_up: CancellationToken,
}

impl Day {
    /// A time of the day, from 0 to 1.
    fn at(&self, part: f64) -> Instant {
        self.begun + self.length.mul_f64(part)
    }
}

struct Person {
    account: Account,
    rooms: Vec<Arc<str>>,
    goes_to_lunch: bool,
    dice: Dice,
    follows: HashMap<Arc<str>, Follow>,
    /// The last message heard: its room and id.
    last_heard: Option<(Arc<str>, String)>,
    last_own: Option<(Arc<str>, String)>,
    times: Times,
    number: u64,
}

impl Person {
    /// Connects and joins all rooms, from where they were left.
    async fn come(&mut self, day: &Day) -> Fallible<Socket> {
        let mut socket = Socket::open(&day.addr, &self.account.token).await?;
        for room in self.rooms.clone() {
            let since = self.follows.get(&room).map(Follow::position);
            let mut early = Vec::new();
            let last = socket.join(&room, since, |frame| early.push(frame.to_vec())).await?;
            if since.is_none() {
                self.follows.insert(room, Follow::after(last));
            }
            let heard = early.iter().filter(|frame| self.hear(frame, false)).count() as u64;
            day.heard.fetch_add(heard, Ordering::Relaxed);
        }
        Ok(socket)
    }

    /// Whether it was a numbered change.
    fn hear(&mut self, frame: &[u8], live: bool) -> bool {
        let Some((room, seq)) = Reader::default().change(frame) else { return false };
        let Some((room, follow)) =
            std::str::from_utf8(room).ok().and_then(|room| self.follows.get_mut(room).map(|f| (room, f)))
        else {
            return true;
        };
        follow.hear(seq);
        if !frame.starts_with(br#"{"type":"chat.message.created""#) {
            return true;
        }
        if let Some(said) = stamp(frame).filter(|_| live) {
            self.times.note_us(stamp_now().saturating_sub(said));
        }
        // One in eight is kept in mind, to be reacted to.
        if (seq + self.number).is_multiple_of(8)
            && let Ok(event) = serde_json::from_slice::<Value>(frame)
            && let Some(id) = event["payload"]["message"]["id"].as_str()
        {
            let message = (Arc::from(room), id.to_owned());
            if event["payload"]["message"]["username"] == self.account.name.as_str() {
                self.last_own = Some(message.clone());
            }
            self.last_heard = Some(message);
        }
        true
    }

    /// Does one of the things that people do.
    async fn act(&mut self, socket: &mut Socket, http: &mut Http, day: &Day) -> Fallible<()> {
        // The large room, the first, hears one in ten.
        let at = if self.dice.below(10) == 0 { 0 } else { 1 + self.dice.below(self.rooms.len() as u64 - 1) as usize };
        let room = self.rooms[at.min(self.rooms.len() - 1)].clone();
        self.number += 1;
        let (kind, payload) = match self.dice.below(100) {
            0..50 => {
                day.acts.fetch_add(1, Ordering::Relaxed);
                let size = 20 + self.dice.below(200) as usize;
                return socket.say(&[say(&room, self.number, &said_now(size))]).await;
            }
            50..65 => ("chat.typing", json!({"room_id": room, "typing": true})),
            65..80 => {
                let seq = self.follows.get(&room).map_or(0, Follow::position);
                ("chat.read", json!({"room_id": room, "seq": seq}))
            }
            80..88 => {
                let Some((room, id)) = &self.last_heard else { return Ok(()) };
                day.acts.fetch_add(1, Ordering::Relaxed);
                ("chat.reaction.add", json!({"room_id": room, "message_id": id, "emoji": "👍"}))
            }
            88..92 => {
                let Some((room, id)) = &self.last_own else { return Ok(()) };
                day.acts.fetch_add(1, Ordering::Relaxed);
                ("chat.message.edit", json!({"room_id": room, "message_id": id, "content": "said better"}))
            }
            92..96 => ("chat.history", json!({"room_id": room, "limit": 50})),
            _ => {
                http.must("GET", "/api/rooms", &self.account.token, None).await?;
                return Ok(());
            }
        };
        socket.say(&[json!({"type": kind, "payload": payload}).to_string()]).await
    }

    /// Listens and does something now and then, until a time.
    async fn work(&mut self, socket: &mut Socket, http: &mut Http, day: &Day, until: Instant) -> Fallible<()> {
        let pause = PAUSE.min(day.length / 30);
        let mut next = Instant::now() + pause.mul_f64(self.dice.below(1_000) as f64 / 1e3);
        while Instant::now() < until {
            let mut frames = Vec::new();
            tokio::select! {
                read = socket.read(|frame| frames.push(frame.to_vec())) => read?,
                () = tokio::time::sleep_until(next.min(until)) => {
                    if next < until {
                        self.act(socket, http, day).await?;
                    }
                    next += pause.mul_f64(0.5 + self.dice.below(1_000) as f64 / 1e3);
                }
            }
            let heard = frames.iter().filter(|frame| self.hear(frame, true)).count() as u64;
            day.heard.fetch_add(heard, Ordering::Relaxed);
        }
        Ok(())
    }

    /// One day.
    async fn live(mut self, day: Arc<Day>) -> Fallible<Self> {
        let mut http = Http::new(&day.addr);
        let arrives = day.at(self.dice.below(1_000) as f64 / 1e4);
        tokio::time::sleep_until(arrives).await;
        let renewed =
            http.must("POST", "/api/auth/refresh", "", Some(&json!({"refresh_token": self.account.refresh}))).await?;
        self.account.token = renewed["access_token"].as_str().ok_or("a refresh was answered without a token")?.into();
        http.must("GET", "/api/rooms", &self.account.token, None).await?;
        let mut socket = self.come(&day).await?;
        if self.goes_to_lunch {
            let lunch = 0.45 + self.dice.below(1_000) as f64 / 2e4;
            self.work(&mut socket, &mut http, &day, day.at(lunch)).await?;
            drop(socket);
            tokio::time::sleep_until(day.at(lunch + 0.1)).await;
            socket = self.come(&day).await?;
        }
        self.work(&mut socket, &mut http, &day, day.at(1.0)).await?;
        // All is said. They stay until they have heard it.
        let mut told = day.lasts.subscribe();
        let give_up = day.give_up.clone();
        let rest = async {
            loop {
                let lasts = told.borrow_and_update().clone();
                let done = lasts.as_ref().is_some_and(|lasts| {
                    self.follows
                        .iter()
                        .all(|(room, follow)| lasts.get(room).is_none_or(|last| follow.position() >= *last))
                });
                if done {
                    return Ok::<(), String>(());
                }
                let mut frames = Vec::new();
                tokio::select! {
                    read = socket.read(|frame| frames.push(frame.to_vec())) => read?,
                    _ = told.changed(), if lasts.is_none() => {}
                }
                let heard = frames.iter().filter(|frame| self.hear(frame, true)).count() as u64;
                day.heard.fetch_add(heard, Ordering::Relaxed);
            }
        };
        if let Some(outcome) = give_up.run_until_cancelled(rest).await {
            outcome?;
        }
        Ok(self)
    }
}

/// Makes the office: one room for all, teams, and each one's place in them.
async fn office(target: &Target, count: usize) -> Fallible<(Vec<Person>, Vec<Arc<str>>)> {
    let accounts = target.accounts(count).await?;
    let mut http = Http::new(&target.addr);
    let mut rooms = Vec::new();
    for index in 0..=count.div_ceil(TEAM) * TEAMS_OF_EACH {
        rooms.push(target.room(&mut http, &accounts[0].token, &index.to_string()).await?);
    }
    let mut people = Vec::with_capacity(count);
    for (index, account) in accounts.into_iter().enumerate() {
        let mut own = vec![rooms[0].clone()];
        for team in 0..TEAMS_OF_EACH {
            // Neighbours of one team are strangers in the other.
            let seat = (index * (1 + team * 7) + team) % count;
            own.push(rooms[1 + team * count.div_ceil(TEAM) + seat / TEAM].clone());
        }
        for room in &own {
            http.must("POST", &format!("/api/rooms/{room}/join"), &account.token, None).await?;
        }
        people.push(Person {
            account,
            rooms: own,
            goes_to_lunch: index % 3 == 0,
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1)),
            follows: HashMap::new(),
            last_heard: None,
            last_own: None,
            times: Times::new(),
            number: index as u64,
        });
    }
    Ok((people, rooms))
}

pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let count = bench.connections(200, 8);
    let length = bench.seconds(60.0, 2.0);
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let (people, rooms) = office(&target, count).await?;
    let owner = people.first().map(|person| person.account.clone()).ok_or("an office needs people")?;
    load::settle(target.process).await?;
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("mixed", "deliveries", stretch);
    let day = Arc::new(Day {
        addr: target.addr.clone(),
        begun: Instant::now(),
        length,
        heard: watch.done.clone(),
        acts: AtomicU64::new(0),
        lasts: tokio::sync::watch::Sender::new(None),
        give_up: CancellationToken::new(),
    });
    let mut tasks = JoinSet::new();
    people.into_iter().for_each(|person| drop(tasks.spawn(person.live(day.clone()))));
    tokio::time::sleep_until(day.at(1.0)).await;
    // What is under way is said before this: a room's numbers are given in its order.
    load::settle(target.process).await?;
    let mut http = Http::new(&target.addr);
    let mut lasts = Lasts::new();
    for room in &rooms {
        lasts.insert(room.clone(), load::post(&mut http, room, &owner.token, "good night").await?);
    }
    day.lasts.send_replace(Some(Arc::new(lasts.clone())));
    let mut there = Vec::with_capacity(count);
    let deadline = Instant::now() + load::PATIENCE;
    loop {
        match tokio::time::timeout_at(deadline, tasks.join_next()).await {
            Ok(Some(done)) => there.push(done.map_err(|e| format!("somebody died: {e}"))??),
            Ok(None) => break,
            Err(_) if day.give_up.is_cancelled() => return Err("somebody did not go home".to_owned()),
            Err(_) => {
                day.give_up.cancel();
                while let Some(done) = tasks.join_next().await {
                    there.push(done.map_err(|e| format!("somebody died: {e}"))??);
                }
            }
        }
    }
    let cost = stretch.end()?;
    let (mut faults, mut times) = (Faults::default(), Times::new());
    for person in &there {
        times.add(&person.times);
        for (room, follow) in &person.follows {
            faults += follow.clone().finish(lasts.get(room).copied().unwrap_or(0));
        }
    }
    let (heard, acts) = (watch.done.load(Ordering::Relaxed), day.acts.load(Ordering::Relaxed));

    let title = format!("{count} people in {} rooms: a day in {:.0} s", rooms.len(), length.as_secs_f64());
    let mut out = Outcome::new("mixed", title, &[("people", count as u64), ("rooms", rooms.len() as u64)]);
    out.samples = watch.end().await;
    out.unit = "deliveries";
    (out.deliveries, out.faults) = (heard + faults.lost, faults);
    out.figure("acts", "messages, edits and reactions", acts as f64, "");
    if let Some(cpu) = cost.cpu {
        out.figure("cpu_seconds", "CPU seconds of the server for the day", cpu, "s");
        out.figure("cpu_percent", "the same, of one core", cpu / cost.seconds * 100.0, "%");
    }
    if let Some((_, after)) = cost.resident_kib {
        out.figure("resident_mib", "memory of the server at its end", after / 1024.0, "MiB");
    }
    out.latency("from being said to being heard", times);
    Ok(out)
}
