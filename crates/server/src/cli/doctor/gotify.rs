//! Whether Gotify answers and takes the token.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    CALL, Check, Foreign, Office, Trouble, trouble,
    web::{ahead, body},
};
use crate::outbound::{self, why};

const NAME: &str = "gotify";
const URL_MEND: &str = "start Gotify, or mend GOTIFY_URL: the address of its web page, without a path of the API";

async fn look(office: &Office<'_>, url: &str, foreign: &mut Option<Foreign>) -> Result<String, Trouble> {
    let client = outbound::client(url, CALL)
        .map_err(|e| trouble(e, "install the system's root certificates (on Debian: ca-certificates)"))?;
    let unreachable = |e: reqwest::Error| trouble(format!("{url} cannot be reached: {}", why(&e)), URL_MEND);
    let asked = office.clock.now_ms();
    let response = client.get(format!("{url}/health")).send().await.map_err(unreachable)?;
    let ahead_ms = ahead(&response, asked, office.clock.now_ms());
    *foreign = ahead_ms.map(|ahead_ms| Foreign { whose: "Gotify", ahead_ms });
    let status = response.status().as_u16();
    let health: Option<Value> = serde_json::from_slice(&body(response).await).ok();
    let Some(colour) = health.as_ref().and_then(|h| h["health"].as_str()) else {
        return Err(trouble(format!("{url} is answered by something that is no Gotify (/health: {status})"), URL_MEND));
    };
    if colour != "green" {
        let sentence = format!("{url} answers, but does not call itself well (/health: {status})");
        return Err(trouble(sentence, "look at Gotify's log and its database"));
    }
    let response = client.get(format!("{url}/version")).send().await.map_err(unreachable)?;
    let version: Option<Value> = serde_json::from_slice(&body(response).await).ok();
    let version = version.as_ref().and_then(|v| v["version"].as_str()).unwrap_or("unknown");
    let version: String = version.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    let Some(token) = &office.config.gotify_token else {
        return Ok(format!(
            "{url} answers (version {version}); no GOTIFY_TOKEN: only who sets a token of their own is told"
        ));
    };
    // A message without its text: who may send is told what is missing, and nothing is sent.
    let request = client.post(format!("{url}/message")).header("X-Gotify-Key", token.expose()).json(&json!({}));
    let status = request.send().await.map_err(unreachable)?.status();
    let make = "make an application in Gotify's web page (Apps) and set GOTIFY_TOKEN to its token";
    match status {
        StatusCode::BAD_REQUEST => Ok(format!("{url} answers (version {version}) and takes GOTIFY_TOKEN")),
        StatusCode::UNAUTHORIZED => Err(trouble(format!("{url} does not take GOTIFY_TOKEN"), make)),
        StatusCode::FORBIDDEN => {
            Err(trouble(format!("GOTIFY_TOKEN is no application's at {url}, and may not send"), make))
        }
        status => {
            Err(trouble(format!("{url}/message answers {} where 400 was to be expected", status.as_u16()), URL_MEND))
        }
    }
}

/// What is found, and the time there.
pub(super) async fn check(office: &Office<'_>) -> (Check, Option<Foreign>) {
    let Some(url) = &office.config.gotify_url else {
        return (Check::skipped(NAME, "GOTIFY_URL is not set: push is off"), None);
    };
    let mut foreign = None;
    let check = super::in_time(NAME, async { Check::of(NAME, look(office, url, &mut foreign).await) }).await;
    (check, foreign)
}
