//! `mesh-server healthcheck`: asks the server that runs with the same settings whether it lives.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::{Outcome, failure, print, runtime};
use crate::{config::Config, outbound};

/// How long an answer may take, if nobody says otherwise, seconds.
const PATIENCE: &str = "5";

pub(super) fn command() -> Command {
    Command::new("healthcheck")
        .about("Ask the running server whether it lives; for Docker, and for scripts")
        .defer(described)
}

fn described(new: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    new
        .arg(flag("ready", "Whether it takes work (/ready), not only whether it lives (/health)"))
        .arg(flag("json", "As one JSON object"))
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .default_value(PATIENCE)
                .value_parser(clap::value_parser!(u64).range(1..=60))
                .help("How long the answer may take"),
        )
        .after_help(
            "It asks at MESH_HOST and MESH_PORT, by this machine's own address where the server listens on all, with TLS \
             where MESH_TLS_CERT is set.\nExit status: 0 where the answer is 200, 1 where it is another or none comes, 2 for \
             bad settings.\n\nExamples:\n  mesh-server healthcheck\n  mesh-server healthcheck --ready --json",
        )
}

/// Where the server of these settings is reached from its own machine.
fn place(config: &Config) -> SocketAddr {
    let host = match config.host {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, config.port)
}

async fn ask(url: &str, patience: Duration) -> Result<(u16, Option<String>), String> {
    let response = outbound::own_client(patience)?.get(url).send().await.map_err(|e| outbound::why(&e))?;
    let status = response.status().as_u16();
    let answer = response.bytes().await.map_err(|e| outbound::why(&e))?;
    let code = serde_json::from_slice::<Value>(&answer).ok().and_then(|v| v["code"].as_str().map(str::to_owned));
    Ok((status, code))
}

pub(super) fn run(config: &Config, sub: &ArgMatches) -> Outcome {
    if config.port == 0 {
        return Err(failure("MESH_PORT is 0, so that nobody but the server knows its port: set one"));
    }
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    let path = if sub.get_flag("ready") { "/ready" } else { "/health" };
    let url = format!("{scheme}://{}{path}", place(config));
    let patience = Duration::from_secs(sub.get_one::<u64>("timeout").copied().unwrap_or(1));
    let asked = runtime()?.block_on(ask(&url, patience));
    let well = matches!(asked, Ok((200, _)));
    let (status, code, error) = match asked {
        Ok((status, code)) => (Some(status), code, None),
        Err(e) => (None, None, Some(e)),
    };
    if sub.get_flag("json") {
        let told = json!({"well": well, "url": url, "status": status, "code": code, "error": error});
        print(&format!("{told}\n"))?;
    } else if well {
        print("ok\n")?;
    }
    if well {
        return Ok(());
    }
    let why = match (status, code, error) {
        (Some(status), Some(code), _) => format!("answers {status} {code}"),
        (Some(status), None, _) => format!("answers {status}"),
        (None, _, why) => why.unwrap_or_default(),
    };
    Err(failure(format!("{url}: {why}")))
}
