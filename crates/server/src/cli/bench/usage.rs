//! What a process costs, as Linux tells it.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};

use super::Fallible;

/// A process that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Process {
    pid: u32,
}

/// What it has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU time of all its threads, user and system, in seconds: to the hundredth, as a rule.
    pub(super) cpu: f64,
    /// The same of those that live, where the kernel tells it.
    living: Option<Living>,
    /// Resident memory in KiB.
    pub(super) resident_kib: f64,
}

/// The threads of a process.
#[derive(Clone, Copy, Debug)]
struct Living {
    /// Which they are, as a hash of their numbers.
    which: u64,
    /// CPU time, in nanoseconds.
    nanos: u64,
}

impl Usage {
    /// CPU seconds from `before` until now: to the nanosecond where the same threads live.
    fn cpu_since(&self, before: &Self) -> f64 {
        match (before.living, self.living) {
            (Some(then), Some(now)) if then.which == now.which => now.nanos.saturating_sub(then.nanos) as f64 / 1e9,
            _ => self.cpu - before.cpu,
        }
    }
}

impl Process {
    /// The process with that number.
    ///
    /// # Errors
    /// Where it cannot be seen.
    pub(super) fn new(pid: u32) -> Fallible<Self> {
        let process = Self { pid };
        process.usage().map(|_| process)
    }

    /// What it has used so far.
    pub(super) fn usage(self) -> Fallible<Usage> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.pid);
            fs::read_to_string(&path).map_err(|e| format!("the server's figures cannot be read: {path}: {e}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let usage = parse(&stat, &status, rustix::param::clock_ticks_per_second())
            .ok_or_else(|| format!("/proc/{}: not as Linux writes it", self.pid))?;
        Ok(Usage { living: self.living(), ..usage })
    }

    /// Its threads and what they have used: the first number of `schedstat`, as Documentation/scheduler/sched-stats.rst has
    /// it. None where the kernel keeps no such account.
    fn living(self) -> Option<Living> {
        let mut threads = Vec::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).ok()? {
            let thread = thread.ok()?;
            let account = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            threads.push((thread.file_name(), account.split_whitespace().next()?.parse::<u64>().ok()?));
        }
        threads.sort();
        let (mut which, mut nanos) = (DefaultHasher::new(), 0);
        for (name, used) in threads {
            name.hash(&mut which);
            nanos += used;
        }
        (nanos > 0).then(|| Living { which: which.finish(), nanos })
    }
}

/// proc(5): the name in `stat` may hold anything, the fields after it are numbers; `utime` and `stime` are the 14th and 15th.
fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib = resident.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Usage { cpu: ticks as f64 / ticks_per_second as f64, living: None, resident_kib })
}

/// One point of a run.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Sample {
    /// Seconds since the beginning.
    pub(super) at: f64,
    /// What was done so far, in the scenario's own unit.
    pub(super) done: u64,
    /// CPU seconds used since the beginning.
    pub(super) cpu: f64,
    /// Resident memory in KiB.
    pub(super) resident_kib: f64,
}

/// What a stretch of work cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) seconds: f64,
    /// CPU seconds; none where the server's process is not known.
    pub(super) cpu: Option<f64>,
    /// Resident memory at its beginning and end, in KiB.
    pub(super) resident_kib: Option<(f64, f64)>,
}

/// Begun to measure.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    process: Option<Process>,
    before: Option<Usage>,
    begun: Instant,
}

impl Stretch {
    pub(super) fn begin(process: Option<Process>) -> Fallible<Self> {
        let before = process.map(Process::usage).transpose()?;
        Ok(Self { process, before, begun: Instant::now() })
    }

    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    pub(super) fn end(self) -> Fallible<Cost> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let after = self.process.map(Process::usage).transpose()?;
        let both = self.before.zip(after);
        Ok(Cost {
            seconds,
            cpu: both.map(|(before, after)| after.cpu_since(&before)),
            resident_kib: both.map(|(before, after)| (before.resident_kib, after.resident_kib)),
        })
    }

    /// How it stands now.
    pub(super) fn sample(&self, done: u64) -> Option<Sample> {
        let (before, now) = (self.before?, self.process?.usage().ok()?);
        Some(Sample {
            at: self.begun.elapsed().as_secs_f64(),
            done,
            cpu: now.cpu_since(&before),
            resident_kib: now.resident_kib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_linux_writes_them() {
        let stat = "12 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 99";
        let status = "Name:\tx\nVmRSS:\t   14336 kB\nThreads:\t4\n";
        let usage = parse(stat, status, 100).unwrap();
        assert_eq!((usage.cpu, usage.resident_kib), (3.0, 14_336.0));
        assert!(parse("12 (a", status, 100).is_none());
    }

    #[test]
    fn threads_that_live_on_are_counted_to_the_nanosecond() {
        let usage = |cpu, which, nanos| Usage { cpu, living: Some(Living { which, nanos }), resident_kib: 0.0 };
        let before = usage(1.0, 7, 1_004_000_000);
        assert_eq!(usage(1.01, 7, 1_019_500_000).cpu_since(&before), 0.0155);
        // One has come or gone: what it used is in the other account alone.
        assert_eq!(usage(1.5, 8, 1_019_500_000).cpu_since(&before), 0.5);
        let unknown = Usage { cpu: 1.25, ..Usage::default() };
        assert_eq!(unknown.cpu_since(&before), 0.25);
    }
}
