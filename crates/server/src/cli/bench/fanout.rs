//! One room, many receivers: as fast as a window of own echoes allows.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    Bench, Fallible, bare,
    check::Faults,
    http::Http,
    load::{self, Audience, Listener, say},
    nats,
    report::{Goal, Outcome},
    target::{Settings, Target},
    times::Times,
    usage::{Cost, Sample, Stretch},
    watch::Watch,
    wire::{Reader, Socket},
};

/// Receivers that are opened side by side.
pub(super) const AT_ONCE: usize = 32;
/// One account for so many receivers.
const SHARE: usize = 10;

/// A room with its receivers, and who speaks in it.
pub(super) struct Hall {
    pub(super) target: Target,
    pub(super) room: Arc<str>,
    pub(super) sender: Socket,
    pub(super) receivers: Vec<Listener>,
}

impl Hall {
    /// Opens the receivers' connections and the sender's.
    ///
    /// # Errors
    /// Where the server refuses, or one of them breaks.
    pub(super) async fn open(bench: &Bench, count: usize) -> Fallible<Self> {
        let compressed = bench.options.compressed;
        let target = Target::get(&bench.options, Settings { compressed, ..Settings::CHEAP }).await?;
        let accounts = target.accounts(count.div_ceil(SHARE) + 1).await?;
        let mut http = Http::new(&target.addr);
        let room = target.room(&mut http, &accounts[0].token, "hall").await?;
        let (addr, into) = (target.addr.clone(), room.clone());
        let tokens: Vec<_> = accounts.iter().skip(1).map(|account| account.token.clone()).collect();
        let done = Arc::default();
        let opened = load::many(count, AT_ONCE, &done, move |index| {
            let (addr, room, token) = (addr.clone(), into.clone(), tokens[index / SHARE].clone());
            async move { Ok(Listener::open_as(&addr, &token, &room, None, compressed).await?.0) }
        });
        let receivers = opened.await?;
        let mut sender = Socket::open(&target.addr, &accounts[0].token).await?;
        sender.join(&room, None, |_| {}).await?;
        load::settle(target.process).await?;
        Ok(Self { target, room, sender, receivers })
    }
}

/// What a run at full speed gave.
struct Filled {
    cost: Cost,
    delivered: u64,
    /// Bytes that the receivers have read.
    bytes: u64,
    sent: u64,
    echoes: Times,
    samples: Vec<Sample>,
    faults: Faults,
}

impl Filled {
    fn rate(&self) -> f64 {
        self.delivered as f64 / self.cost.seconds
    }
}

/// CPU seconds a million deliveries.
pub(super) fn million(cost: &Cost, delivered: u64) -> Option<f64> {
    cost.cpu.map(|cpu| cpu / delivered.max(1) as f64 * 1e6)
}

/// Says things as fast as a window of own echoes allows. `event` makes the one of number `n`, from 1 on.
async fn fill(
    scenario: &'static str,
    target: &Target,
    mut sender: Socket,
    receivers: Vec<Listener>,
    (window, length): (u64, Duration),
    event: impl Fn(u64) -> String,
) -> Fallible<Filled> {
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin(scenario, "deliveries", stretch);
    let audience = Audience::new(watch.done.clone(), false);
    let mut tasks = JoinSet::new();
    let before: u64 = receivers.iter().map(|receiver| receiver.socket.bytes).sum();
    receivers.into_iter().for_each(|receiver| drop(tasks.spawn(receiver.stay(audience.clone()))));

    let (mut sent, mut echoed) = (0_u64, 0_u64);
    let (mut under_way, mut echoes) = (VecDeque::new(), Times::new());
    let mut reader = Reader::default();
    let mut more = window;
    // The last echo ends it: nothing is under way then.
    while more > 0 || echoed < sent {
        let texts: Vec<String> = (1..=more).map(|n| event(sent + n)).collect();
        if !texts.is_empty() {
            sender.say(&texts).await?;
            sent += more;
            under_way.extend(std::iter::repeat_n(Instant::now(), texts.len()));
        }
        let before = echoed;
        sender
            .read(|frame| {
                if reader.change(frame).is_some() {
                    echoed += 1;
                    if let Some(said) = under_way.pop_front() {
                        echoes.note(said.elapsed());
                    }
                }
            })
            .await?;
        more = if stretch.begun().elapsed() < length { echoed - before } else { 0 };
    }
    let cost = stretch.end()?;
    let delivered = watch.done.load(Ordering::Relaxed);
    // One more, and whoever has it has all.
    sent += 1;
    audience.ends_with(sent);
    sender.say(&[event(sent)]).await?;
    let there = load::leave(tasks, &audience).await?;
    let faults = load::judge(&there, sent);
    let bytes = there.iter().map(|listener| listener.socket.bytes).sum::<u64>() - before;
    Ok(Filled { cost, delivered, bytes, sent, echoes, samples: watch.end().await, faults })
}

