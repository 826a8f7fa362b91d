//! `mesh-server doctor`: looks for what goes wrong around a server, with a sentence and a mend for each.

mod clock;
mod database;
mod files;
mod gotify;
mod stun;
mod turn;
mod web;

use std::{fmt::Write as _, io::Write as _, path::Path, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::{Outcome, failure, print, runtime};
use crate::{clock::Clock, config::Config, ids::Ids};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long one check may take, of several calls.
const CHECK: Duration = Duration::from_secs(45);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    Failed,
    Skipped,
}

/// What one check found.
struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    sentence: String,
    /// What to do about it, where it failed.
    mend: Option<String>,
}

/// What is wrong, and what to do about it.
struct Trouble {
    sentence: String,
    mend: String,
}

fn trouble(sentence: impl Into<String>, mend: impl Into<String>) -> Trouble {
    Trouble { sentence: sentence.into(), mend: mend.into() }
}

impl Check {
    fn of(name: &'static str, found: Result<String, Trouble>) -> Self {
        match found {
            Ok(sentence) => Self { name, status: Status::Ok, sentence, mend: None },
            Err(Trouble { sentence, mend }) => Self { name, status: Status::Failed, sentence, mend: Some(mend) },
        }
    }

    fn skipped(name: &'static str, sentence: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, sentence: sentence.into(), mend: None }
    }
}

/// Somebody else's time.
struct Foreign {
    /// Whose.
    whose: &'static str,
    /// By how much it is ahead of ours, milliseconds.
    ahead_ms: i64,
}

/// What the checks work with.
struct Office<'a> {
    config: &'a Config,
    clock: Clock,
    ids: Ids,
}

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Check what is around the server: proxy, database, TURN, Gotify, clock, files")
        .defer(described)
}

fn described(new: Command) -> Command {
    new.arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON object")).after_help(
        "It takes the server's settings and changes nothing. Run it beside the running server, as the same user in \
             the same folder. The exit status is 0 where all is well, 1 where something is wrong, 2 where a setting \
             cannot be used.\n\nExamples:\n  mesh-server doctor\n  \
             mesh-server doctor --json | jq '.checks[] | select(.status == \"failed\")'",
    )
}

/// Ends a check that takes too long.
async fn in_time(name: &'static str, check: impl Future<Output = Check>) -> Check {
    tokio::time::timeout(CHECK, check).await.unwrap_or_else(|_| {
        let sentence = format!("it took longer than {} s", CHECK.as_secs());
        Check::of(name, Err(trouble(sentence, "look at the network between this machine and what is checked")))
    })
}

async fn examine(config: &Config) -> Vec<Check> {
    let clock = Clock::System;
    let office = Office { config, ids: Ids::new(clock.clone()), clock };
    let ((public, at_public), websocket, (database, at_database), (gotify, at_gotify), udp, tcp) = tokio::join!(
        web::public_url(&office),
        in_time("websocket", web::websocket(&office)),
        database::check(&office),
        gotify::check(&office),
        in_time("turn_udp", turn::check(&office, turn::Transport::Udp)),
        in_time("turn_tcp", turn::check(&office, turn::Transport::Tcp)),
    );
    let clock = clock::check(&[at_public, at_database, at_gotify].into_iter().flatten().collect::<Vec<_>>());
    let mut checks = vec![public, websocket];
    checks.extend(database);
    checks.extend([clock, udp, tcp, gotify, files::check(config, Path::new(".env"))]);
    checks
}

pub(super) fn run(config: &Config, warnings: &[String], matches: &ArgMatches) -> Outcome {
    for warning in warnings {
        let _ = writeln!(std::io::stderr(), "mesh-server: {warning}");
    }
    let runtime = runtime()?;
    let checks = runtime.block_on(examine(config));
    // What hangs in a blocking thread does not hold the end up.
    runtime.shutdown_background();
    print(&if matches.get_flag("json") { as_json(&checks) } else { as_text(&checks) })?;
    let failed = checks.iter().filter(|check| check.status == Status::Failed).count();
    match failed {
        0 => Ok(()),
        _ => Err(failure(format!("{failed} of {} checks failed", checks.len()))),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
    }
}

fn as_text(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { name, status, sentence, mend } in checks {
        let status = if *status == Status::Failed { "FAILED" } else { word(*status) };
        let _ = writeln!(text, "{status:<8} {name:<18} {sentence}");
        if let Some(mend) = mend {
            let _ = writeln!(text, "{:<8} {:<18} {mend}", "", "  mend:");
        }
    }
    text
}

fn as_json(checks: &[Check]) -> String {
    let list: Vec<Value> = checks
        .iter()
        .map(|c| json!({"name": c.name, "status": word(c.status), "sentence": c.sentence, "mend": c.mend}))
        .collect();
    let well = checks.iter().all(|c| c.status != Status::Failed);
    format!("{:#}\n", json!({"well": well, "checks": list}))
}
