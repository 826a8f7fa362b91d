//! The command line.

mod backup;
mod bench;
mod database;
mod db;
mod doctor;
mod health;
mod shell;
mod systemd;
mod token;
mod user;

use std::{fs, io::Write as _, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use systemd::Systemd;

use crate::{
    clock::Clock,
    config::{self, Config, DatabaseUrl, LogFormat},
    http, lifecycle,
    service::info,
    store::{Db, migrate},
    tasks::Tasks,
    tls::Tls,
};

/// A setting cannot be used.
const EXIT_CONFIG: u8 = 2;
/// Anything else went wrong.
const EXIT_FAILURE: u8 = 1;

/// The whole command line, as it is described to people, shells and manual pages.
#[must_use]
pub fn command() -> Command {
    Command::new("mesh-server")
        .version(info::LONG_VERSION)
        .about("A self-hosted control plane for private collaboration")
        .after_help(
            "With nothing configured it listens on port 8000 and keeps its data in ./mesh.db. Settings are read from .env in \
             the working folder, from the environment and from flags; the last one counts.\n\n\
             Exit status, of every command: 0 where all went well, 1 where something went wrong, 2 where a setting or an \
             argument cannot be used. Errors are told in one line on standard error.\n\n\
             Examples:\n  mesh-server\n  mesh-server --port 9000 --database-url sqlite:////var/lib/mesh-server/mesh.db\n  \
             mesh-server doctor",
        )
        .args(config::clap_args())
        .subcommand(Command::new("serve").about("Run the server (the default)").after_help(
            "SIGTERM and SIGINT stop it in order, a second one at once; SIGHUP reads the TLS certificate again.\n\n\
             Example:\n  mesh-server serve --port 9000",
        ))
        .subcommand(
            Command::new("migrate")
                .about("Look at or change the database's shape")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .after_help("Examples:\n  mesh-server migrate status\n  mesh-server migrate up")
                .subcommand(
                    Command::new("up")
                        .about("Apply what is missing; a starting server does this itself")
                        .after_help("Example:\n  mesh-server migrate up"),
                )
                .subcommand(
                    Command::new("down")
                        .about("Take back the newest migrations")
                        .arg(Arg::new("STEPS")
                                .default_value("1")
                                .value_parser(clap::value_parser!(u32).range(1..))
                                .help("How many"))
                        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Data may be lost"))
                        .after_help("Example:\n  mesh-server migrate down 1"),
                )
                .subcommand(
                    Command::new("status")
                        .about("List the migrations, and which are applied")
                        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON array"))
                        .after_help(
                            "Examples:\n  mesh-server migrate status\n  \
                             mesh-server migrate status --json | jq '.[] | select(.applied | not)'",
                        ),
                )
                .subcommand(
                    Command::new("new")
                        .about("Make the files of a new migration, in a checkout's ./migrations/common")
                        .arg(Arg::new("NAME").required(true).help("Of a-z, 0-9 and _"))
                        .after_help("Example:\n  mesh-server migrate new room_topics"),
                ),
        )
        .subcommand(
            Command::new("config")
                .about("Print the settings in force, secrets masked")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON object"))
                .after_help("Examples:\n  mesh-server config\n  mesh-server config --json | jq -r .DATABASE_URL.value"),
        )
        // Each of them says what it takes when it is asked for (`defer`): a starting server asks for none.
        .subcommand(doctor::command())
        .subcommand(health::command())
        .subcommand(user::command())
        .subcommands(backup::commands())
        .subcommand(db::command())
        .subcommand(token::command())
        .subcommands(shell::commands())
        .subcommand(
            Command::new("openapi")
                .about("Print the REST interface's OpenAPI 3.1 document")
                .after_help("Example:\n  mesh-server openapi > openapi.json"),
        )
        .subcommand(bench::command())
}

/// Runs the command line; the process's exit status.
pub fn main() -> ExitCode {
    let outcome = if wants_server(std::env::args_os()) {
        settings(None).and_then(|(config, warnings)| start(config, &warnings))
    } else {
        run(&command().get_matches())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, message)) => {
            let _ = writeln!(std::io::stderr(), "mesh-server: {message}");
            ExitCode::from(status)
        }
    }
}

