//! What the system says of this process. Linux tells; elsewhere only the start is known.

use std::fs;

use super::Text;

/// CPU seconds that the process has used.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; the fields count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    #[allow(clippy::cast_precision_loss, reason = "ticks a second are few")]
    Some((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

/// Bytes of address space, and of memory that is in use.
fn memory() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_ascii_whitespace().map(|n| n.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    Some((pages.next()??.saturating_mul(page), pages.next()??.saturating_mul(page)))
}

/// Open files; that one too which is needed to count them.
fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.flatten().count())
}

pub(super) fn write(text: &mut Text, started_ms: i64) {
    if let Some(seconds) = cpu_seconds() {
        text.counter("process_cpu_seconds", "CPU time used, of users and of the system.", seconds);
    }
    if let Some((space, resident)) = memory() {
        text.gauge("process_virtual_memory_bytes", "Address space.", space);
        text.gauge("process_resident_memory_bytes", "Memory in use.", resident);
    }
    if let Some(files) = open_files() {
        text.gauge("process_open_fds", "Open files and sockets.", files);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        text.gauge("process_max_fds", "Files and sockets that may be open.", most);
    }
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    text.gauge("process_start_time_seconds", "When it started, Unix time.", started_ms as f64 / 1e3);
}