/// As fast as a window of own echoes allows.
pub(super) async fn saturated(bench: &Bench) -> Fallible<Outcome> {
    let (count, window, size) = (bench.connections(500, 10), bench.window(64, 8), bench.options.size);
    let load = (window, bench.seconds(10.0, 0.5));
    let Hall { target, room, sender, receivers } = Hall::open(bench, count).await?;
    let event = |number| say(&room, number, &load::said_now(size));
    let run = fill("fanout", &target, sender, receivers, load, event).await?;
    drop(target);

    let title = format!("{count} receivers in one room, {size} bytes of content, a window of {window} sends");
    let parameters = [("connections", count as u64), ("window", window), ("size", size as u64)];
    let mut out = Outcome::new("fanout", title, &parameters);
    let (rate, cpu) = (run.rate(), million(&run.cost, run.delivered));
    out.samples = run.samples;
    out.unit = "deliveries";
    out.deliveries = run.sent * count as u64;
    out.faults = run.faults;
    out.judged("deliveries_per_second", "deliveries a second", rate, "", Goal::AtLeast(1.7e6));
    if let Some(cpu) = cpu {
        let (title, goal) = ("CPU seconds a million deliveries", Goal::AtMost(0.4));
        let alone = bench.options.nats.is_none() && !bench.options.reference;
        out.judged_alone(alone, "cpu_seconds_per_million", title, cpu, "s", goal);
    }
    out.figure("sent_per_second", "messages a second", run.sent as f64 / run.cost.seconds, "");
    let each = run.bytes as f64 / (run.sent * count as u64) as f64;
    out.figure("bytes_per_delivery", "bytes of a delivery, its frame's head included", each, "");
    out.latency("from the send to its own echo", run.echoes);
    if bench.options.reference {
        let (target, sender, receivers) = bare::hall(count, AT_ONCE).await?;
        let event = |number| bare::event(number, size);
        let theirs = fill("fanout: a bare broadcaster", &target, sender, receivers, load, event).await?;
        // 0.4 beside 0.16, which it took where the goals were set: seconds are a machine's own.
        BARE.tell(&mut out, cpu, &theirs, 0.4 / 0.16, count);
    }
    if let Some(program) = &bench.options.nats {
        let target = Target::start_nats(program).await?;
        let (sender, receivers) = nats::hall(&target, count, AT_ONCE).await?;
        let event = |number| nats::event(number, size);
        let theirs = fill("fanout: nats-server", &target, sender, receivers, load, event).await?;
        NATS.tell(&mut out, cpu, &theirs, 0.5, count);
    }
    Ok(out)
}

/// How the figures of another server are called, each with its title.
struct Beside {
    rate: (&'static str, &'static str),
    cpu: (&'static str, &'static str),
    ratio: (&'static str, &'static str),
}

const BARE: Beside = Beside {
    rate: ("limit_deliveries_per_second", "a bare broadcaster: deliveries a second"),
    cpu: ("limit_cpu_seconds_per_million", "a bare broadcaster: CPU seconds a million deliveries"),
    ratio: ("cpu_of_limit", "CPU seconds, as a multiple of the bare broadcaster's"),
};

const NATS: Beside = Beside {
    rate: ("nats_deliveries_per_second", "nats-server: deliveries a second"),
    cpu: ("nats_cpu_seconds_per_million", "nats-server: CPU seconds a million deliveries"),
    ratio: ("cpu_of_nats", "CPU seconds, as a multiple of nats-server's"),
};

impl Beside {
    /// Puts another server's run beside ours, which took `cpu` seconds a million and may take `most` times as many.
    fn tell(&self, out: &mut Outcome, cpu: Option<f64>, theirs: &Filled, most: f64, count: usize) {
        out.deliveries += theirs.sent * count as u64;
        out.faults += theirs.faults;
        out.figure(self.rate.0, self.rate.1, theirs.rate(), "");
        if let (Some(cpu), Some(their_cpu)) = (cpu, million(&theirs.cost, theirs.delivered)) {
            out.figure(self.cpu.0, self.cpu.1, their_cpu, "s");
            out.judged(self.ratio.0, self.ratio.1, cpu / their_cpu.max(0.001), "", Goal::AtMost(most));
        }
    }
}
