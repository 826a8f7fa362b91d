//! `mesh-server bench`: what a server does in a second and what that costs, with every delivery checked.

mod bare;
mod check;
mod crowd;
mod fanout;
mod html;
mod http;
mod idle;
mod limit;
mod load;
mod login;
mod mixed;
mod nats;
mod paced;
mod report;
mod rest;
mod seed;
mod send;
mod signal;
mod start;
mod target;
mod times;
mod usage;
mod watch;
mod wire;

use std::{fs, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValue, value_parser};

use self::report::{Outcome, Report};
use super::{failure, print};
use crate::config::Config;

/// What fails here says why in a sentence.
type Fallible<T> = Result<T, String>;

/// The scenarios in the order in which `all` runs them, and what each is about.
const SCENARIOS: &[(&str, &str)] = &[
    ("start", "Cold start, idle memory, size of the executable"),
    ("idle", "Connections in rooms that say nothing: memory for each, how many are accepted a second"),
    ("join", "Members join one large room: bytes and CPU for each"),
    ("storm", "All connections resume at once, each some messages behind"),
    ("fanout", "One room, many receivers: as fast as a window allows, then at a fixed rate (with --rate only that)"),
    ("send", "Senders in rooms of their own: acknowledged, durable sends"),
    ("rest", "GET /api/auth/me, GET /api/rooms, a page of history"),
    ("signal", "The relay of signalling: pairs of peers whose candidates go there and back"),
    ("login", "Logins, and chat beside them"),
    ("mixed", "A day of an office of 200 people in a minute"),
];

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u32).range(1..=1_000_000)).help(help)
}

fn decimal(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.001..=1e6).contains(value));
    value.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

/// `http://HOST:PORT`, without a path and without TLS: what is measured is the server.
fn address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let addr = rest.filter(|rest| !rest.is_empty() && !rest.contains(['/', '?', '@']));
    let addr = addr.ok_or("must be http://HOST:PORT, the server itself and not its proxy")?;
    let has_port = addr.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { addr.to_owned() } else { format!("{addr}:80") })
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}

pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Measure a server under load, checking that every delivery comes once and in order")
        .defer(described)
}

fn described(new: Command) -> Command {
    let all = std::iter::once(PossibleValue::new("all").help("Every one of these"));
    let scenarios = SCENARIOS.iter().map(|(name, help)| PossibleValue::new(*name).help(*help)).chain(all);
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    new
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .subcommand(seed::command())
        .arg(
            Arg::new("SCENARIO")
                .num_args(1..)
                .required_unless_present("serve-limit")
                .value_parser(scenarios.collect::<Vec<_>>())
                .help("What to measure"),
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_parser(address)
                .help("A server that runs already; by default one is started for each scenario, in a temporary folder"),
        )
        .arg(
            Arg::new("pid")
                .long("pid")
                .requires("url")
                .value_parser(value_parser!(u32).range(1..))
                .help("That server's process, on this machine: its CPU time and memory are read"),
        )
        .arg(number("connections", "N", "Connections, receivers or senders, instead of the scenario's own number"))
        .arg(number("window", "N", "Sends of one sender that wait for their echo (fanout: 64, send: 32)"))
        .arg(number("behind", "N", "Messages that each connection has missed (storm: 20)"))
        .arg(number("size", "BYTES", "A message's content").default_value("128"))
        .arg(Arg::new("rate").long("rate").value_name("PER SECOND").value_parser(decimal).help("Messages a second (fanout: 20)"))
        .arg(Arg::new("seconds").long("seconds").value_name("N").value_parser(decimal).help("How long it goes on; of a scenario in rounds, all of them together"))
        .arg(flag("reference", "Also measure a bare broadcaster (idle, fanout, rest; `all` does it anyway)"))
        .arg(
            Arg::new("nats")
                .long("nats")
                .value_name("PROGRAM")
                .value_parser(value_parser!(PathBuf))
                .help("Also give the same loads to a nats-server: its executable (idle, fanout)"),
        )
        .arg(flag("compressed", "Receivers have their events compressed (fanout); one of --url needs MESH_WS_COMPRESSION=on"))
        .arg(flag("quick", "Small sizes, to see that all works; the figures say nothing of speed"))
        .arg(file("json", "Write everything as JSON"))
        .arg(file("html", "Write one page with plots"))
        .arg(flag("markdown", "Print a Markdown table instead of the text"))
        .arg(
            Arg::new("serve-limit")
                .long("serve-limit")
                .value_name("ADDRESS")
                .hide(true)
                .help("Be the bare broadcaster of --reference"),
        )
        .after_help(
            "Examples:\n  mesh-server bench all --json bench.json --html bench.html\n  mesh-server bench fanout --rate 20 \
             --reference\n  mesh-server bench idle --connections 1000 --url http://127.0.0.1:8000 --pid 4711\n\nA server \
             that runs already needs MESH_EVENTS_PER_SECOND=1000000 and MESH_LOGIN_ATTEMPTS=1000000, and keeps the \
             accounts that are made.\nExit status: 0 where every delivery came once and in order, 1 where one did not or \
             a scenario failed.",
        )
}

