//! A start on a database that is there: how long it takes, and what an idle server needs.

use super::{
    Bench, Fallible, load,
    report::{Goal, Outcome},
    target::{Settings, Target},
    times::Times,
};

/// Starts several times and takes the one in the middle.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    if bench.options.addr.is_some() {
        return Err("start: only a server of the bench's own can be started; leave --url out".to_owned());
    }
    let count = if bench.options.quick { 1 } else { 15 };
    let first = Target::get(&bench.options, Settings::CHEAP).await?;
    let mut folder = first.kill().ok_or("the server is not the bench's own")?;
    let (mut took, mut times) = (Vec::with_capacity(count), Times::new());
    let mut resident = 0.0;
    for _ in 0..count {
        let (target, time) = Target::start(folder, Settings::CHEAP).await?;
        took.push(time);
        times.note(time);
        load::settle(target.process).await?;
        resident = target.process.map(|process| process.usage()).transpose()?.map_or(0.0, |usage| usage.resident_kib);
        folder = target.kill().ok_or("the server is not the bench's own")?;
    }
    let _ = std::fs::remove_dir_all(&folder);
    took.sort_unstable();
    let middle = took.get(count / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let exe = std::env::current_exe().and_then(std::fs::metadata).map_err(|e| format!("this executable: {e}"))?;

    let mut out = Outcome::new("start", format!("{count} starts on an existing database"), &[("starts", count as u64)]);
    out.judged("cold_start_ms", "from the start to the first 200, the median", middle, "ms", Goal::AtMost(25.0));
    out.judged("idle_mib", "memory of an idle server", resident / 1024.0, "MiB", Goal::AtMost(14.0));
    out.judged("binary_mb", "the executable", exe.len() as f64 / 1e6, "MB", Goal::AtMost(25.0));
    out.latency("from the start to the first 200", times);
    Ok(out)
}
