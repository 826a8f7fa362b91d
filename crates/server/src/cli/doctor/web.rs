//! Whether the public URL leads to this server, and its proxy lets WebSockets through.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use mesh_protocol::{SessionId, UserId};
use reqwest::{
    Response, StatusCode,
    header::{CONNECTION, DATE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{CALL, Check, Foreign, Office, Trouble, trouble};
use crate::{
    config::load_or_create_secret,
    keys::Keys,
    outbound::{self, why},
    realtime::frame::accept_key,
    service::info::VERSION,
};

/// More than any answer that is asked for here, bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// The close code for a credential.
const CREDENTIAL: u16 = 4401;

/// An answer's body, as far as it is of a sane length; empty where it is not.
pub(super) async fn body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Vec::new();
        }
    }
    body
}

/// By how much an answer's `Date` is ahead of our clock, milliseconds.
pub(super) fn ahead(response: &Response, asked_ms: i64, now_ms: i64) -> Option<i64> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?.as_millisecond();
    // A `Date` has no fractions: on average half a second is missing.
    Some(theirs + 500 - asked_ms.midpoint(now_ms))
}

fn unreachable(url: &str, error: &reqwest::Error) -> Trouble {
    let words = why(error);
    let mend = if words.contains("certificate") {
        "give the proxy a certificate of a known authority for this very name, with its intermediates"
    } else {
        "start the server and its proxy, mend MESH_PUBLIC_URL or the name's DNS entry, and open the port in the firewall"
    };
    trouble(format!("{url} cannot be reached from here: {words}"), mend)
}

/// Says what else than a plain answer came.
fn strange(url: &str, response: &Response) -> Option<Trouble> {
    let status = response.status();
    if status.is_redirection() {
        let place = response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).unwrap_or("nowhere");
        let sentence = format!("{url} redirects to {place}");
        return Some(trouble(sentence, "set MESH_PUBLIC_URL to where clients end up, without a redirect on the way"));
    }
    if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
        let sentence = format!("{url}: a proxy answers ({}), the server behind it does not", status.as_u16());
        return Some(trouble(sentence, "start the server; compare the proxy's upstream with MESH_HOST and MESH_PORT"));
    }
    None
}

fn code(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(body).ok()?.get("code")?.as_str().map(str::to_owned)
}