/// Is it a server that is asked for, and no flag given? Then the commands need not be described: that takes time, and
/// half a mebibyte which a running server would keep.
fn wants_server(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let mut given = arguments.skip(1);
    given.next().is_none_or(|command| command == "serve") && given.next().is_none()
}

type Outcome = Result<(), (u8, String)>;

fn failure(message: impl Into<String>) -> (u8, String) {
    (EXIT_FAILURE, message.into())
}

fn print(text: &str) -> Outcome {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(failure(format!("cannot print: {e}"))),
        _ => Ok(()),
    }
}

fn run(matches: &ArgMatches) -> Outcome {
    if let Some(("openapi", _)) = matches.subcommand() {
        let document = http::openapi().to_pretty_json().map_err(|e| failure(e.to_string()))?;
        return print(&format!("{document}\n"));
    }
    match matches.subcommand() {
        Some(("man", sub)) => return shell::man(command(), sub),
        Some(("completions", sub)) => return shell::completions(command(), sub),
        // `bench seed` fills the house's own database, so it wants the settings.
        Some(("bench", sub)) if sub.subcommand().is_none() => return bench::run(sub),
        _ => {}
    }
    if let Some(("backup", sub)) = matches.subcommand()
        && let Some(("verify", sub)) = sub.subcommand()
    {
        return backup::verify(sub);
    }
    if let Some(("db", sub)) = matches.subcommand() {
        return db::run(sub);
    }
    if let Some(("migrate", sub)) = matches.subcommand()
        && let Some(("new", sub)) = sub.subcommand()
    {
        let name = sub.get_one::<String>("NAME").map(String::as_str).unwrap_or_default();
        return print(&new_migration(Path::new("migrations"), name).map_err(failure)?);
    }
    let (config, warnings) = settings(Some(matches))?;
    match matches.subcommand() {
        Some(("config", sub)) => {
            print(&if sub.get_flag("json") { config.dump_json() } else { config.dump() })?;
            warnings
                .iter()
                .try_for_each(|w| writeln!(std::io::stderr(), "mesh-server: {w}"))
                .map_err(|e| failure(e.to_string()))
        }
        Some(("doctor", sub)) => doctor::run(&config, &warnings, sub),
        Some(("healthcheck", sub)) => health::run(&config, sub),
        Some(("migrate", sub)) => migrate(&config, sub),
        Some(("backup", sub)) => backup::backup(&config, sub),
        Some(("restore", sub)) => backup::restore(&config, sub),
        Some(("user", sub)) => user::run(&config, sub),
        Some(("token", sub)) => token::run(&config, sub),
        Some(("bench", sub)) => bench::prepare(&config, sub),
        _ => start(config, &warnings),
    }
}

/// The settings in force, and what is to be said of them.
fn settings(flags: Option<&ArgMatches>) -> Result<(Config, Vec<String>), (u8, String)> {
    Config::load(flags, config::process_env(), Path::new(".env")).map_err(|e| (EXIT_CONFIG, e.to_string()))
}

fn start(config: Config, warnings: &[String]) -> Outcome {
    config.unsupported().map_err(|e| (EXIT_CONFIG, e.to_string()))?;
    // Read again by the server; here the mistake is still one of the settings.
    Tls::load(&config).map_err(|e| (EXIT_CONFIG, e.to_string()))?;
    serve(config, warnings)
}

fn log(config: &Config) {
    // The settings were read: it is one.
    let filter = config.log_level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    let begun = tracing_subscriber::registry().with(filter).with(lines).try_init();
    // Somebody else's subscriber is as good.
    drop(begun);
}

fn runtime() -> Result<tokio::runtime::Runtime, (u8, String)> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| failure(format!("cannot start the runtime: {e}")))
}

