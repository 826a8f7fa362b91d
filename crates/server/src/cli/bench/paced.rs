//! One room, many receivers, at a fixed rate.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::task::JoinSet;

use super::{
    Bench, Fallible, bare,
    check::Faults,
    fanout::{AT_ONCE, Hall, million},
    load::{self, Audience, Listener, say},
    nats,
    report::{Goal, Outcome},
    target::Target,
    times::{Times, median, multiple},
    usage::{Cost, Sample, Stretch},
    watch::Watch,
    wire::Socket,
};

/// A second of somebody else's work on the machine changes the highest times of a round: the median of so many counts.
const ROUNDS: usize = 9;

/// What a round gave.
struct Round {
    cost: Cost,
    delivered: u64,
    times: Times,
    samples: Vec<Sample>,
    faults: Faults,
    said: u64,
}

/// Says something at a fixed rate and measures until it is heard. `event` makes the frame of message `n`.
async fn pace(
    scenario: &'static str,
    target: &Target,
    mut sender: Socket,
    mut receivers: Vec<Listener>,
    pace_of: (f64, Duration),
    event: impl Fn(u64) -> String,
) -> Fallible<Round> {
    receivers.iter_mut().for_each(|receiver| receiver.times.prepare());
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin(scenario, "deliveries", stretch);
    let audience = Audience::new(watch.done.clone(), true);
    let mut tasks = JoinSet::new();
    receivers.into_iter().for_each(|receiver| drop(tasks.spawn(receiver.stay(audience.clone()))));
    let said = load::speak(&mut sender, &audience, pace_of, event).await?;
    let there = load::leave(tasks, &audience).await?;
    let cost = stretch.end()?;
    let mut times = Times::new();
    there.iter().for_each(|listener| times.add(&listener.times));
    let (delivered, faults) = (watch.done.load(Ordering::Relaxed), load::judge(&there, said));
    Ok(Round { cost, delivered, times, samples: watch.end().await, faults, said })
}

/// Rounds of one server.
#[derive(Default)]
struct Rounds {
    all: Vec<Round>,
    times: Times,
}

impl Rounds {
    fn add(&mut self, round: Round) {
        self.times.add(&round.times);
        self.all.push(round);
    }

    /// CPU seconds a million deliveries, of each round.
    fn costs(&self) -> impl Iterator<Item = f64> {
        self.all.iter().filter_map(|round| million(&round.cost, round.delivered))
    }

    /// CPU seconds a million deliveries.
    fn cpu(&self) -> Option<f64> {
        median(self.costs())
    }

    /// What it takes as a multiple of what another one took right after.
    fn cpu_of(&self, other: &Self) -> Option<f64> {
        multiple(self.costs(), other.costs())
    }

    /// Milliseconds below which this part of a round's times is, of each round.
    fn each_ms(&self, part: f64) -> impl Iterator<Item = f64> {
        self.all.iter().map(move |round| round.times.ms(part))
    }

    /// Milliseconds below which this part of the times is.
    fn ms(&self, part: f64) -> Option<f64> {
        median(self.each_ms(part))
    }
}

/// At a fixed rate, so that nothing can be gathered.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let (count, size) = (bench.connections(500, 10), bench.options.size);
    let rate = bench.options.rate.unwrap_or(20.0);
    let rounds = if bench.options.quick { 1 } else { ROUNDS };
    let pace_of = (rate, bench.seconds(45.0, 0.5) / rounds as u32);
    let (mut ours, mut bare, mut nats) = (Rounds::default(), Rounds::default(), Rounds::default());
    // By turns, so that all have the same hour.
    for _ in 0..rounds {
        ours.add(mesh(bench, count, size, pace_of).await?);
        if bench.options.reference {
            bare.add(limit(count, size, pace_of).await?);
        }
        if let Some(program) = &bench.options.nats {
            let target = Target::start_nats(program).await?;
            let (sender, receivers) = nats::hall(&target, count, AT_ONCE).await?;
            let event = |number| nats::event(number, size);
            nats.add(pace("fanout-paced: nats-server", &target, sender, receivers, pace_of, event).await?);
        }
    }

    let title = format!("{count} receivers in one room, {size} bytes of content, {rate} messages a second");
    let parameters =
        [("connections", count as u64), ("rate", rate as u64), ("size", size as u64), ("rounds", rounds as u64)];
    let mut out = Outcome::new("fanout-paced", title, &parameters);
    out.unit = "deliveries";
    for round in ours.all.iter_mut().chain(&mut nats.all) {
        out.deliveries += round.said * count as u64;
        out.faults += round.faults;
    }
    out.samples = ours.all.iter_mut().map(|round| std::mem::take(&mut round.samples)).next_back().unwrap_or_default();
    tell(&mut out, ours, bare, nats);
    Ok(out)
}

