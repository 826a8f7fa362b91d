//! Copies of an SQLite database that is in use, and whether such a copy is whole.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{db::Tx, migrate};

// SQLite's alone, so not among the statements that both databases prepare.
const SNAPSHOT: &str = "SELECT COUNT(*) FROM sqlite_schema";
const APPLIED: &str = "SELECT version, name FROM schema_migrations ORDER BY version";
/// Rooms whose numbers are not each there once, from what retention has left up to the last.
const HOLES: &str = "SELECT r.id FROM rooms r WHERE r.deleted_at IS NULL AND r.last_seq - r.purged_seq <> \
        (SELECT COUNT(*) FROM messages m WHERE m.room_id = r.id AND m.seq > r.purged_seq AND m.seq <= r.last_seq) + \
        (SELECT COUNT(*) FROM room_changes c WHERE c.room_id = r.id AND c.seq > r.purged_seq AND c.seq <= r.last_seq) \
        OR r.deleted_at IS NULL AND EXISTS (SELECT 1 FROM room_changes c JOIN messages m \
        ON m.room_id = c.room_id AND m.seq = c.seq WHERE c.room_id = r.id)";
const COUNTS: &str =
    "SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM rooms), (SELECT COUNT(*) FROM messages)";
const INTEGRITY: &str = "SELECT integrity_check FROM pragma_integrity_check LIMIT 5";
const FOREIGN: &str = "SELECT COUNT(*) FROM pragma_foreign_key_check";

/// Pages copied at once.
const STEP: i32 = 1_000;
/// How long another process may hold the database.
const BUSY: Duration = Duration::from_secs(10);
/// The migration that made logs of changes.
const CHANGES_SINCE: i64 = 6;

/// What a whole copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The newest migration.
    pub version: i64,
    /// Whether this binary would bring it up to date.
    pub older: bool,
    /// Accounts.
    pub users: i64,
    /// Rooms.
    pub rooms: i64,
    /// Messages.
    pub messages: i64,
}

fn told(path: &Path) -> impl Fn(rusqlite::Error) -> String {
    move |e| format!("{}: {e}", path.display())
}

fn beside(path: &Path, suffix: &str) -> Result<PathBuf, String> {
    let name = path.file_name().ok_or_else(|| format!("{} names no file", path.display()))?;
    let mut name = name.to_owned();
    name.push(suffix);
    Ok(path.with_file_name(name))
}

/// Makes an empty file, which must not exist, that its owner alone may read.
pub(super) fn make(path: &Path) -> Result<(), String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(drop).map_err(|e| format!("{}: {e}", path.display()))
}

/// Copies a database, in use or not, as it is at this moment. `to` has its new content whole or not at all; `progress`
/// hears pages copied and in all.
///
/// # Errors
/// A sentence for the operator.
pub fn copy(from: &Path, to: &Path, mut progress: impl FnMut(i32, i32)) -> Result<(), String> {
    let part = beside(to, &format!(".{}.part", std::process::id()))?;
    make(&part)?;
    let copied = fill(from, &part, &mut progress).and_then(|()| {
        fs::File::open(&part).and_then(|file| file.sync_all()).map_err(|e| format!("{}: {e}", part.display()))?;
        fs::rename(&part, to).map_err(|e| format!("{}: {e}", to.display()))
    });
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    } else if let Ok(folder) =
        fs::File::open(to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        // The new name reaches the disk too, where the file system can.
        let _ = folder.sync_all();
    }
    copied
}

fn fill(from: &Path, part: &Path, progress: &mut impl FnMut(i32, i32)) -> Result<(), String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(told(from))?;
    source.busy_timeout(BUSY).map_err(told(from))?;
    let mut copy = Connection::open_with_flags(part, flags).map_err(told(part))?;
    // One view of the database from the first page to the last: who writes meanwhile neither waits nor begins it anew.
    let view = source.unchecked_transaction().map_err(told(from))?;
    view.query_row(SNAPSHOT, [], |_| Ok(())).map_err(told(from))?;
    {
        let backup = Backup::new(&source, &mut copy).map_err(told(part))?;
        loop {
            let step = backup.step(STEP).map_err(told(part))?;
            let now = backup.progress();
            progress(now.pagecount - now.remaining, now.pagecount);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(format!("{}: another process holds the database", from.display())),
            }
        }
    }
    drop(view);
    // One file that can be read anywhere, without a log beside it.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(told(part))?;
    copy.close().map_err(|(_, e)| told(part)(e))
}

/// A room whose log has holes, where there is one.
pub(super) fn hole(tx: &mut Tx<'_>) -> crate::error::Result<Option<String>> {
    tx.row(HOLES, &[])?.map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Whether a copy is whole: the file itself, its migrations, and each room's log without holes.
///
/// # Errors
/// What is wrong with it, a sentence for the operator.
pub fn verify(path: &Path) -> Result<Contents, String> {
    let say = told(path);
    let wrong = |what: String| format!("{}: {what}", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(path, flags).map_err(&say)?;
    let mut asked = copy.prepare(INTEGRITY).map_err(&say)?;
    let found: Vec<String> = asked.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(&say)?;
    if found != ["ok"] {
        return Err(wrong(format!("damaged: {}", found.join("; "))));
    }
    let orphans: i64 = copy.query_row(FOREIGN, [], |row| row.get(0)).map_err(&say)?;
    if orphans > 0 {
        return Err(wrong(format!("{orphans} rows point at rows that are not there")));
    }
    let mut asked = copy.prepare(APPLIED).map_err(|_| wrong("this is no database of Mesh Server".to_owned()))?;
    let applied: Vec<(i64, String)> =
        asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).map_err(&say)?;
    let missing = migrate::missing_in_sqlite(&applied).map_err(wrong)?;
    let version = applied.last().map_or(0, |(version, _)| *version);
    if version >= CHANGES_SINCE {
        let mut asked = copy.prepare(HOLES).map_err(&say)?;
        let holes: Vec<String> = asked.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(&say)?;
        if let Some(first) = holes.first() {
            return Err(wrong(format!("{} rooms have holes in their log, among them {first}", holes.len())));
        }
    }
    let counts = copy.query_row(COUNTS, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (users, rooms, messages) = counts.map_err(&say)?;
    Ok(Contents { version, older: missing > 0, users, rooms, messages })
}

/// Puts a copy, which is verified first, in the place of a database that nobody uses. One that is there is kept beside
/// it; where it was put.
///
/// # Errors
/// A sentence for the operator; then all is as it was.
pub fn restore(from: &Path, to: &Path) -> Result<Option<PathBuf>, String> {
    verify(from)?;
    if !to.exists() {
        return copy(from, to, |_, _| {}).map(|()| None);
    }
    let old = beside(to, ".replaced")?;
    if old.exists() {
        return Err(format!("{} is there from an earlier restore: move it away first", old.display()));
    }
    let new = beside(to, ".restored")?;
    let there = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told(to))?;
    there.busy_timeout(Duration::ZERO).map_err(told(to))?;
    // Leaving the log needs the database for oneself; what stood in the log is in the file then.
    let alone = there.pragma_update(None, "journal_mode", "DELETE").is_ok();
    drop(there);
    if !alone {
        return Err(format!("{} is in use: stop the server first", to.display()));
    }
    copy(from, &new, |_, _| {})?;
    let say = |e: std::io::Error| format!("{}: {e}", to.display());
    fs::rename(to, &old).map_err(say)?;
    fs::rename(&new, to).map_err(say)?;
    Ok(Some(old))
}
