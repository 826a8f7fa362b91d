//! `mesh-server user`: accounts, straight in the database; a running server notices within a second.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Arg, ArgAction, ArgMatches, Command};
use mesh_protocol::{
    admin::{AdminUser, CreateUserRequest},
    model::UserRole,
    text::check_password,
};
use serde_json::json;

use super::{
    Outcome,
    database::{Database, absent},
    failure, print,
};
use crate::{
    config::Config,
    error::{Error, Kind},
    service::{
        farewell, totp,
        users::{Change, NewAccount, change},
    },
    store,
};

const PASSWORD_HELP: &str = "The password is read from standard input with --password-stdin, else asked for on a \
terminal, else made and printed once.";

fn name() -> Arg {
    Arg::new("NAME").required(true).help("The account's user name, in any case")
}

fn password_stdin() -> Arg {
    Arg::new("password-stdin")
        .long("password-stdin")
        .action(ArgAction::SetTrue)
        .help("Read the password from standard input, one line")
}

fn generate() -> Arg {
    Arg::new("generate")
        .long("generate")
        .action(ArgAction::SetTrue)
        .conflicts_with("password-stdin")
        .help("Make a password and print it once")
}

fn on_one(verb: &'static str, about: &'static str, example: &'static str) -> Command {
    Command::new(verb).about(about).arg(name()).after_help(example)
}

pub(super) fn command() -> Command {
    Command::new("user")
        .about("Manage accounts; works beside a running server, which notices within a second")
        .defer(described)
}

fn described(new: Command) -> Command {
    new
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Examples:\n  mesh-server user add ana --admin\n  mesh-server user list --json\n  \
             mesh-server user disable ben",
        )
        .subcommand(
            Command::new("add")
                .about("Make an account")
                .arg(name())
                .arg(Arg::new("admin").long("admin").action(ArgAction::SetTrue).help("Make it an administrator's"))
                .arg(Arg::new("email").long("email").value_name("ADDRESS").help("An address for mail"))
                .arg(Arg::new("display-name").long("display-name").value_name("TEXT").help("What the person is called"))
                .args([password_stdin(), generate()])
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("What was made as one JSON object"))
                .after_help(format!(
                    "{PASSWORD_HELP}\n\nExamples:\n  mesh-server user add ana --admin --email ana@example.org\n  \
                     mesh-server user add ben --password-stdin < password.txt\n  \
                     mesh-server user add bot --generate --json | jq -r .password"
                )),
        )
        .subcommand(
            Command::new("list")
                .about("List the accounts by name")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON array"))
                .after_help("Example:\n  mesh-server user list --json | jq '.[] | select(.disabled)'"),
        )
        .subcommand(
            Command::new("passwd")
                .about("Set an account's password and end its logins")
                .arg(name())
                .args([password_stdin(), generate()])
                .after_help(format!("{PASSWORD_HELP}\n\nExample:\n  mesh-server user passwd ana")),
        )
        .subcommand(on_one(
            "disable",
            "Shut an account and end its logins",
            "The last active administrator can't be disabled.\n\nExample:\n  mesh-server user disable ben",
        ))
        .subcommand(on_one(
            "enable",
            "Open a disabled account again",
            "Logins from before stay ended.\n\nExample:\n  mesh-server user enable ben",
        ))
        .subcommand(on_one(
            "delete",
            "Delete an account for ever; what it said stays, by an account without a name",
            "Rooms that it owns go to whoever stands highest and longest in them. The last active administrator can't be \
             deleted.\n\nExample:\n  mesh-server user delete ben",
        ))
        .subcommand(on_one("promote", "Make somebody an administrator", "Example:\n  mesh-server user promote ben"))
        .subcommand(on_one(
            "demote",
            "Make an administrator an ordinary user",
            "The last active administrator can't be demoted.\n\nExample:\n  mesh-server user demote ben",
        ))
        .subcommand(on_one(
            "reset-totp",
            "Take away a second factor that somebody has lost",
            "The next login asks for the password alone; what is logged in stays.\n\nExample:\n  \
             mesh-server user reset-totp ben",
        ))
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Outcome {
    let Some((verb, sub)) = matches.subcommand() else { return Ok(()) };
    match verb {
        "add" => add(config, sub),
        "list" => list(config, sub.get_flag("json")),
        "passwd" => {
            let (database, name) = (Database::open(config)?, named(sub));
            // Asked before anybody types a password for nothing.
            database.user(name)?;
            let password = Password::ask(sub, &database)?;
            let password_hash = Some(password.hash(config)?);
            changed(&database, name, Change { password_hash, ..Change::default() }, "has a new password")?;
            password.show()
        }
        "delete" => remove(config, named(sub)),
        "reset-totp" => reset_totp(config, named(sub)),
        "disable" => set(config, sub, Change { disabled: Some(true), ..Change::default() }, "is disabled"),
        "enable" => set(config, sub, Change { disabled: Some(false), ..Change::default() }, "is enabled"),
        "promote" => {
            set(config, sub, Change { role: Some(UserRole::Admin), ..Change::default() }, "is an administrator")
        }
        _ => set(config, sub, Change { role: Some(UserRole::User), ..Change::default() }, "is an ordinary user"),
    }
}

fn named(sub: &ArgMatches) -> &str {
    sub.get_one::<String>("NAME").map(String::as_str).unwrap_or_default()
}

