//! Backups that are made by themselves: a verified copy each so many hours, and the oldest go.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    app::App,
    config::DatabaseUrl,
    store::backup::{self, Contents},
};

/// How a backup is called, in the words of `strftime`: by its time (UTC), so that the order of names is that of times.
const NAME: &str = "mesh-%Y%m%dT%H%M%SZ.db";
/// What is not whole yet; what an earlier process left of it is taken away.
const UNFINISHED: &str = ".new";
/// A name from so far ahead is a slip of the clock, milliseconds: it must not keep the next backup away.
const AHEAD_MS: i64 = 60_000;
/// How nice the thread is to all others (see `nice(1)`).
const NICENESS: i32 = 19;

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub contents: Contents,
    /// Its size.
    pub bytes: u64,
    /// How long it took, the verification included.
    pub took: Duration,
    /// How many older ones were taken away.
    pub removed: usize,
}

/// The time in a name, Unix milliseconds; none where it is not a backup's.
fn time_in(name: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime(NAME, name).ok()?;
    // What the format reads but would not write is somebody else's.
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    (zoned.strftime(NAME).to_string() == name).then(|| zoned.timestamp().as_millisecond())
}

fn name_at(now: i64) -> Result<String, String> {
    let time = jiff::Timestamp::from_millisecond(now).map_err(|e| format!("the time cannot be told: {e}"))?;
    Ok(time.strftime(NAME).to_string())
}

/// The backups of a folder, oldest first.
fn there(folder: &Path) -> Result<Vec<(i64, PathBuf)>, String> {
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
                if let Some(time) = entry.file_name().to_str().and_then(time_in) {
                    found.push((time, entry.path()));
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(format!("{}: {e}", folder.display())),
    }
    found.sort();
    Ok(found)
}

/// How long it is until the next one is due, by the names in the folder: a new start makes none before its time.
///
/// # Errors
/// Where the folder cannot be read: a sentence.
pub async fn due_in(app: &App, folder: &Path) -> Result<Duration, String> {
    let (now, folder) = (app.clock.now_ms(), folder.to_owned());
    let every = i64::from(app.config.backup_every_hours) * 3_600_000;
    let looked = app.tasks.blocking(move || there(&folder)).await;
    let found = looked.unwrap_or_else(|| Err("looking for backups panicked".to_owned()));
    let found = found.inspect_err(|_| app.metrics.backups.failed.add(1))?;
    let last = found.iter().map(|(time, _)| *time).rfind(|time| *time <= now + AHEAD_MS);
    if let Some(last) = last {
        app.metrics.backups.found(last);
    }
    let left = last.map_or(0, |last| (last + every).saturating_sub(now).max(0));
    Ok(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// Makes one now, verifies it, and takes away the oldest beyond those that are kept. On a thread of its own, at the lowest
/// priority; whoever writes to the database does not wait.
///
/// # Errors
/// What failed, a sentence for the operator; older backups stay as they were.
pub async fn make(app: &App, folder: &Path) -> Result<Made, String> {
    let DatabaseUrl::SqliteFile(from) = &app.config.database_url else {
        return Err("only SQLite's file can be copied".to_owned());
    };
    let (from, folder, keep, now) =
        (from.clone(), folder.to_owned(), app.config.backup_keep as usize, app.clock.now_ms());
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("backup".to_owned())
        .spawn(move || {
            // Where it cannot be lowered, work goes on all the same.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let _ = tell.send(make_one(&from, &folder, keep, now));
        })
        .map_err(|e| format!("a thread cannot be started: {e}"))?;
    let made = told.await.unwrap_or_else(|_| Err("making a backup panicked; the log says where".to_owned()));
    match &made {
        Ok(made) => app.metrics.backups.made(app.clock.now_ms(), made.took, made.bytes),
        Err(_) => app.metrics.backups.failed.add(1),
    }
    made
}

fn make_folder(folder: &Path) -> Result<(), String> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

/// Takes away what a process left that was stopped in the middle.
fn clear(folder: &Path) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
        let name = entry.file_name();
        let Some((stem, _)) = name.to_str().and_then(|name| name.split_once(UNFINISHED)) else { continue };
        if time_in(stem).is_some() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn make_one(from: &Path, folder: &Path, keep: usize, now: i64) -> Result<Made, String> {
    let began = Instant::now();
    make_folder(folder)?;
    clear(folder)?;
    let name = name_at(now)?;
    let (path, unfinished) = (folder.join(&name), folder.join(format!("{name}{UNFINISHED}")));
    let told = |e: std::io::Error| format!("{}: {e}", path.display());
    let outcome = backup::copy(from, &unfinished, |_, _| {}).and_then(|()| {
        let contents = backup::verify(&unfinished)?;
        let bytes = fs::metadata(&unfinished).map_err(told)?.len();
        fs::rename(&unfinished, &path).map_err(told)?;
        Ok((contents, bytes))
    });
    if outcome.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    let (contents, bytes) = outcome?;
    let mut all = there(folder)?;
    all.truncate(all.len().saturating_sub(keep.max(1)));
    let mut removed = 0;
    for (_, old) in all {
        fs::remove_file(&old).map_err(|e| format!("{}: {e}", old.display()))?;
        removed += 1;
    }
    Ok(Made { path, contents, bytes, took: began.elapsed(), removed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_times_and_only_they_are_touched() {
        let now = 1_795_635_845_000;
        let name = name_at(now).unwrap();
        assert_eq!((name.as_str(), time_in(&name)), ("mesh-20261125T194405Z.db", Some(now)));
        for other in [
            "mesh.db",
            "mesh-20261125T194405Z.db.new",
            "mesh-2026.db",
            "old-mesh-20261125T194405Z.db",
            "mesh-20261325T194405Z.db",
        ] {
            assert_eq!(time_in(other), None, "{other}");
        }
    }
}
