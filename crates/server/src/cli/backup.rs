//! `mesh-server backup` and `mesh-server restore`: copies of the SQLite database, beside a running server.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::{Outcome, failure, print};
use crate::{
    config::{Config, DatabaseUrl},
    store::backup::{self, Contents},
};

fn file(help: &'static str) -> Arg {
    Arg::new("FILE").required(true).value_parser(clap::value_parser!(PathBuf)).help(help)
}

fn as_json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("The result as one JSON object")
}

pub(super) fn commands() -> [Command; 2] {
    let verify = Command::new("verify")
        .about("Say whether a backup is whole: the file, its migrations, and each room's log without holes")
        .arg(file("The backup"))
        .arg(as_json())
        .after_help(
            "Examples:\n  mesh-server backup verify /var/backups/mesh.db\n  \
             mesh-server backup verify /var/backups/mesh.db --json | jq -r .why\n\nExit status: 0 where it is whole, else \
             1; with --json `whole` and `why` tell it too.",
        );
    let backup = Command::new("backup")
        .about("Copy the SQLite database, as it is now, also while a server uses it")
        .arg(file("Where to; it is replaced once the copy is whole"))
        .arg(as_json())
        .subcommand(verify)
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true)
        .after_help(
            "Example:\n  mesh-server backup /var/backups/mesh.db\n\nThe secret (mesh.secret) and keys are files of their \
             own: keep a copy of them elsewhere.\nExit status: 0 where the copy is whole, 1 where it is not, 2 for bad \
             settings.",
        );
    let restore = Command::new("restore")
        .about("Put a backup in the place of the SQLite database; no server may use it")
        .arg(file("The backup; it is verified first"))
        .arg(
            Arg::new("replace")
                .long("replace")
                .action(ArgAction::SetTrue)
                .help("Also where there is a database: it is kept beside the new one, as NAME.replaced"),
        )
        .arg(as_json())
        .after_help("Example:\n  mesh-server restore /var/backups/mesh.db --replace");
    [backup, restore]
}

fn database(config: &Config) -> Result<&Path, (u8, String)> {
    match &config.database_url {
        DatabaseUrl::SqliteFile(path) => Ok(path),
        DatabaseUrl::SqliteMemory => Err(failure("DATABASE_URL names a database in memory: there is nothing to keep")),
        DatabaseUrl::Postgres(_) => Err(failure("DATABASE_URL names PostgreSQL: use pg_dump and pg_restore")),
    }
}

fn given(sub: &ArgMatches) -> &Path {
    sub.get_one::<PathBuf>("FILE").map_or(Path::new(""), PathBuf::as_path)
}

fn words(path: &Path, found: Contents) -> String {
    let Contents { version, older, users, rooms, messages } = found;
    let old = if older { ", of an older version" } else { "" };
    format!("{}: whole, migration {version}{old}; {users} users, {rooms} rooms, {messages} messages\n", path.display())
}

/// What is in a backup, for people or for programs.
fn told(path: &Path, found: Contents, sub: &ArgMatches) -> String {
    if !sub.get_flag("json") {
        return words(path, found);
    }
    let Contents { version, older, users, rooms, messages } = found;
    let file = path.display().to_string();
    let told = json!({"file": file, "whole": true, "migration": version, "older": older, "users": users, "rooms": rooms,
        "messages": messages});
    format!("{told:#}\n")
}

pub(super) fn verify(sub: &ArgMatches) -> Outcome {
    let path = given(sub);
    let found = backup::verify(path);
    if let (Err(why), true) = (&found, sub.get_flag("json")) {
        print(&format!("{:#}\n", json!({"file": path.display().to_string(), "whole": false, "why": why})))?;
    }
    print(&told(path, found.map_err(failure)?, sub))
}

pub(super) fn backup(config: &Config, sub: &ArgMatches) -> Outcome {
    let (from, to) = (database(config)?, given(sub));
    let shown = std::io::stderr().is_terminal();
    let mut tenth = 0;
    backup::copy(from, to, |done, all| {
        let now = i64::from(done) * 10 / i64::from(all.max(1));
        if shown && now > tenth {
            tenth = now;
            let _ = writeln!(std::io::stderr(), "{}0 % of {all} pages", now);
        }
    })
    .map_err(failure)?;
    print(&told(to, backup::verify(to).map_err(failure)?, sub))
}

pub(super) fn restore(config: &Config, sub: &ArgMatches) -> Outcome {
    let (from, to) = (given(sub), database(config)?);
    if to.exists() && !sub.get_flag("replace") {
        return Err(failure(format!("{} is there: say --replace if it may be put aside", to.display())));
    }
    let old = backup::restore(from, to).map_err(failure)?;
    if sub.get_flag("json") {
        let kept = old.map(|old| old.display().to_string());
        return print(&format!("{:#}\n", json!({"file": to.display().to_string(), "restored": true, "kept": kept})));
    }
    let kept = old.map(|old| format!("; what was there is {}", old.display())).unwrap_or_default();
    print(&format!("{} is restored{kept}\n", to.display()))
}