/// Each connection is an open file, and systems begin low: as many as this process is allowed.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, what there was stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Puts this thread, and those that it starts, in Linux' batch class: one that is woken lets whoever runs finish its turn, so
/// that more is done at a time. Shares and the password threads' idle class stay as they are.
#[cfg(target_os = "linux")]
fn let_others_finish() {
    use thread_priority::{
        NormalThreadSchedulePolicy::{Batch, Other},
        ThreadPriority, ThreadPriorityValue,
        ThreadSchedulePolicy::Normal,
    };
    /// What the library takes for a nice value of 0.
    const NOT_NICE: u8 = 47;
    // Whoever chose a class or a nice value, which the library sets as well, for this process knows better.
    let chosen = thread_priority::thread_schedule_policy() != Ok(Normal(Other));
    if chosen || rustix::process::getpriority_process(None) != Ok(0) {
        return;
    }
    let Ok(priority) = ThreadPriorityValue::try_from(NOT_NICE) else { return };
    let thread = thread_priority::thread_native_id();
    let set =
        thread_priority::set_thread_priority_and_policy(thread, ThreadPriority::Crossplatform(priority), Normal(Batch));
    if let Err(e) = set {
        tracing::debug!(error = &e as &dyn std::error::Error, "not of the batch class");
    }
}

fn serve(config: Config, warnings: &[String]) -> Outcome {
    log(&config);
    #[cfg(target_os = "linux")]
    let_others_finish();
    raise_open_files();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime()?;
    let well = runtime.block_on(async {
        // Heard from the first moment: a signal that nobody hears ends a process without a word.
        let mut signals = Signals::listen().map_err(|e| failure(format!("signals cannot be heard: {e}")))?;
        let server = tokio::select! {
            started = lifecycle::start(config, Clock::System) => started.map_err(failure)?,
            () = signals.next() => {
                tracing::info!("stopped before it listened");
                return Ok(true);
            }
        };
        let tasks = server.app.tasks.clone();
        if let Some(hangups) = signals.hangups.take() {
            let (tasks, tls) = (tasks.clone(), server.tls.clone());
            server.app.tasks.spawn("hangups", async move { hear_hangups(hangups, &tasks, tls.as_deref()).await });
        }
        server.app.tasks.spawn("systemd", Systemd::from_env(config::process_env()).attend(tasks.clone()));
        let drain = Duration::from_secs(u64::from(server.app.config.drain_seconds));
        server.app.tasks.spawn("signals", async move {
            let stopped = tasks.clone();
            tokio::select! {
                () = signals.obey(&tasks, drain) => {}
                () = stopped.hard_stop() => {}
            }
        });
        Ok(server.run().await)
    })?;
    // What hangs in a blocking thread does not hold the end up.
    runtime.shutdown_background();
    if well { Ok(()) } else { Err(failure("stopped because a part of the server died; the log says which")) }
}

/// SIGHUP: what can be read again without a restart is.
async fn hear_hangups(mut hangups: Signal, tasks: &Tasks, tls: Option<&Tls>) {
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            () = tasks.hard_stop() => return,
        }
        match tls {
            Some(tls) => tls.look_again(),
            None => tracing::info!("SIGHUP: there is no TLS certificate to read again; other settings need a restart"),
        }
    }
}

/// SIGTERM and SIGINT; SIGHUP.
struct Signals {
    term: Signal,
    int: Signal,
    /// A file that may not grow any more is an error of the write, not the end of the process.
    _xfsz: Signal,
    /// Not heard where a terminal is: one that hangs up ends what runs in it.
    hangups: Option<Signal>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let xfsz = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        let hangups = if terminal { None } else { Some(signal(SignalKind::hangup())?) };
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { term, int, _xfsz: signal(xfsz)?, hangups })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// The first stops in order, the second at once. While a stop is only announced, the second lets it begin.
    async fn obey(&mut self, tasks: &crate::tasks::Tasks, drain: Duration) {
        self.next().await;
        tasks.announce_stop();
        if !drain.is_zero() {
            tracing::info!(seconds = drain.as_secs(), "will stop: no more work is wanted");
            let _ = tokio::time::timeout(drain, self.next()).await;
        }
        tasks.stop_softly();
        self.next().await;
        tracing::warn!("stopping at once");
        #[allow(clippy::disallowed_methods, reason = "a second signal asks for just this")]
        std::process::exit(i32::from(EXIT_FAILURE));
    }
}

