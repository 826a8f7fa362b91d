//! Parsers of single values. Each error is the text after `NAME=value: `, and says what is accepted.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tracing_subscriber::filter::Targets;

use super::cidr::Cidr;
use super::values::{CorsOrigins, JwtAlgorithm, LogFormat, Registration, Secret, TurnTransport};
use crate::domain::push::PushContent;

/// A parsed value, or what is accepted instead.
pub(super) type Parsed<T> = Result<T, String>;

/// Longest host name that DNS knows.
const MAX_HOST: usize = 253;

/// HS256 wants a key of at least 256 bits; shorter ones can be guessed offline from any token.
pub(super) const MIN_JWT_SECRET: usize = 32;

/// A whole number within bounds.
pub(super) fn number<T>(text: &str, min: T, max: T) -> Parsed<T>
where
    T: FromStr + PartialOrd + Display,
{
    let parsed = text.parse::<T>().ok().filter(|n| *n >= min && *n <= max);
    parsed.ok_or_else(|| format!("expected a whole number from {min} to {max}"))
}

/// A port to listen on; 0 lets the system choose one.
pub(super) fn listen_port(text: &str) -> Parsed<u16> {
    text.parse().map_err(|_| {
        let expected = "expected a port number from 0 to 65535";
        if text.starts_with("tcp://") {
            // Kubernetes gives every pod NAME_PORT=tcp://… for each service of its namespace
            format!("{expected}; Kubernetes sets this for a service named mesh: set enableServiceLinks: false")
        } else {
            expected.to_owned()
        }
    })
}

/// A port of another server.
pub(super) fn remote_port(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|p| *p != 0).ok_or_else(|| "expected a port number from 1 to 65535".to_owned())
}

/// An address to listen on.
pub(super) fn listen_host(text: &str) -> Parsed<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.parse().map_err(|_| "expected an IP address, such as 0.0.0.0, 127.0.0.1 or ::".to_owned())
}

/// An address with a port.
pub(super) fn socket(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "expected an IP address and port, such as 127.0.0.1:9090 or [::1]:9090".to_owned())
}

/// One of a closed set of names, whatever their case.
fn choice<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Parsed<T> {
    let found = all.iter().copied().find(|v| name(*v).eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("expected one of {}", all.iter().map(|v| name(*v)).collect::<Vec<_>>().join(", ")))
}

pub(super) fn jwt_algorithm(text: &str) -> Parsed<JwtAlgorithm> {
    choice(text, &JwtAlgorithm::ALL, JwtAlgorithm::as_str)
}

/// Whether something is done.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    choice(text, &[true, false], |on| if on { "on" } else { "off" })
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    choice(text, &LogFormat::ALL, LogFormat::as_str)
}

pub(super) fn push_content(text: &str) -> Parsed<PushContent> {
    choice(text, &PushContent::ALL, PushContent::as_str)
}

/// An address whose last part is a topic of ntfy's.
pub(super) fn ntfy_url(text: &str) -> Parsed<String> {
    let expected = || "expected the address of an ntfy topic, such as https://ntfy.example.org/topic".to_owned();
    let url = http_url(text).map_err(|_| expected())?;
    let (_, place) = url.split_once("://").ok_or_else(expected)?;
    let topic = place.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default();
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&topic.len()) && topic.bytes().all(known) { Ok(url) } else { Err(expected()) }
}

pub(super) fn registration(text: &str) -> Parsed<Registration> {
    choice(text, &Registration::ALL, Registration::as_str)
}

/// The secret that signs tokens.
pub(super) fn jwt_secret(text: &str) -> Parsed<Secret> {
    if text.chars().count() < MIN_JWT_SECRET {
        return Err(format!("expected at least {MIN_JWT_SECRET} characters"));
    }
    Ok(Secret::new(text))
}

/// Values by comma; empty ones are skipped, and at least one must remain.
fn list<T>(text: &str, what: &str, item: impl Fn(&str) -> Option<T>) -> Parsed<Vec<T>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let items: Option<Vec<T>> = parts.map(item).collect();
    items.filter(|items| !items.is_empty()).ok_or_else(|| format!("expected {what}"))
}

pub(super) fn secrets(text: &str) -> Parsed<Vec<Secret>> {
    list(text, "one or more secrets by comma", |part| Some(Secret::new(part)))
}

pub(super) fn turn_transports(text: &str) -> Parsed<Vec<TurnTransport>> {
    let mut transports = list(text, "udp, tcp, or both by comma", |part| {
        TurnTransport::ALL.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(part))
    })?;
    let mut seen = Vec::new();
    transports.retain(|transport| {
        !seen.contains(transport) && {
            seen.push(*transport);
            true
        }
    });
    Ok(transports)
}

pub(super) fn proxies(text: &str) -> Parsed<Vec<Cidr>> {
    list(text, "addresses or CIDRs by comma, such as 10.0.0.0/8,::1", Cidr::parse)
}

pub(super) fn stun_urls(text: &str) -> Parsed<Vec<String>> {
    list(text, "STUN addresses by comma, such as stun:stun.example.org:3478", |part| {
        let (scheme, place) = part.split_once(':')?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "stun" && scheme != "stuns" {
            return None;
        }
        authority(place).map(|_| format!("{scheme}:{place}"))
    })
}

