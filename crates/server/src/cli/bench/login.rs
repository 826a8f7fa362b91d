//! Logins, and chat beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Bench, Fallible,
    check::Faults,
    http::Http,
    load::{self, Audience, Listener, say},
    report::{Goal, Outcome, Times},
    target::{Account, Settings, Target},
    usage::Stretch,
    watch::Watch,
    wire::Socket,
};

/// Logins at a time.
const LOGINS: usize = 50;
const RECEIVERS: usize = 20;
/// Messages a second in the chat beside.
const RATE: f64 = 100.0;

/// A chat at a fixed rate: how long its deliveries took, how many there were, and what was wrong.
async fn chat(target: &Target, account: &Account, name: &str, length: Duration) -> Fallible<(Times, u64, Faults)> {
    let room = target.room(&mut Http::new(&target.addr), &account.token, name).await?;
    let heard = Arc::new(AtomicU64::new(0));
    let audience = Audience::new(heard.clone(), true);
    let mut tasks = JoinSet::new();
    for _ in 0..RECEIVERS {
        let (listener, _) = Listener::open(&target.addr, &account.token, &room, None).await?;
        tasks.spawn(listener.stay(audience.clone()));
    }
    let mut sender = Socket::open(&target.addr, &account.token).await?;
    let mut every = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    let messages = ((length.as_secs_f64() * RATE) as u64).max(2);
    let mut said = 0;
    while said < messages {
        tokio::select! {
            _ = every.tick() => {
                said += 1;
                if said == messages {
                    audience.ends_with(said);
                }
                sender.say(&[say(&room, said, &load::said_now(32))]).await?;
            }
            read = sender.read(|_| {}) => read?,
        }
    }
    let there = load::leave(tasks, &audience).await?;
    let mut times = Times::new();
    there.iter().for_each(|listener| times.add(&listener.times));
    Ok((times, messages * RECEIVERS as u64, load::judge(&there, messages)))
}

/// Chat alone, then chat while many log in.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let (bcrypt_cost, at_once) = if bench.options.quick { (4, 4) } else { (12, LOGINS) };
    let length = bench.seconds(10.0, 0.5);
    let target = Target::get(&bench.options, Settings { bcrypt_cost }).await?;
    let account = target.account(&mut Http::new(&target.addr), "sender").await?;
    load::settle(target.process).await?;
    let (alone, first, mut faults) = chat(&target, &account, "alone", length).await?;

    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("login", "logins", stretch);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (addr, body, stop, done) = (target.addr.clone(), Target::login(&account), stop.clone(), watch.done.clone());
        tasks.spawn(async move {
            let (mut http, mut times) = (Http::new(&addr), Times::new());
            while !stop.is_cancelled() {
                let begun = std::time::Instant::now();
                http.must("POST", "/api/auth/login", "", Some(&body)).await?;
                times.note(begun.elapsed());
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(times)
        });
    }
    let (beside, second, wrong) = chat(&target, &account, "beside logins", length).await?;
    let logins = watch.done.load(Ordering::Relaxed);
    let cost = stretch.end()?;
    stop.cancel();
    let mut times = Times::new();
    while let Some(done) = tasks.join_next().await {
        times.add(&done.map_err(|e| format!("a client died: {e}"))??);
    }
    faults += wrong;

    let title = format!(
        "{RATE} messages a second to {RECEIVERS} receivers, then beside {at_once} logins at a time (bcrypt {bcrypt_cost})"
    );
    let mut out = Outcome::new("login", title, &[("logins", at_once as u64), ("bcrypt_cost", u64::from(bcrypt_cost))]);
    out.samples = watch.end().await;
    out.unit = "logins";
    (out.deliveries, out.faults) = (first + second, faults);
    out.figure("logins_per_second", "logins a second", logins as f64 / cost.seconds, "");
    if let Some(cpu) = cost.cpu {
        out.figure(
            "cpu_seconds_per_login",
            "CPU seconds for each login and the chat beside it",
            cpu / logins.max(1) as f64,
            "s",
        );
    }
    let (p99_alone, p99_beside) = (alone.ms(0.99), beside.ms(0.99));
    out.figure("p99_alone_ms", "chat alone: p99", p99_alone, "ms");
    out.figure("p99_beside_ms", "chat beside logins: p99", p99_beside, "ms");
    out.judged(
        "p99_ratio",
        "the second, as a multiple of the first",
        p99_beside / p99_alone.max(0.001),
        "",
        Goal::AtMost(2.0),
    );
    out.latency("chat alone: from being said to being heard", alone);
    out.latency("chat beside logins: the same", beside);
    out.latency("a login", times);
    Ok(out)
}
