//! `mesh-server token`: makes an access token for somebody, and tells what a token says and whether it is valid.

use std::io::Read as _;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Arg, ArgMatches, Command};
use mesh_protocol::{SessionId, Timestamp};
use serde_json::{Value, json};

use super::{EXIT_CONFIG, Outcome, database::Database, failure, print};
use crate::{
    clock::Clock,
    config::{Config, DatabaseUrl, load_or_create_secret},
    ids::Ids,
    keys::Keys,
    service::audit::action,
    store::{self, audit::Target, sessions::NewSession},
};

/// A month: whoever needs longer wants a token of another kind.
const MAX_MINUTES: i64 = 30 * 24 * 60;
/// Longer than any token.
const MAX_INPUT: u64 = 64 * 1024;

pub(super) fn command() -> Command {
    Command::new("token").about("Make an access token, or look into one").defer(described)
}

fn described(new: Command) -> Command {
    new
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Examples:\n  mesh-server token mint ana --minutes 5\n  mesh-server token mint ana | mesh-server token inspect -",
        )
        .subcommand(
            Command::new("mint")
                .about("Log somebody in and print the access token alone")
                .arg(Arg::new("NAME").required(true).help("The account's user name, in any case"))
                .arg(
                    Arg::new("minutes")
                        .long("minutes")
                        .value_name("N")
                        .value_parser(clap::value_parser!(i64).range(1..=MAX_MINUTES))
                        .help("How long it lives [default: MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES]"),
                )
                .after_help(
                    "The login behind it ends with the token, or before: by logout, by `user disable`, by a new \
                     password. It needs the secret and MESH_PUBLIC_URL of the server.\n\nExample:\n  \
                     curl -H \"Authorization: Bearer $(mesh-server token mint ana)\" http://localhost:8000/api/auth/me",
                ),
        )
        .subcommand(
            Command::new("inspect")
                .about("Print a token's header and claims, and whether this server takes it")
                .arg(Arg::new("TOKEN").default_value("-").help("The token; - reads it from standard input"))
                .after_help(
                    "The verdict is one of valid, expired, revoked, foreign; the exit status is 0 for valid, else 1.\n\n\
                     Example:\n  mesh-server token inspect - < token.txt",
                ),
        )
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Outcome {
    match matches.subcommand() {
        Some(("mint", sub)) => mint(config, sub),
        Some((_, sub)) => inspect(config, sub),
        None => Ok(()),
    }
}

fn keys(config: &Config) -> Result<(Keys, Ids), (u8, String)> {
    let (secret, _) = load_or_create_secret(config).map_err(|e| (EXIT_CONFIG, e.to_string()))?;
    let ids = Ids::new(Clock::System);
    let keys = Keys::load(config, &secret, &ids).map_err(|e| (EXIT_CONFIG, e))?;
    Ok((keys, ids))
}

fn mint(config: &Config, sub: &ArgMatches) -> Outcome {
    let name = sub.get_one::<String>("NAME").map(String::as_str).unwrap_or_default();
    let minutes = sub.get_one::<i64>("minutes").copied().unwrap_or_else(|| i64::from(config.access_token_minutes));
    let database = Database::open(config)?;
    let account = database.user(name)?;
    if account.disabled {
        return Err(failure(format!("{} is disabled", account.user.username)));
    }
    let (keys, ids) = keys(config)?;
    let (id, user, trail) = (SessionId::new(ids.uuid()), account.user.id, database.trail());
    let (now, seconds) = (trail.now, minutes * 60);
    let token = keys.access_token(&ids, user, id, now / 1_000, seconds).map_err(|e| failure(e.for_operator()))?;
    // No refresh token has this hash.
    let no_hash = format!("none-{}-{}", ids.uuid().simple(), ids.uuid().simple());
    database.write(move |tx| {
        let new = NewSession {
            id,
            user,
            refresh_hash: &no_hash,
            refresh_nonce: "",
            user_agent: Some("mesh-server token mint"),
            ip: "(command line)",
            now,
            expires_at: now + seconds * 1_000,
        };
        store::sessions::insert(tx, &new)?;
        let target = Target { kind: "session", id: &id.to_string(), name: Some(&account.user.username) };
        store::audit::record(tx, &trail, action::TOKEN_MINTED, Some(target), Some(&json!({"minutes": minutes})))
    })?;
    print(&format!("{token}\n"))
}

/// A part of a token, as it stands; null where it cannot be read.
fn part(token: &str, index: usize) -> Value {
    let bytes = token.split('.').nth(index).and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn inspect(config: &Config, sub: &ArgMatches) -> Outcome {
    let mut token = sub.get_one::<String>("TOKEN").cloned().unwrap_or_default();
    if token == "-" {
        token.clear();
        let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut token);
        read.map_err(|e| failure(format!("cannot read the token: {e}")))?;
    }
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let (header, claims) = (part(token, 0), part(token, 1));
    if !header.is_object() || !claims.is_object() {
        return Err(failure("this is no token: it has no header and claims"));
    }
    let (keys, _) = keys(config)?;
    let now = Clock::System.now_ms();
    let judged = if header["typ"] == "mesh-cap+jwt" {
        keys.verify_capability(token, now / 1_000).map(|_| None)
    } else {
        keys.verify_access(token, now / 1_000).map(|access| Some(access.session))
    };
    let verdict = match judged {
        Err(e) if e.code == "token_expired" => "expired",
        Err(_) => "foreign",
        Ok(Some(session)) if config.database_url != DatabaseUrl::SqliteMemory => {
            let live = Database::open(config)?.write(move |tx| store::sessions::live(tx, session))?;
            if live.is_some() { "valid" } else { "revoked" }
        }
        Ok(_) => "valid",
    };
    let time = |name: &str| claims[name].as_i64().map(|s| Timestamp::from_millis(s.saturating_mul(1_000)));
    let told = json!({
        "verdict": verdict,
        "header": header,
        "claims": claims,
        "issued_at": time("iat"),
        "expires_at": time("exp"),
    });
    let text = serde_json::to_string_pretty(&told).map_err(|e| failure(e.to_string()))?;
    print(&format!("{text}\n"))?;
    match verdict {
        "valid" => Ok(()),
        "expired" => Err(failure("the token has ended")),
        "revoked" => Err(failure("the login behind the token has ended, or its account is disabled")),
        _ => Err(failure("the token is not one of this server's: another key, issuer or type, or not whole")),
    }
}