/// What was asked for.
struct Options {
    addr: Option<String>,
    pid: Option<u32>,
    connections: Option<usize>,
    window: Option<u64>,
    behind: Option<u64>,
    size: usize,
    rate: Option<f64>,
    seconds: Option<f64>,
    reference: bool,
    nats: Option<PathBuf>,
    compressed: bool,
    quick: bool,
}

impl Options {
    /// Whether the scenarios run in the sizes that their goals are meant for.
    fn own_sizes(&self) -> bool {
        let changed = self.connections.is_some() || self.window.is_some() || self.behind.is_some() || self.compressed;
        !(self.quick || changed || self.rate.is_some_and(|rate| rate != 20.0) || self.size != 128)
    }
}

/// A run.
struct Bench {
    options: Options,
}

impl Bench {
    fn connections(&self, full: usize, quick: usize) -> usize {
        self.options.connections.unwrap_or(if self.options.quick { quick } else { full })
    }

    fn window(&self, full: u64, quick: u64) -> u64 {
        self.options.window.unwrap_or(if self.options.quick { quick } else { full })
    }

    fn seconds(&self, full: f64, quick: f64) -> Duration {
        Duration::from_secs_f64(self.options.seconds.unwrap_or(if self.options.quick { quick } else { full }))
    }

    async fn run(&self, scenario: &str) -> Fallible<Vec<Outcome>> {
        Ok(match scenario {
            "start" => vec![start::run(self).await?],
            "idle" => vec![idle::idle(self).await?],
            "join" => vec![crowd::join(self).await?],
            "storm" => vec![crowd::storm(self).await?],
            "fanout" if self.options.rate.is_some() => vec![paced::run(self).await?],
            "fanout" => vec![fanout::saturated(self).await?, paced::run(self).await?],
            "send" => vec![send::run(self).await?],
            "rest" => vec![rest::run(self).await?],
            "signal" => vec![signal::run(self).await?],
            "login" => vec![login::run(self).await?],
            _ => vec![mixed::run(self).await?],
        })
    }

    /// One after the other; where one cannot be measured, the others are.
    async fn run_all(&self, scenarios: &[&str]) -> Report {
        let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
        for scenario in scenarios {
            match self.run(scenario).await {
                Ok(these) => outcomes.extend(these),
                Err(e) => failures.push(format!("{scenario}: {e}")),
            }
        }
        Report::new(outcomes, failures, self.options.quick, self.options.own_sizes())
    }
}

pub(super) fn run(sub: &ArgMatches) -> super::Outcome {
    super::raise_open_files();
    let runtime = super::runtime()?;
    if let Some(addr) = sub.get_one::<String>("serve-limit") {
        return runtime.block_on(limit::serve(addr)).map_err(failure);
    }
    let number = |name| sub.get_one::<u32>(name).copied();
    let chosen: Vec<&str> = sub.get_many::<String>("SCENARIO").unwrap_or_default().map(String::as_str).collect();
    let all = chosen.contains(&"all");
    let chosen = if all { SCENARIOS.iter().map(|(name, _)| *name).collect() } else { chosen };
    // It is started in a folder of its own.
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|e| format!("--nats: {e}"));
    let nats = sub.get_one::<PathBuf>("nats").map(|path| match path.components().count() {
        1 => Ok(path.clone()),
        _ => absolute(path),
    });
    let bench = Bench {
        options: Options {
            addr: sub.get_one("url").cloned(),
            pid: number("pid"),
            connections: number("connections").map(|n| n as usize),
            window: number("window").map(u64::from),
            behind: number("behind").map(u64::from),
            size: number("size").unwrap_or(128) as usize,
            rate: sub.get_one("rate").copied(),
            seconds: sub.get_one("seconds").copied(),
            reference: all || sub.get_flag("reference"),
            nats: nats.transpose().map_err(failure)?,
            compressed: sub.get_flag("compressed"),
            quick: sub.get_flag("quick"),
        },
    };
    let report = runtime.block_on(async {
        tokio::select! {
            report = bench.run_all(&chosen) => Ok(report),
            // A server of our own is ended and its folder removed as the scenario is dropped.
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        }
    });
    let report = report.map_err(failure)?;
    let write = |name: &str, text: String| match sub.get_one::<PathBuf>(name) {
        Some(path) => fs::write(path, text).map_err(|e| failure(format!("{}: {e}", path.display()))),
        None => Ok(()),
    };
    write("json", report.json().map_err(failure)?)?;
    write("html", html::page(&report))?;
    print(&if sub.get_flag("markdown") { report.markdown() } else { report.text() })?;
    if !report.faults.none() {
        return Err(failure("deliveries were lost, repeated or out of order"));
    }
    if report.failures.is_empty() { Ok(()) } else { Err(failure(report.failures.join("; "))) }
}

/// What a trial needs beforehand, in the database that the settings name.
pub(super) fn prepare(config: &Config, sub: &ArgMatches) -> super::Outcome {
    match sub.subcommand() {
        Some((_, sub)) => seed::run(config, sub),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_itself_is_taken() {
        assert_eq!(address("http://127.0.0.1:8000/").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(address("http://[::1]:8000").as_deref(), Ok("[::1]:8000"));
        assert_eq!(address("http://box").as_deref(), Ok("box:80"));
        for bad in ["https://box", "127.0.0.1:8000", "http://", "http://box/path", "http://a@b"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
