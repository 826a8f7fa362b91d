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
    times::Times,
    usage::Stretch,
    watch::Watch,
};

const ROOMS: usize = 10;
/// Messages in the room whose history is read.
const MESSAGES: usize = 50;
/// Connections that ask side by side.
const CLIENTS: usize = 4;

/// Asks for the same again and again, and adds what it cost: CPU seconds a thousand.
async fn ask(
    out: &mut Outcome,
    target: &Target,
    token: &Arc<str>,
    what: &Question<'_>,
    count: usize,
) -> Fallible<Option<f64>> {
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("rest", "requests", stretch);
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let (addr, token, path) = (target.addr.clone(), token.clone(), what.path.clone());
        let done = watch.done.clone();
        tasks.spawn(async move {
            let (mut http, mut times) = (Http::new(&addr), Times::new());
            for _ in 0..count.div_ceil(CLIENTS) {
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
    let thousand = cost.cpu.map(|cpu| cpu / times.count() as f64 * 1e3);
    if let Some(thousand) = thousand {
        let title = format!("{}: CPU seconds a thousand", what.title);
        match what.most {
            Some(most) => out.judged(what.name, title, thousand, "s", Goal::AtMost(most)),
            None => out.figure(what.name, title, thousand, "s"),
        }
    }
    out.latency(what.title, times);
    Ok(thousand)
}

struct Question<'a> {
    name: &'static str,
    title: &'a str,
    path: String,
    most: Option<f64>,
}

/// Who am I, my rooms, a page of history.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let asked = if bench.options.quick { 40 } else { 40_000 };
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
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
    let title = format!("{asked} requests of each kind over {CLIENTS} connections");
    let mut out = Outcome::new("rest", title, &[("requests", asked as u64)]);
    let questions = [
        ("me_cpu_seconds_per_thousand", "GET /api/auth/me", "/api/auth/me".to_owned(), Some(0.03), asked),
        ("rooms_cpu_seconds_per_thousand", "GET /api/rooms, 10 rooms", "/api/rooms".to_owned(), Some(0.08), asked),
        (
            "history_cpu_seconds_per_thousand",
            "GET /api/rooms/{id}/messages, 50 messages",
            format!("/api/rooms/{}/messages", rooms[0]),
            None,
            asked / 4,
        ),
    ];
    let mut costs = Vec::with_capacity(questions.len());
    for (name, title, path, most, count) in questions {
        costs.push(ask(&mut out, &target, token, &Question { name, title, path, most }, count).await?);
    }
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
    drop(target);
    if bench.options.reference {
        let target = Target::start_limit().await?;
        let (title, path) = ("a bare responder", "/".to_owned());
        let question = Question { name: "limit_cpu_seconds_per_thousand", title, path, most: None };
        let least = ask(&mut out, &target, token, &question, asked).await?;
        if let (Some(least), Some(Some(me))) = (least, costs.first()) {
            let title = "GET /api/auth/me, as a multiple of the bare responder's CPU seconds";
            out.figure("me_of_limit", title, me / least.max(1e-6), "");
        }
    }
    Ok(out)
}
