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
    report::{Goal, Outcome},
    target::{Account, Settings, Target},
    times::{Times, median, multiple},
    usage::Stretch,
    watch::Watch,
    wire::Socket,
};

/// Logins at a time.
const LOGINS: usize = 50;
const RECEIVERS: usize = 20;
/// A round's p99 is its five slowest messages, which are anybody's: the median of so many rounds counts.
const ROUNDS: u32 = 7;
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
    let event = |number| say(&room, number, &load::said_now(32));
    let said = load::speak(&mut sender, &audience, (RATE, length), event).await?;
    let there = load::leave(tasks, &audience).await?;
    let mut times = Times::new();
    there.iter().for_each(|listener| times.add(&listener.times));
    Ok((times, said * RECEIVERS as u64, load::judge(&there, said)))
}

/// Many log in, again and again, while others chat.
struct Crowd {
    stop: CancellationToken,
    tasks: JoinSet<Fallible<Times>>,
}

impl Crowd {
    fn begin(target: &Target, account: &Account, at_once: usize, done: &Arc<AtomicU64>) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..at_once {
            let (addr, body, stop, done) = (target.addr.clone(), Target::login(account), stop.clone(), done.clone());
            tasks.spawn(async move {
                let (mut http, mut times) = (Http::new(&addr), Times::new());
                while !stop.is_cancelled() {
                    let begun = std::time::Instant::now();
                    http.must("POST", "/api/auth/login", "", Some(&body)).await?;
                    times.note(begun.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(times)
            });
        }
        Self { stop, tasks }
    }

    /// All go, without the login that they wait for.
    async fn leave(mut self) {
        self.tasks.shutdown().await;
    }

    /// Each gets the login that it waits for; how long each took.
    async fn end(mut self) -> Fallible<Times> {
        self.stop.cancel();
        let mut times = Times::new();
        while let Some(done) = self.tasks.join_next().await {
            times.add(&done.map_err(|e| format!("a client died: {e}"))??);
        }
        Ok(times)
    }
}

/// Chats of one kind: all times, and the p99 of each round.
#[derive(Default)]
struct Chats {
    times: Times,
    p99: Vec<f64>,
}

impl Chats {
    fn add(&mut self, times: &Times) {
        self.times.add(times);
        self.p99.push(times.ms(0.99));
    }

    fn p99(&self) -> Option<f64> {
        median(self.p99.iter().copied())
    }
}

/// Chat alone, and chat while many log in, by turns.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let (bcrypt_cost, at_once, rounds) = if bench.options.quick { (4, 4, 1) } else { (12, LOGINS, ROUNDS) };
    let length = bench.seconds(35.0, 0.5) / rounds;
    let target = Target::get(&bench.options, Settings { bcrypt_cost, ..Settings::CHEAP }).await?;
    let account = target.account(&mut Http::new(&target.addr), "sender").await?;
    let (mut alone, mut beside, mut logins) = (Chats::default(), Chats::default(), Times::new());
    let (mut deliveries, mut faults, mut samples) = (0, Faults::default(), Vec::new());
    let (mut at_work, mut seconds, mut cpu) = (0, 0.0, None);
    for round in 1..=rounds {
        load::settle(target.process).await?;
        let (times, heard, wrong) = chat(&target, &account, "alone", length).await?;
        alone.add(&times);
        deliveries += heard;
        faults += wrong;

        let stretch = Stretch::begin(target.process)?;
        let watch = Watch::begin("login", "logins", stretch);
        let crowd = Crowd::begin(&target, &account, at_once, &watch.done);
        let (times, heard, wrong) = chat(&target, &account, "beside logins", length).await?;
        at_work += watch.done.load(Ordering::Relaxed);
        let cost = stretch.end()?;
        seconds += cost.seconds;
        cpu = cost.cpu.map(|more| cpu.unwrap_or(0.0) + more);
        beside.add(&times);
        deliveries += heard;
        faults += wrong;
        if round == rounds {
            logins = crowd.end().await?;
        } else {
            crowd.leave().await;
        }
        samples = watch.end().await;
    }

    let title = format!(
        "{RATE} messages a second to {RECEIVERS} receivers, by turns alone and beside {at_once} logins at a time (bcrypt {bcrypt_cost})"
    );
    let parameters =
        [("logins", at_once as u64), ("bcrypt_cost", u64::from(bcrypt_cost)), ("rounds", u64::from(rounds))];
    let mut out = Outcome::new("login", title, &parameters);
    (out.samples, out.unit) = (samples, "logins");
    (out.deliveries, out.faults) = (deliveries, faults);
    out.figure("logins_per_second", "logins a second", at_work as f64 / seconds, "");
    if let Some(cpu) = cpu {
        let title = "CPU seconds for each login and the chat beside it";
        out.figure("cpu_seconds_per_login", title, cpu / at_work.max(1) as f64, "s");
    }
    out.figure("p99_alone_ms", "chat alone: p99", alone.p99().unwrap_or(0.0), "ms");
    out.figure("p99_beside_ms", "chat beside logins: p99", beside.p99().unwrap_or(0.0), "ms");
    let title = "the second, as a multiple of the first";
    let ratio = multiple(beside.p99.iter().copied(), alone.p99.iter().copied()).unwrap_or(0.0);
    out.judged("p99_ratio", title, ratio, "", Goal::AtMost(2.0));
    out.latency("chat alone: from being said to being heard", alone.times);
    out.latency("chat beside logins: the same", beside.times);
    out.latency("a login, in the last round", logins);
    Ok(out)
}