fn add(config: &Config, sub: &ArgMatches) -> Outcome {
    let database = Database::open(config)?;
    let owned = |id: &str| sub.get_one::<String>(id).cloned();
    let mut request = CreateUserRequest {
        username: named(sub).to_owned(),
        // Checked for now, so that nobody types a password for nothing.
        password: "x".repeat(72),
        email: owned("email"),
        display_name: owned("display-name"),
        role: sub.get_flag("admin").then_some(UserRole::Admin),
    };
    NewAccount::check(&request).map_err(|e| told(&e))?;
    let password = Password::ask(sub, &database)?;
    request.password.clone_from(&password.text);
    let new = NewAccount::check(&request).map_err(|e| told(&e))?;
    let (hash, trail) = (password.hash(config)?, database.trail());
    let user = database.write(move |tx| new.create(tx, &trail, &hash))?;
    if sub.get_flag("json") {
        let mut told = json!({"id": user.id, "username": user.username, "role": user.role.as_str()});
        if password.made {
            told["password"] = password.text.into();
        }
        return print(&format!("{told:#}\n"));
    }
    print(&format!("{} is made: {}\n", user.username, user.role.as_str()))?;
    password.show()
}

/// An error with every field that is wrong.
fn told(error: &Error) -> (u8, String) {
    if error.kind != Kind::Invalid {
        return failure(error.for_operator());
    }
    let lines: Vec<_> = error.fields.iter().map(|f| format!("{} {}", f.field, f.message)).collect();
    failure(lines.join("; "))
}

fn set(config: &Config, sub: &ArgMatches, wanted: Change, what: &str) -> Outcome {
    changed(&Database::open(config)?, named(sub), wanted, what)
}

fn changed(database: &Database, name: &str, wanted: Change, what: &str) -> Outcome {
    let (trail, owned) = (database.trail(), name.to_owned());
    let changed = database.write(move |tx| {
        let account = store::users::by_name(tx, &owned)?.ok_or_else(|| absent(&owned))?;
        change(tx, &trail, account.user.id, &wanted)
    })?;
    print(&format!("{} {what}\n", changed.user.username))
}

fn remove(config: &Config, name: &str) -> Outcome {
    let database = Database::open(config)?;
    let (account, trail) = (database.user(name)?.user, database.trail());
    database.write(move |tx| farewell::delete(tx, &trail, account.id))?;
    print(&format!("{} is deleted\n", account.username))
}

fn reset_totp(config: &Config, name: &str) -> Outcome {
    let database = Database::open(config)?;
    let (trail, owned) = (database.trail(), name.to_owned());
    let name = database.write(move |tx| {
        let user = store::users::by_name(tx, &owned)?.ok_or_else(|| absent(&owned))?.user;
        totp::reset(tx, &trail, user.id)?;
        Ok(user.username)
    })?;
    print(&format!("{name} has no second factor any more\n"))
}

fn list(config: &Config, json: bool) -> Outcome {
    const AT_ONCE: usize = 500;
    let database = Database::open(config)?;
    let (mut users, mut after): (Vec<AdminUser>, _) = (Vec::new(), String::new());
    loop {
        let from = after.clone();
        let page =
            database.write(move |tx| store::admin::list(tx, &store::admin::Filter::default(), &from, AT_ONCE))?;
        let complete = page.len() < AT_ONCE;
        for (user, key) in page {
            users.push(user);
            after = key;
        }
        if complete {
            break;
        }
    }
    if json {
        let text = serde_json::to_string_pretty(&users).map_err(|e| failure(e.to_string()))?;
        return print(&format!("{text}\n"));
    }
    let mut text = format!("{:32}  {:5}  {:8}  {:24}  {}\n", "NAME", "ROLE", "STATE", "LAST SEEN", "EMAIL");
    for user in &users {
        let seen = user.last_seen_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let line = format!(
            "{:32}  {:5}  {:8}  {seen:24}  {}",
            user.username,
            user.role.as_str(),
            if user.disabled { "disabled" } else { "active" },
            user.email.as_deref().unwrap_or("-"),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    print(&text)
}

/// A password for somebody.
struct Password {
    text: String,
    /// It was made here, and nobody knows it yet.
    made: bool,
}

impl Password {
    fn ask(sub: &ArgMatches, database: &Database) -> Result<Self, (u8, String)> {
        let unreadable = |e: std::io::Error| failure(format!("cannot read the password: {e}"));
        let (text, made) = if sub.get_flag("password-stdin") {
            let mut text = String::new();
            // Longer than any that is allowed, so that its end is not cut off unseen.
            std::io::stdin().take(4_096).read_to_string(&mut text).map_err(unreadable)?;
            (text.lines().next().unwrap_or_default().to_owned(), false)
        } else if !sub.get_flag("generate") && std::io::stdin().is_terminal() {
            let text = prompt("Password: ").map_err(unreadable)?;
            if prompt("Again: ").map_err(unreadable)? != text {
                return Err(failure("the two are not the same"));
            }
            (text, false)
        } else {
            (BASE64_URL_SAFE_NO_PAD.encode(database.ids.random::<18>()), true)
        };
        check_password(&text).map_err(|e| failure(format!("the password {e}")))?;
        Ok(Self { text, made })
    }

    fn hash(&self, config: &Config) -> Result<String, (u8, String)> {
        bcrypt::hash(&self.text, config.bcrypt_cost).map_err(|e| failure(format!("cannot hash the password: {e}")))
    }

    fn show(&self) -> Outcome {
        if self.made { print(&format!("password: {}\n", self.text)) } else { Ok(()) }
    }
}

/// Asks on the terminal for something that is not shown.
fn prompt(words: &str) -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let mut stderr = std::io::stderr();
    stderr.write_all(words.as_bytes())?;
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &shown)?;
    stderr.write_all(b"\n")?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