/// Whether the one who answers takes what this machine's secret signs: an access token that ended an hour ago is refused
/// as ended by who has the secret, as foreign by everybody else.
async fn same_secret(office: &Office<'_>, client: &reqwest::Client, base: &str) -> Result<&'static str, Trouble> {
    if !office.config.can_sign() {
        return Ok("whose secret it has is not known: none is made here yet");
    }
    let unusable = |e: String| trouble(format!("this machine's keys cannot be used: {e}"), "mend that first");
    let (secret, _) = load_or_create_secret(office.config).map_err(|e| unusable(e.to_string()))?;
    let keys = Keys::load(office.config, &secret, &office.ids).map_err(unusable)?;
    let (user, session) = (UserId::new(office.ids.uuid()), SessionId::new(office.ids.uuid()));
    let began = office.clock.now_ms() / 1000 - 3660;
    let token = keys.access_token(&office.ids, user, session, began, 60).map_err(|e| unusable(e.for_operator()))?;
    let url = format!("{base}/api/auth/me");
    let response = client.get(&url).bearer_auth(token).send().await.map_err(|e| unreachable(&url, &e))?;
    let status = response.status();
    let answer = body(response).await;
    match (status, code(&answer).as_deref()) {
        (StatusCode::UNAUTHORIZED, Some("token_expired")) => Ok("it has this machine's secret"),
        (StatusCode::UNAUTHORIZED, Some("token_missing")) => Err(trouble(
            format!("{base}: the proxy takes the header Authorization away"),
            "have the proxy pass Authorization on",
        )),
        (StatusCode::UNAUTHORIZED, Some(_)) => Err(trouble(
            format!("{base} answers as a Mesh Server with another secret, other keys or another MESH_PUBLIC_URL"),
            "run the doctor in the server's folder with its settings; else the proxy leads to another server",
        )),
        (status, _) => Err(trouble(
            format!("{url} answers {} and not as this server does", status.as_u16()),
            "take logins and rules of its own off the proxy for /api, or have it pass the whole path on",
        )),
    }
}

async fn reach(office: &Office<'_>, foreign: &mut Option<Foreign>) -> Result<String, Trouble> {
    let base = &office.config.public_url;
    let client = outbound::client(base, CALL)
        .map_err(|e| trouble(e, "install the system's root certificates (on Debian: ca-certificates)"))?;
    let url = format!("{base}/health");
    let asked = office.clock.now_ms();
    let response = client.get(&url).send().await.map_err(|e| unreachable(&url, &e))?;
    let ahead_ms = ahead(&response, asked, office.clock.now_ms());
    *foreign = ahead_ms.map(|ahead_ms| Foreign { whose: "the public URL", ahead_ms });
    if let Some(trouble) = strange(&url, &response) {
        return Err(trouble);
    }
    let status = response.status();
    let health: Option<Value> = serde_json::from_slice(&body(response).await).ok();
    let url = format!("{base}/api/info");
    let response = client.get(&url).send().await.map_err(|e| unreachable(&url, &e))?;
    let info: Option<Value> = serde_json::from_slice(&body(response).await).ok();
    let version = info.as_ref().filter(|i| i["name"] == "Mesh Server").and_then(|i| i["version"].as_str());
    let (StatusCode::OK, true, Some(version)) = (status, health.is_some_and(|h| h["status"] == "ok"), version) else {
        let sentence = format!("{base} is answered by something that is no Mesh Server (/health: {})", status.as_u16());
        return Err(trouble(
            sentence,
            "mend MESH_PUBLIC_URL, or have the proxy lead to the server, with the whole path",
        ));
    };
    let version: String = version.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    let secret = same_secret(office, &client, base).await?;
    let note = if version == VERSION { String::new() } else { format!(" (this binary is {VERSION})") };
    Ok(format!("{base} answers as this server, version {version}{note}; {secret}"))
}

/// Whether the public URL leads here, and the time there.
pub(super) async fn public_url(office: &Office<'_>) -> (Check, Option<Foreign>) {
    const NAME: &str = "public_url";
    let mut foreign = None;
    let check = super::in_time(NAME, async { Check::of(NAME, reach(office, &mut foreign).await) }).await;
    (check, foreign)
}

const PASS_UPGRADES: &str = "have the proxy speak HTTP/1.1 to the server and pass Upgrade and Connection on (nginx: \
proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\")";

async fn upgrade(office: &Office<'_>) -> Result<String, Trouble> {
    let base = &office.config.public_url;
    let client = outbound::client(base, CALL)
        .map_err(|e| trouble(e, "install the system's root certificates (on Debian: ca-certificates)"))?;
    let url = format!("{base}/ws");
    let key = BASE64_STANDARD.encode(office.ids.random::<16>());
    let request = client
        .get(&url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(|e| unreachable(&url, &e))?;
    if let Some(trouble) = strange(&url, &response) {
        return Err(trouble);
    }
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let code = code(&body(response).await);
        return Err(match code.as_deref() {
            Some("websocket_required") => {
                let sentence = format!("{url}: the server hears no upgrade; a proxy on the way takes it out");
                trouble(sentence, PASS_UPGRADES)
            }
            _ => {
                let sentence = format!("{url} answers {} instead of a WebSocket", status.as_u16());
                trouble(sentence, format!("have the proxy pass /ws on to the server; {PASS_UPGRADES}"))
            }
        });
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|v| v.as_bytes().to_vec());
    if accept.as_deref() != Some(accept_key(&key).as_bytes()) {
        return Err(trouble(format!("{url}: the WebSocket's handshake was changed on the way"), PASS_UPGRADES));
    }
    let silent = || trouble(format!("{url} upgrades, but nothing of the WebSocket comes through"), PASS_UPGRADES);
    let mut socket = response.upgrade().await.map_err(|_| silent())?;
    match tokio::time::timeout(CALL, closing(&mut socket)).await {
        Ok(Some((CREDENTIAL, reason))) if reason == "token_missing" => {
            Ok(format!("{url} upgrades to a WebSocket, and closes it as it should where no token is given"))
        }
        Ok(Some((code, _))) => {
            let sentence = format!("{url}: the WebSocket was closed with {code} where 4401 was to be expected");
            Err(trouble(
                sentence,
                "take logins and rules of its own off the proxy for /ws, and look that it leads here",
            ))
        }
        _ => Err(silent()),
    }
}

/// The code and reason of the close frame that is to come first (RFC 6455, section 5.5.1).
async fn closing(socket: &mut (impl AsyncRead + Unpin)) -> Option<(u16, String)> {
    const CLOSE: u8 = 0x88;
    let mut head = [0; 2];
    socket.read_exact(&mut head).await.ok()?;
    // A server does not mask, and a control frame has 125 bytes at most.
    if head[0] != CLOSE || !(2..=125).contains(&head[1]) {
        return None;
    }
    let mut payload = vec![0; usize::from(head[1])];
    socket.read_exact(&mut payload).await.ok()?;
    let (code, reason) = payload.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
}

/// Whether a WebSocket gets through.
pub(super) async fn websocket(office: &Office<'_>) -> Check {
    Check::of("websocket", upgrade(office).await)
}
