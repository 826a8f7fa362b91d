//! `mesh-server bench`: what this machine can do, and databases to try it on.

mod seed;

use clap::{ArgMatches, Command};

use super::Outcome;
use crate::config::Config;

pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Fill a database for a trial")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(seed::command())
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Outcome {
    match matches.subcommand() {
        Some((_, sub)) => seed::run(config, sub),
        None => Ok(()),
    }
}
