//! Which commit is built, and of what day: read by `build.rs`, tested by `service::info`.

use std::{fs, path::Path, process::Command};

/// Hexadecimal digits of a commit that are told.
const DIGITS: usize = 12;
/// What `git archive` fills in (see `.gitattributes`): the commit and its time.
const ARCHIVED: &str = "crates/server/commit.txt";

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn short(commit: &str) -> Option<String> {
    let hex = commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| commit.chars().take(DIGITS).collect())
}

/// The commit and its time in seconds, from `HASH SECONDS`.
fn pair(text: &str) -> Option<(String, Option<i64>)> {
    let mut words = text.split_whitespace();
    Some((short(words.next()?)?, words.next().and_then(|seconds| seconds.parse().ok())))
}

/// From a repository whose root this is: a tarball that was unpacked within another one is not that one's commit.
fn by_git(root: &Path) -> Option<(String, Option<i64>)> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    let same = fs::canonicalize(top).ok()? == fs::canonicalize(root).ok()?;
    same.then(|| git(root, &["log", "-1", "--format=%H %ct"])).flatten().and_then(|text| pair(&text))
}

/// From the few files that a container's build gets of a repository: `HEAD`, and what it refers to.
fn by_head(root: &Path) -> Option<(String, Option<i64>)> {
    let folder = root.join(".git");
    let head = fs::read_to_string(folder.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return pair(&head) };
    if let Ok(commit) = fs::read_to_string(folder.join(name)) {
        return pair(&commit);
    }
    let packed = fs::read_to_string(folder.join("packed-refs")).ok()?;
    let line = packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '))?;
    pair(line)
}

/// `YYYY-MM-DD` of so many seconds since 1970, UTC (the civil calendar from days, after Howard Hinnant).
pub(crate) fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The commit and the day, as far as they are known. `commit` (`HASH`, or `HASH SECONDS`) and `epoch` come from the environment
/// and count first; the repository is looked at where `look` says so.
pub(crate) fn stamp(root: &Path, commit: Option<&str>, epoch: Option<&str>, look: bool) -> Option<String> {
    let given = commit.and_then(pair);
    let archived = || fs::read_to_string(root.join(ARCHIVED)).ok().and_then(|text| pair(&text));
    let found = if look { by_git(root).or_else(archived).or_else(|| by_head(root)) } else { None };
    let (commit, time) = match (given, found) {
        // The repository knows the time of its own commit alone.
        (Some((given, None)), Some((found, time))) if given == found => (Some(given), time),
        (Some((given, time)), _) => (Some(given), time),
        (None, found) => found.map_or((None, None), |(commit, time)| (Some(commit), time)),
    };
    let time = epoch.and_then(|epoch| epoch.trim().parse().ok()).or(time);
    let words: Vec<String> = commit.into_iter().chain(time.map(day)).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The files that change when another commit is checked out or made; none where there is no repository.
pub(crate) fn watched(root: &Path) -> Vec<String> {
    let place = |name: &str| {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        path.exists().then(|| path.display().to_string())
    };
    // The log of HEAD grows with each of its moves; without one, HEAD and the branch are looked at.
    if let Some(log) = place("logs/HEAD") {
        return vec![log];
    }
    let branch = git(root, &["symbolic-ref", "-q", "HEAD"]);
    [place("HEAD"), branch.and_then(|name| place(&name)), place("packed-refs")].into_iter().flatten().collect()
}
