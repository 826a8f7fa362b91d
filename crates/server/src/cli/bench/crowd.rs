//! Many connections: all back at once, all into one room.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Bench, Fallible,
    http::Http,
    load::{self, Houses, Listener},
    report::{Goal, Outcome},
    target::{Settings, Target},
    times::Times,
    usage::Stretch,
    watch::Watch,
};

/// Accounts, and rooms, among which connections are spread.
pub(super) const HOUSES: usize = 50;
/// Connections that are opened side by side.
pub(super) const AT_ONCE: usize = 64;

/// Opens connections that listen in their rooms; each with its number.
pub(super) async fn settle_in(
    target: &Target,
    houses: &Arc<Houses>,
    count: usize,
    watch: &Watch,
) -> Fallible<Vec<(usize, Listener)>> {
    let (addr, houses) = (target.addr.clone(), houses.clone());
    let opened = load::many(count, AT_ONCE, &watch.done, move |index| {
        let (addr, houses) = (addr.clone(), houses.clone());
        async move {
            let (token, room) = houses.of(index);
            Ok((index, Listener::open(&addr, token, room, None).await?.0))
        }
    });
    opened.await
}

/// All connections drop and resume at once, each some messages behind.
pub(super) async fn storm(bench: &Bench) -> Fallible<Outcome> {
    let (count, behind) =
        (bench.connections(5_000, 20), bench.options.behind.unwrap_or(if bench.options.quick { 3 } else { 20 }));
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let houses = Houses::new(&target, HOUSES.min(count)).await?;
    let before = Stretch::begin(target.process)?;
    let opening = Watch::begin("storm: opening", "connections", before);
    let there = settle_in(&target, &houses, count, &opening).await?;
    opening.end().await;
    let seen: Vec<u64> = vec![0; houses.rooms.len()];
    drop(there);
    let mut lasts = seen.clone();
    for n in 0..behind {
        lasts = houses.say_once(&target.addr, &format!("message {n} that nobody was there to hear")).await?;
    }
    load::settle(target.process).await?;

    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("storm", "connections", stretch);
    let (addr, back, until) = (target.addr.clone(), houses.clone(), lasts.clone());
    let begun = stretch.begun();
    // Nobody waits for anybody.
    let all_back = load::many(count, count, &watch.done, move |index| {
        let (addr, houses, last) = (addr.clone(), back.clone(), until[index % until.len()]);
        async move {
            let (token, room) = houses.of(index);
            let (mut listener, _) = Listener::open(&addr, token, room, Some(0)).await?;
            let late = tokio::time::timeout(load::PATIENCE, listener.until(last)).await;
            late.map_err(|_| format!("a connection waited {} s for its replay", load::PATIENCE.as_secs()))??;
            Ok((index, listener, begun.elapsed()))
        }
    });
    let all_back = all_back.await?;
    let cost = stretch.end()?;
    let mut times = Times::new();
    all_back.iter().for_each(|(.., took)| times.note(*took));
    let there = all_back.into_iter().map(|(index, listener, _)| (index, listener)).collect();
    // They are live: what is said now is heard.
    let lasts = houses.say_once(&target.addr, "welcome back").await?;
    let (_, faults) = Houses::hear_all(there, &lasts).await?;

    let title = format!("{count} connections resume at once, each {behind} messages behind");
    let mut out = Outcome::new("storm", title, &[("connections", count as u64), ("behind", behind)]);
    out.samples = watch.end().await;
    out.unit = "connections";
    (out.deliveries, out.faults) = (count as u64 * (behind + 1), faults);
    out.judged("seconds", "until all are live and complete", times.max_ms() / 1e3, "s", Goal::AtMost(3.0));
    if let Some(cpu) = cost.cpu {
        out.figure("cpu_seconds_per_thousand", "CPU seconds a thousand connections", cpu / count as f64 * 1e3, "s");
    }
    out.latency("until one is live and complete", times);
    Ok(out)
}

/// Members of one room, each with an account of their own, come one after the other.
pub(super) async fn join(bench: &Bench) -> Fallible<Outcome> {
    let count = bench.connections(5_000, 20);
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let mut http = Http::new(&target.addr);
    let owner = target.account(&mut http, "owner").await?;
    let room = target.room(&mut http, &owner.token, "large").await?;
    let preparing = Watch::begin("join: making members", "accounts", Stretch::begin(target.process)?);
    let target = Arc::new(target);
    let (making, into) = (target.clone(), room.clone());
    let tokens = load::many(count, 8, &preparing.done, move |index| {
        let (target, room) = (making.clone(), into.clone());
        async move {
            let mut http = Http::new(&target.addr);
            let account = target.account(&mut http, &index.to_string()).await?;
            http.must("POST", &format!("/api/rooms/{room}/join"), &account.token, None).await?;
            Ok(account.token)
        }
    });
    let tokens = Arc::new(tokens.await?);
    preparing.end().await;
    load::settle(target.process).await?;

    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("join", "connections", stretch);
    let (addr, into) = (target.addr.clone(), room.clone());
    let opened = load::many(count, AT_ONCE, &watch.done, move |index| {
        let (addr, room, tokens) = (addr.clone(), into.clone(), tokens.clone());
        async move {
            let (listener, _) = Listener::open(&addr, &tokens[index], &room, None).await?;
            Ok((listener.socket.bytes, listener))
        }
    });
    let opened = opened.await?;
    let seconds = stretch.begun().elapsed().as_secs_f64();
    load::settle(target.process).await?;
    let cost = stretch.end()?;
    let at_join: u64 = opened.iter().map(|(bytes, _)| bytes).sum();
    let there: Vec<_> = opened.into_iter().map(|(_, listener)| listener).collect();
    let last = load::post(&mut http, &room, &owner.token, "is everybody there?").await?;
    let mut tasks = JoinSet::new();
    for mut listener in there {
        tasks.spawn(async move {
            let in_time = tokio::time::timeout(load::PATIENCE, listener.until(last)).await;
            in_time.unwrap_or(Ok(0)).map(|_| listener)
        });
    }
    let mut there = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        there.push(done.map_err(|e| format!("a listener died: {e}"))??);
    }
    let bytes: u64 = there.iter().map(|listener| listener.socket.bytes).sum();

    let mut out = Outcome::new("join", format!("{count} members join one room"), &[("connections", count as u64)]);
    out.samples = watch.end().await;
    out.unit = "connections";
    (out.deliveries, out.faults) = (count as u64, load::judge(&there, last));
    let each = |bytes: u64| bytes as f64 / count as f64 / 1024.0;
    out.figure("kib_per_join", "KiB that one gets by joining", each(at_join), "KiB");
    out.figure("kib_in_all", "KiB that one gets until all have joined", each(bytes), "KiB");
    out.figure("joined_per_second", "joins a second", count as f64 / seconds, "");
    if let Some(cpu) = cost.cpu {
        out.figure("cpu_seconds_per_thousand", "CPU seconds a thousand joins", cpu / count as f64 * 1e3, "s");
    }
    if let Some((before, after)) = cost.resident_kib {
        out.figure("kib_per_connection", "KiB of the server's memory for each", (after - before) / count as f64, "KiB");
    }
    Ok(out)
}