pub(super) fn cors_origins(text: &str) -> Parsed<CorsOrigins> {
    if text.split(',').any(|part| part.trim() == "*") {
        return Ok(CorsOrigins::Any);
    }
    list(text, "* or origins by comma, such as https://chat.example.org (no path)", |part| {
        let (scheme, place) = part.trim_end_matches('/').split_once("://")?;
        let mut chars = scheme.chars();
        let named = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        authority(place)?;
        named.then(|| origin(scheme, place))
    })
    .map(CorsOrigins::List)
}

/// The origin as browsers write it: lower case, without the scheme's own port.
fn origin(scheme: &str, place: &str) -> String {
    let scheme = scheme.to_ascii_lowercase();
    let place = place.to_ascii_lowercase();
    let own = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let place = if own.is_empty() { &place } else { place.strip_suffix(own).unwrap_or(&place) };
    format!("{scheme}://{place}")
}

/// The origin of a URL that [`http_url`] returned.
pub(super) fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let place = rest.split_once('/').map_or(rest, |(place, _)| place);
    origin(scheme, place)
}

/// An `http://` or `https://` URL without parameters, fragment or password; the trailing slash is dropped.
pub(super) fn http_url(text: &str) -> Parsed<String> {
    let expected =
        || "expected an http:// or https:// address without ?parameters, such as https://chat.example.org".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(expected());
    }
    let (place, path) = match rest.split_once('/') {
        Some((place, path)) => (place, format!("/{path}")),
        None => (rest, String::new()),
    };
    // what a path may hold unescaped (RFC 3986)
    let clean = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b));
    if authority(place).is_none() || !clean {
        return Err(expected());
    }
    Ok(format!("{scheme}://{}{}", place.to_ascii_lowercase(), path.trim_end_matches('/')))
}

/// A NATS address; the credentials in it are nobody's business but the client's.
pub(super) fn bus_url(text: &str) -> Parsed<Secret> {
    let place = text.split_once("://").filter(|(scheme, _)| ["nats", "tls"].contains(scheme)).map(|(_, rest)| rest);
    let place = place.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, place)| place).trim_end_matches('/'));
    match place.and_then(authority) {
        Some(_) => Ok(Secret::new(text)),
        None => Err("expected a NATS address, such as nats://nats.example.org:4222".to_owned()),
    }
}

/// A host name or address alone. IPv6 gets its brackets, so that `host:port` can be written from it.
pub(super) fn host(text: &str) -> Parsed<String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]"));
    }
    match authority(text) {
        Some(None) => Ok(text.to_ascii_lowercase()),
        _ => Err("expected a host name or IP address alone, such as turn.example.org".to_owned()),
    }
}

/// Checks `host` or `host:port`, and yields the port if there is one.
fn authority(text: &str) -> Option<Option<u16>> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            inside.parse::<Ipv6Addr>().ok()?;
            (None, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if host.is_some_and(|host| !is_host_name(host)) {
        return None;
    }
    match port {
        None => Some(None),
        Some(port) => remote_port(port).ok().map(Some),
    }
}

fn is_host_name(text: &str) -> bool {
    text.len() <= MAX_HOST
        && text.split('.').all(|label| !label.is_empty() && !label.starts_with('-'))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// A level, or a filter by target and level (`Targets` of `tracing-subscriber`); returned as a filter.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let expected =
        || "expected DEBUG, INFO, WARNING, ERROR, TRACE or a filter such as info,mesh_server=debug".to_owned();
    let parts = text.split(',').map(|part| {
        let part = part.trim();
        match part.to_ascii_lowercase().as_str() {
            "warn" | "warning" => Ok("warn".to_owned()),
            level @ ("trace" | "debug" | "info" | "error" | "off") => Ok(level.to_owned()),
            // A bare word would be a target at TRACE: `LOG_LEVEL=VERBOSE` silences everything, and nobody means that.
            _ if !part.contains('=') => Err(expected()),
            _ => Ok(part.to_owned()),
        }
    });
    let filter = parts.collect::<Result<Vec<_>, _>>()?.join(",");
    filter.parse::<Targets>().map_err(|_| expected())?;
    Ok(filter)
}

/// A text that is taken as it stands.
pub(super) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

/// `name=value`, several by comma; values are percent-encoded (W3C Baggage, as OpenTelemetry has it).
pub(super) fn headers(text: &str) -> Parsed<Vec<(String, Secret)>> {
    let expected = || "expected name=value, several by comma, such as authorization=Bearer%20TOKEN".to_owned();
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or_else(expected)?;
        let name = name.trim().to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let value = percent_decoded(value.trim()).ok_or_else(expected)?;
        let fits = !name.is_empty() && name.bytes().all(is_token) && !value.chars().any(char::is_control);
        if fits { Ok((name, Secret::new(value))) } else { Err(expected()) }
    };
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(one).collect()
}

/// RFC 3986, section 2.1.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).and_then(|n| u8::try_from(n).ok());
        out.push(if byte == b'%' { digit(rest.next())? << 4 | digit(rest.next())? } else { byte });
    }
    String::from_utf8(out).ok()
}

/// A share from 0 to 1, in millionths.
pub(super) fn share(text: &str) -> Parsed<u32> {
    let parsed = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000,000")]
    parsed.map(|share| (share * 1e6).round() as u32).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
