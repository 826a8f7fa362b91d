//! The REST interface, over connections that stay open.

use std::{sync::Arc, time::Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Bench, Fallible,
    http::Http,
    load,
    report::{Goal, Outcome},
    target::{Settings, Target},
    times::{Times, median, multiple},
    usage::Stretch,
    watch::Watch,
};

const ROOMS: usize = 10;
/// Messages in the room whose history is read.
const MESSAGES: usize = 50;
/// Connections that ask side by side.
const CLIENTS: usize = 4;

/// Rounds by turns: a second of somebody else's work on the machine falls on one of them.
const ROUNDS: usize = 5;

/// CPU seconds a thousand that the bare responder would take where the goals were set. It was not there; the bare
/// broadcaster was, and took 6.7 at a fixed rate, where it takes 10.2 and 10.4 and the responder 0.014 and 0.016.
const LIMIT_WHERE_SET: f64 = 0.0098;

/// What is asked for, and what it cost.
struct Question {
    name: &'static str,
    title: &'static str,
    path: String,
    /// In how many requests of a round.
    count: usize,
    /// CPU seconds a thousand at most, and what they are called as a multiple of the bare responder's.
    goal: Option<(f64, &'static str, &'static str)>,
    /// CPU seconds a thousand, of each round.
    costs: Vec<f64>,
    times: Times,
}

impl Question {
    fn new(name: &'static str, title: &'static str, path: &str, count: usize) -> Self {
        Self { name, title, path: path.to_owned(), count, goal: None, costs: Vec::new(), times: Times::new() }
    }

    fn cost(&self) -> Option<f64> {
        median(self.costs.iter().copied())
    }

    /// Asks for a round.
    async fn ask(&mut self, target: &Target, token: &Arc<str>) -> Fallible<()> {
        let stretch = Stretch::begin(target.process)?;
        let watch = Watch::begin("rest", "requests", stretch);
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let (addr, token, path) = (target.addr.clone(), token.clone(), self.path.clone());
            let (done, count) = (watch.done.clone(), self.count.div_ceil(CLIENTS));
            tasks.spawn(async move {
                let (mut http, mut times) = (Http::new(&addr), Times::new());
                for _ in 0..count {
                    let begun = Instant::now();
                    let (status, body) = http.ask("GET", &path, &token, None).await?;
                    if status != 200 {
                        return Err(format!("GET {path}: {status} {}", String::from_utf8_lossy(&body)));
                    }
                    times.note(begun.elapsed());
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Ok(times)
            });
        }
        let mut times = Times::new();
        while let Some(done) = tasks.join_next().await {
            times.add(&done.map_err(|e| format!("a client died: {e}"))??);
        }
        let cost = stretch.end()?;
        watch.end().await;
        self.costs.extend(cost.cpu.map(|cpu| cpu / times.count() as f64 * 1e3));
        self.times.add(&times);
        Ok(())
    }

    /// Tells what it cost; the goal counts where nothing stands beside it.
    fn tell(&self, out: &mut Outcome, alone: bool) {
        let Some(cost) = self.cost() else { return };
        let title = format!("{}: CPU seconds a thousand", self.title);
        match self.goal {
            Some((most, ..)) => out.judged_alone(alone, self.name, title, cost, "s", Goal::AtMost(most)),
            None => out.figure(self.name, title, cost, "s"),
        }
    }
}

/// Who am I, my rooms, a page of history.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let asked = if bench.options.quick { 40 } else { 65_000 };
    let rounds = if bench.options.quick { 1 } else { ROUNDS };
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let limit = if bench.options.reference { Some(Target::start_limit().await?) } else { None };
    let mut http = Http::new(&target.addr);
    let account = target.account(&mut http, "reader").await?;
    let token = &account.token;
    let mut rooms = Vec::with_capacity(ROOMS);
    for index in 0..ROOMS {
        rooms.push(target.room(&mut http, token, &index.to_string()).await?);
    }
    for _ in 0..MESSAGES {
        load::post(&mut http, &rooms[0], token, &load::said_now(bench.options.size)).await?;
    }
    load::settle(target.process).await?;

    let history = format!("/api/rooms/{}/messages", rooms[0]);
    let count = asked / rounds;
    let mut me = Question::new("me_cpu_seconds_per_thousand", "GET /api/auth/me", "/api/auth/me", count);
    me.goal = Some((0.03, "me_of_limit", "GET /api/auth/me, as a multiple of the bare responder's CPU seconds"));
    let mut list = Question::new("rooms_cpu_seconds_per_thousand", "GET /api/rooms, 10 rooms", "/api/rooms", count);
    list.goal = Some((0.08, "rooms_of_limit", "GET /api/rooms, the same"));
    let title = "GET /api/rooms/{id}/messages, 50 messages";
    let page = Question::new("history_cpu_seconds_per_thousand", title, &history, count / 4);
    let mut ours = [me, list, page];
    let mut bare = Question::new("limit_cpu_seconds_per_thousand", "a bare responder", "/", count);
    for _ in 0..rounds {
        for question in &mut ours {
            question.ask(&target, token).await?;
        }
        if let Some(limit) = &limit {
            bare.ask(limit, token).await?;
        }
    }

    let title = format!("{asked} requests of each kind over {CLIENTS} connections");
    let mut out = Outcome::new("rest", title, &[("requests", asked as u64), ("rounds", rounds as u64)]);
    ours.iter().for_each(|question| question.tell(&mut out, limit.is_none()));
    let count = asked / 20;
    let stretch = Stretch::begin(target.process)?;
    for n in 0..count {
        let path = format!("/api/rooms/{}/messages", rooms[n % ROOMS]);
        http.must("POST", &path, token, Some(&json!({"content": "x"}))).await?;
    }
    if let Some(cpu) = stretch.end()?.cpu {
        let title = "POST /api/rooms/{id}/messages, one at a time: CPU seconds a thousand";
        out.figure("post_cpu_seconds_per_thousand", title, cpu / count as f64 * 1e3, "s");
    }
    bare.tell(&mut out, false);
    for question in &ours {
        let ratio = multiple(question.costs.iter().copied(), bare.costs.iter().copied());
        if let (Some(ratio), Some((most, name, title))) = (ratio, question.goal) {
            out.judged(name, title, ratio, "", Goal::AtMost(most / LIMIT_WHERE_SET));
        }
    }
    let told = ours.into_iter().chain(limit.map(|_| bare));
    told.for_each(|question| out.latency(question.title, question.times));
    Ok(out)
}