/// Puts the rounds' medians beside each other.
fn tell(out: &mut Outcome, mut ours: Rounds, bare: Rounds, nats: Rounds) {
    if let Some(cpu) = ours.cpu() {
        let (title, goal) = ("CPU seconds a million deliveries", Goal::AtMost(8.0));
        out.judged_alone(bare.all.is_empty(), "cpu_seconds_per_million", title, cpu, "s", goal);
    }
    out.figure("p50_ms", "from being said to being heard, p50", ours.ms(0.5).unwrap_or(0.0), "ms");
    out.figure("p99_ms", "the same, p99", ours.ms(0.99).unwrap_or(0.0), "ms");
    out.figure("p999_ms", "the same, p99.9", ours.ms(0.999).unwrap_or(0.0), "ms");
    out.latency("from being said to being heard", std::mem::take(&mut ours.times));
    if let Some(most) = bare.ms(0.99) {
        if let (Some(ratio), Some(least)) = (ours.cpu_of(&bare), bare.cpu()) {
            let title = "a bare broadcaster: CPU seconds a million deliveries";
            out.figure("limit_cpu_seconds_per_million", title, least, "s");
            // 8 beside 6.7, which it took where the goals were set: seconds are a machine's own.
            let title = "CPU seconds, as a multiple of the bare broadcaster's";
            out.judged("cpu_of_limit", title, ratio, "", Goal::AtMost(8.0 / 6.7));
        }
        out.figure("limit_p99_ms", "a bare broadcaster: p99", most, "ms");
        let title = "p99, as a multiple of the bare broadcaster's";
        let multiple = multiple(ours.each_ms(0.99), bare.each_ms(0.99)).unwrap_or(0.0);
        out.judged("p99_of_limit", title, multiple, "", Goal::AtMost(1.3));
        out.latency("a bare broadcaster: from being said to being heard", bare.times);
    }
    if let Some(most) = nats.ms(0.99) {
        if let (Some(ratio), Some(theirs)) = (ours.cpu_of(&nats), nats.cpu()) {
            let title = "nats-server: CPU seconds a million deliveries";
            out.figure("nats_cpu_seconds_per_million", title, theirs, "s");
            out.figure("cpu_of_nats", "CPU seconds, as a multiple of nats-server's", ratio, "");
        }
        out.figure("nats_p99_ms", "nats-server: p99", most, "ms");
    }
}

/// A round with Mesh, in a room of its own.
async fn mesh(bench: &Bench, count: usize, size: usize, pace_of: (f64, Duration)) -> Fallible<Round> {
    let Hall { target, room, sender, receivers } = Hall::open(bench, count).await?;
    let event = |number| say(&room, number, &load::said_now(size));
    pace("fanout-paced", &target, sender, receivers, pace_of, event).await
}

/// The same with the bare broadcaster.
async fn limit(count: usize, size: usize, pace_of: (f64, Duration)) -> Fallible<Round> {
    let (target, sender, receivers) = bare::hall(count, AT_ONCE).await?;
    let event = |seq| bare::event(seq, size);
    pace("fanout-paced: a bare broadcaster", &target, sender, receivers, pace_of, event).await
}