fn migrate(config: &Config, sub: &ArgMatches) -> Outcome {
    if config.database_url == DatabaseUrl::SqliteMemory {
        return Err(failure("DATABASE_URL names a database in memory: there is nothing to migrate"));
    }
    let db = Db::open(&config.database_url, Arc::new(|_| {})).map_err(failure)?;
    let now = Clock::System.now_ms();
    let runtime = runtime()?;
    let told = |e: crate::error::Error| failure(e.for_operator());
    let lines = match sub.subcommand() {
        Some(("up", _)) => {
            let done = runtime.block_on(db.write(0, move |tx| migrate::up(tx, now))).map_err(told)?;
            done.iter().map(|name| format!("applied {name}\n")).collect()
        }
        Some(("down", sub)) => {
            let steps = sub.get_one::<u32>("STEPS").copied().unwrap_or(1) as usize;
            let lose = sub.get_flag("yes");
            let done = runtime.block_on(db.write(0, move |tx| migrate::down(tx, steps, lose))).map_err(told)?;
            done.iter().map(|name| format!("took back {name}\n")).collect()
        }
        Some((_, sub)) if sub.get_flag("json") => {
            let all = runtime.block_on(db.write(0, migrate::status)).map_err(told)?;
            let all = all
                .into_iter()
                .map(|(m, applied)| serde_json::json!({"version": m.version, "name": m.name, "applied": applied}));
            format!("{:#}\n", all.collect::<serde_json::Value>())
        }
        _ => runtime
            .block_on(db.write(0, |tx| {
                let lines = migrate::status(tx)?.into_iter().map(|(m, applied)| {
                    format!("{:04}  {}  {}\n", m.version, if applied { "applied" } else { "missing" }, m.name)
                });
                Ok(lines.collect::<String>())
            }))
            .map_err(told)?,
    };
    print(if lines.is_empty() { "nothing to do\n" } else { &lines })
}

/// Makes a migration's two files with the next free number.
fn new_migration(root: &Path, name: &str) -> Result<String, String> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !fits {
        return Err(format!("{name:?}: a migration's name consists of a-z, 0-9 and '_'"));
    }
    let mut newest = 0;
    for dialect in ["common", "sqlite", "postgres"] {
        let folder = root.join(dialect);
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}; run it in a checkout", folder.display()))?;
        for entry in entries.flatten() {
            let file = entry.file_name();
            let number = file.to_str().and_then(|f| f.split_once('_')).and_then(|(n, _)| n.parse::<u32>().ok());
            newest = newest.max(number.unwrap_or(0));
        }
    }
    let stem = root.join("common").join(format!("{:04}_{name}", newest + 1));
    let mut out = String::new();
    for (suffix, text) in
        [("up", "-- The way there.\n"), ("down", "-- The way back. First line `-- loses: …` where data is lost.\n")]
    {
        let path = stem.with_extension(format!("{suffix}.sql"));
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        out.push_str(&format!("{}\n", path.display()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_server_is_asked_for_without_a_flag() {
        let wants = |line: &str| wants_server(line.split_whitespace().map(std::ffi::OsString::from));
        assert!(wants("mesh-server") && wants("mesh-server serve"));
        for other in ["serve --port 1", "--port 1", "--help", "server", "serve serve", "doctor", "-- serve"] {
            assert!(!wants(&format!("mesh-server {other}")), "{other}");
        }
    }
}
