//! Copies of an SQLite database that is in use, and whether such a copy is whole.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{db::Tx, migrate};
use crate::config::DatabaseUrl;

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
const FOLD: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
const FOREIGN: &str = "SELECT COUNT(*) FROM pragma_foreign_key_check";

/// Pages copied at once.
const STEP: i32 = 1_000;
/// How long another process may hold the database.
const BUSY: Duration = Duration::from_secs(10);
/// How its files begin.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What SQLite keeps beside a database. A log that is left there is played into whatever file has the database's name.
const LOGS: [&str; 2] = ["-wal", "-journal"];
/// An index of the log, which is made anew.
const INDEX: &str = "-shm";
/// Where SQLite's locks stand, whatever the file's content: its pending byte, the reserved one and the shared ones.
const LOCKS: (u64, u64) = (0x4000_0000, 512);
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

/// Whether two names lead to one file that is there.
fn same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other || inode(&one).is_some_and(|found| inode(&other) == Some(found)),
        _ => false,
    }
}

#[cfg(unix)]
fn inode(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn inode(_: &Path) -> Option<(u64, u64)> {
    None
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
    // In its place the copy would take the file, and all that is said from now on, from whoever has it open.
    let real = fs::canonicalize(from).unwrap_or_else(|_| from.to_owned());
    for suffix in ["", INDEX].into_iter().chain(LOGS) {
        if same(&beside(&real, suffix)?, to) {
            return Err(format!("{} belongs to the database itself: a copy needs a name of its own", to.display()));
        }
    }
    let part = beside(to, &format!(".{}.part", std::process::id()))?;
    make(&part)?;
    let copied = fill(from, &part, &mut progress).and_then(|()| {
        fs::File::open(&part).and_then(|file| file.sync_all()).map_err(|e| format!("{}: {e}", part.display()))?;
        fs::rename(&part, to).map_err(|e| format!("{}: {e}", to.display()))
    });
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    } else {
        settle(to);
    }
    copied
}

/// A file's new name reaches the disk too, where the file system can.
fn settle(path: &Path) {
    if let Ok(folder) = fs::File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
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

/// Brings what stands in SQLite's log into its file, so that the file alone is the whole database: for whoever copies it
/// once the server has stopped. Does nothing elsewhere.
///
/// # Errors
/// A sentence for the operator: why the log is needed beside the file.
pub fn fold_log(url: &DatabaseUrl) -> Result<(), String> {
    let DatabaseUrl::SqliteFile(path) = url else { return Ok(()) };
    let there = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told(path))?;
    // Nobody is waited for: the log is as good as the file, but for copies.
    there.busy_timeout(Duration::ZERO).map_err(told(path))?;
    let held: bool = there.query_row(FOLD, [], |row| row.get(0)).map_err(told(path))?;
    if held { Err(format!("{} is in use", path.display())) } else { Ok(()) }
}

/// Whether somebody has a database open, also one that is damaged.
fn held(path: &Path) -> Result<bool, String> {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    let file = fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let all = Flock { start: LOCKS.0, length: LOCKS.1, ..Flock::from(FlockType::WriteLock) };
    Ok(fcntl_getlk(&file, &all).map_err(|e| format!("{}: {e}", path.display()))?.is_some())
}

/// Leaves the log of a database that nobody has open: what stood in it is in the file then. A file that SQLite cannot
/// read any more is left as it is: it is most of all what a backup is to take the place of.
fn close(path: &Path) -> Result<(), String> {
    let used = || Err(format!("{} is in use: stop the server first", path.display()));
    // Before SQLite has it open here: to close a file gives up the locks of the whole process.
    if held(path)? {
        return used();
    }
    let mut first = [0; MAGIC.len()];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
    if read.is_err() || first != *MAGIC {
        return Ok(());
    }
    let there = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told(path))?;
    there.busy_timeout(Duration::ZERO).map_err(told(path))?;
    match there.pragma_update(None, "journal_mode", "DELETE") {
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => used(),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives the new file to whom the old one, or else the folder, belongs: root may restore what a server of another user
/// then opens.
fn hand_over(new: &Path, like: &Path) -> Result<(), String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let say = |e: std::io::Error| format!("{}: {e}", new.display());
        let (wanted, found) = (fs::metadata(like).map_err(say)?, fs::metadata(new).map_err(say)?);
        let others = (wanted.uid(), wanted.gid()) != (found.uid(), found.gid());
        if others && rustix::process::geteuid().is_root() {
            chown(new, Some(wanted.uid()), Some(wanted.gid())).map_err(say)?;
        }
    }
    Ok(())
}

/// Puts a copy, which is verified first, in the place of a database that nobody uses. One that is there is kept beside
/// it, with its log where it could not be read; where it was put.
///
/// # Errors
/// A sentence for the operator; then all is as it was.
pub fn restore(from: &Path, to: &Path) -> Result<Option<PathBuf>, String> {
    verify(from)?;
    // SQLite's own files stand beside the real one.
    let real = fs::canonicalize(to);
    let to = real.as_deref().unwrap_or(to);
    let (old, new) = (beside(to, ".replaced")?, beside(to, ".restored")?);
    let there = to.exists();
    if there {
        close(to)?;
    }
    let mut aside = vec![(to.to_owned(), old.clone())];
    for suffix in LOGS {
        aside.push((beside(to, suffix)?, beside(&old, suffix)?));
    }
    // Files of two restores together would be no database.
    if let Some((_, kept)) = aside.iter().find(|(_, kept)| kept.exists())
        && aside.iter().any(|(left, _)| left.exists())
    {
        return Err(format!("{} is there from an earlier restore: move it away first", kept.display()));
    }
    copy(from, &new, |_, _| {})?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    hand_over(&new, if there { to } else { folder })?;
    let say = |e: std::io::Error| format!("{}: {e}", to.display());
    for (left, kept) in aside.iter().filter(|(left, _)| left.exists()) {
        // By a second name, where the file system has such: then there is a database in its place at each moment.
        let named = if left == to { fs::hard_link(left, kept) } else { fs::rename(left, kept) };
        named.or_else(|_| fs::rename(left, kept)).map_err(say)?;
    }
    let _ = fs::remove_file(beside(to, INDEX)?);
    fs::rename(&new, to).map_err(say)?;
    settle(to);
    Ok(there.then_some(old))
}
