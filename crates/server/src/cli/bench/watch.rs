//! How a run goes: shown on the standard error stream while it lasts, kept for the plots.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    report::number,
    usage::{Sample, Stretch},
};

const EVERY: Duration = Duration::from_millis(250);
/// Where nobody looks at a terminal, a line in so many samples.
const LINE_EVERY: usize = 20;

/// A stretch of work that is looked at.
pub(super) struct Watch {
    /// What was done so far; the scenario raises it.
    pub(super) done: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: JoinSet<Vec<Sample>>,
}

impl Watch {
    /// Begins; `unit` is what is counted.
    pub(super) fn begin(scenario: &'static str, unit: &'static str, stretch: Stretch) -> Self {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(look(scenario, unit, stretch, done.clone(), stop.clone()));
        Self { done, stop, tasks }
    }

    /// Ends; what was seen.
    pub(super) async fn end(mut self) -> Vec<Sample> {
        self.stop.cancel();
        self.tasks.join_next().await.and_then(Result::ok).unwrap_or_default()
    }
}

async fn look(
    scenario: &'static str,
    unit: &'static str,
    stretch: Stretch,
    done: Arc<AtomicU64>,
    stop: CancellationToken,
) -> Vec<Sample> {
    let terminal = std::io::stderr().is_terminal();
    let mut samples: Vec<Sample> = Vec::new();
    let mut every = tokio::time::interval(EVERY);
    loop {
        let more = tokio::select! {
            _ = every.tick() => true,
            () = stop.cancelled() => false,
        };
        let count = done.load(Ordering::Relaxed);
        let seconds = stretch.begun().elapsed().as_secs_f64();
        let mut line = format!("{scenario}  {seconds:5.1} s  {} {unit}", number(count as f64));
        if let Some(sample) = stretch.sample(count) {
            if let Some(last) = samples.last() {
                let rate = (sample.done - last.done) as f64 / (sample.at - last.at).max(0.001);
                let cpu = (sample.cpu - last.cpu) / (sample.at - last.at).max(0.001) * 100.0;
                let mib = sample.resident_kib / 1024.0;
                line.push_str(&format!("  {}/s  server: {cpu:.0} % CPU, {} MiB", number(rate), number(mib)));
            }
            samples.push(sample);
        }
        let mut err = std::io::stderr();
        if terminal {
            let _ = write!(err, "\r\x1b[K{line}{}", if more { "" } else { "\n" });
            let _ = err.flush();
        } else if !more || samples.len() % LINE_EVERY == LINE_EVERY - 1 {
            let _ = writeln!(err, "{line}");
        }
        if !more {
            return samples;
        }
    }
}
