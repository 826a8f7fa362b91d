//! `mesh-server db copy`: a house moves from one database to another.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{EXIT_CONFIG, Outcome, failure, print};
use crate::{
    clock::Clock,
    config::DatabaseUrl,
    store::copy::{self, Copied},
};

fn url(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).required(true).help(help)
}

pub(super) fn command() -> Command {
    Command::new("db").about("Work with whole databases").defer(described)
}

fn described(new: Command) -> Command {
    let copy = Command::new("copy")
        .about("Copy a house from one database to another, from SQLite to PostgreSQL or back")
        .arg(url("FROM", "A DATABASE_URL, or @FILE for a file that holds one; its server should be stopped"))
        .arg(url("TO", "The same; it must be empty, its tables are made"))
        .arg(
            Arg::new("verify")
                .long("verify")
                .action(ArgAction::SetTrue)
                .help("Look for holes in rooms' logs first; read the copy anew at the end and compare it row by row"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("The result as one JSON object"))
        .after_help(
            "Examples:\n  mesh-server db copy sqlite:///./mesh.db postgresql://mesh@localhost/mesh --verify\n  \
             mesh-server db copy @/run/secrets/url sqlite:////var/lib/mesh/mesh.db --verify --json\n\nAll of it is copied, \
             or nothing. The secret (mesh.secret) and keys are files of their own: copy them by hand.\nA password in an \
             argument is seen by everybody who can list processes: @FILE hides it.\nExit status: 0 where all was copied, 1 \
             where it was not, 2 for a URL that cannot be used.",
        );
    new.subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Example:\n  mesh-server db copy sqlite:///./mesh.db postgresql://mesh@localhost/mesh --verify")
        .subcommand(copy)
}

fn given(sub: &ArgMatches, name: &str) -> Result<DatabaseUrl, (u8, String)> {
    let text = sub.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let held = match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).map_err(|e| (EXIT_CONFIG, format!("{name}: {path}: {e}")))?,
        None => text.to_owned(),
    };
    let url = DatabaseUrl::parse(held.trim()).map_err(|e| (EXIT_CONFIG, format!("{name}: {e}")))?;
    if url == DatabaseUrl::SqliteMemory {
        return Err((
            EXIT_CONFIG,
            format!("{name}: a database in memory is nobody else's; expected a file or PostgreSQL"),
        ));
    }
    Ok(url)
}

/// A line that is written over, on a terminal; nothing elsewhere.
struct Progress {
    shown: bool,
    last: (String, u64),
}

impl Progress {
    fn tell(&mut self, table: &str, done: u64, all: u64) {
        // A hundredth of a table is enough to see.
        let part = done * 100 / all.max(1);
        if self.shown && (self.last.0 != table || self.last.1 != part) {
            self.last = (table.to_owned(), part);
            let _ = write!(std::io::stderr(), "\r\x1b[K{table}: {done} of {all}");
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn told(copied: &[Copied], verified: bool, json: bool) -> String {
    if json {
        let tables: Vec<_> =
            copied.iter().map(|t| serde_json::json!({"table": t.table, "rows": t.rows, "hash": t.hash})).collect();
        return format!("{}\n", serde_json::json!({"tables": tables, "verified": verified}));
    }
    let width = copied.iter().map(|t| t.table.len()).max().unwrap_or(0);
    let mut out = String::new();
    for Copied { table, rows, hash } in copied {
        out.push_str(&format!("{table:width$}  {rows:>9}  {hash}\n"));
    }
    let rows: u64 = copied.iter().map(|t| t.rows).sum();
    let how = if verified { "read anew and found the same" } else { "counted; --verify reads them anew" };
    out.push_str(&format!(
        "{rows} rows of {} tables are copied, {how}.\nCopy the secret (mesh.secret, or what MESH_JWT_SECRET says) and keys by \
         hand: without them all logins end, and what is sealed cannot be opened.\n",
        copied.len()
    ));
    out
}

pub(super) fn run(sub: &ArgMatches) -> Outcome {
    let Some(("copy", sub)) = sub.subcommand() else { return Ok(()) };
    let (from, to) = (given(sub, "FROM")?, given(sub, "TO")?);
    let (verify, json) = (sub.get_flag("verify"), sub.get_flag("json"));
    let mut progress = Progress { shown: std::io::stderr().is_terminal(), last: (String::new(), 0) };
    let outcome =
        copy::copy(&from, &to, Clock::System.now_ms(), verify, &mut |table, done, all| progress.tell(table, done, all));
    progress.end();
    print(&told(&outcome.map_err(failure)?, verify, json))
}
