//! Acknowledged, durable sends: some senders, a room each, a window of what is not acknowledged yet.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio::task::JoinSet;

use super::{
    Bench, Fallible,
    check::{Faults, Follow},
    http::Http,
    load::{self, say},
    report::{Goal, Outcome},
    target::{Settings, Target},
    times::Times,
    usage::Stretch,
    watch::Watch,
    wire::{Reader, Socket},
};

/// Senders as fast as their windows allow.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let (count, window, size) = (bench.connections(16, 4), bench.window(32, 4), bench.options.size);
    let length = bench.seconds(10.0, 0.5);
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let mut http = Http::new(&target.addr);
    let owner = target.account(&mut http, "owner").await?;
    let mut senders: Vec<(Socket, Arc<str>)> = Vec::with_capacity(count);
    for index in 0..count {
        let room = target.room(&mut http, &owner.token, &index.to_string()).await?;
        let mut socket = Socket::open(&target.addr, &owner.token).await?;
        socket.join(&room, None, |_| {}).await?;
        senders.push((socket, room));
    }
    load::settle(target.process).await?;
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("send", "sends", stretch);
    let begun = stretch.begun();
    let mut tasks = JoinSet::new();
    for (mut socket, room) in senders {
        let acknowledged = watch.done.clone();
        tasks.spawn(async move {
            let (mut follow, mut reader, mut times) = (Follow::after(0), Reader::default(), Times::new());
            let (mut sent, mut more) = (0_u64, window);
            let mut under_way = VecDeque::new();
            while more > 0 || follow.position() < sent {
                let texts: Vec<_> = (0..more).map(|n| say(&room, sent + n, &load::said_now(size))).collect();
                if !texts.is_empty() {
                    socket.say(&texts).await?;
                    sent += more;
                    under_way.extend(std::iter::repeat_n(Instant::now(), texts.len()));
                }
                let mut heard = 0;
                let reading = socket.read(|frame| {
                    if let Some((_, seq)) = reader.change(frame) {
                        follow.hear(seq);
                        heard += 1;
                        if let Some(said) = under_way.pop_front() {
                            times.note(said.elapsed());
                        }
                    }
                });
                if tokio::time::timeout(load::PATIENCE, reading).await.map(|read| read.err()) != Ok(None) {
                    // What is not acknowledged by now is lost.
                    break;
                }
                acknowledged.fetch_add(heard, Ordering::Relaxed);
                more = if begun.elapsed() < length { heard } else { 0 };
            }
            Ok::<_, String>((sent, follow.finish(sent), times))
        });
    }
    let (mut sent, mut faults, mut times) = (0, Faults::default(), Times::new());
    while let Some(done) = tasks.join_next().await {
        let (one, wrong, took) = done.map_err(|e| format!("a sender died: {e}"))??;
        sent += one;
        faults += wrong;
        times.add(&took);
    }
    let cost = stretch.end()?;
    let acknowledged = watch.done.load(Ordering::Relaxed) as f64;

    let title = format!("{count} senders in {count} rooms, {size} bytes of content, windows of {window}");
    let parameters = [("connections", count as u64), ("window", window), ("size", size as u64)];
    let mut out = Outcome::new("send", title, &parameters);
    out.samples = watch.end().await;
    out.unit = "sends";
    (out.deliveries, out.faults) = (sent, faults);
    let rate = acknowledged / cost.seconds;
    out.judged("acknowledged_per_second", "acknowledged sends a second", rate, "", Goal::AtLeast(22_000.0));
    if let Some(cpu) = cost.cpu {
        let million = cpu / acknowledged * 1e6;
        out.judged("cpu_seconds_per_million", "CPU seconds a million sends", million, "s", Goal::AtMost(45.0));
    }
    out.latency("from the send to its acknowledgement", times);
    Ok(out)
}
