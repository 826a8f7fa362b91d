//! One bounded HTTP exchange with the push server: no redirects, no proxy of the environment, 10 s in all, a bounded answer.

use std::time::Duration;

use reqwest::{Client, header};
use serde_json::Value;

use super::{Outcome, Verdict};
use crate::{config::Secret, outbound};

/// How long an exchange may take, from the name's lookup to the answer's end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may be, beside what it repeats of the question.
const ANSWER_BYTES: usize = 64 * 1024;
/// The most that escaping makes of a byte that is repeated (`\u003c`).
const ESCAPED: usize = 6;

/// Posts JSON to one address, which only the operator chooses.
pub(super) struct Poster {
    client: Client,
    url: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The body, where it is JSON.
    pub(super) body: Option<Value>,
}

impl Poster {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let client = outbound::client(url, PATIENCE).map_err(|e| format!("push cannot be used: {e}"))?;
        Ok(Self { client, url: url.to_owned() })
    }

    /// Posts; an outcome where there is no answer. `secret` stands in a header, never in the address.
    pub(super) async fn post(
        &self,
        body: &Value,
        secret: Option<(&'static str, &Secret, &str)>,
    ) -> Result<Answer, Outcome> {
        let sent = body.to_string();
        let bound = ANSWER_BYTES + ESCAPED * sent.len();
        let mut request = self.client.post(&self.url).header(header::CONTENT_TYPE, "application/json").body(sent);
        if let Some((name, secret, prefix)) = secret {
            let value = header::HeaderValue::try_from(format!("{prefix}{}", secret.expose()));
            let mut value = value.map_err(|_| failed(Verdict::Later, "the token cannot stand in a header"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|e| lost(&e))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| lost(&e))? {
            if body.len() + piece.len() > bound {
                return Err(failed(Verdict::Later, "its answer is longer than a push server's"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, body: serde_json::from_slice(&body).ok() })
    }
}

fn lost(error: &reqwest::Error) -> Outcome {
    failed(
        Verdict::Later,
        if error.is_timeout() {
            "it did not answer within 10 seconds"
        } else if error.is_connect() {
            "it cannot be reached"
        } else {
            "it broke off, or does not speak HTTP"
        },
    )
}

fn failed(verdict: Verdict, detail: &str) -> Outcome {
    Outcome { verdict, status: None, detail: detail.to_owned() }
}

impl Answer {
    /// What it means; `taken` says whether a 200 is the push server's own and not a stranger's page.
    pub(super) fn outcome(&self, taken: bool) -> Outcome {
        let (verdict, detail) = match self.status {
            200..=299 if taken => (Verdict::Delivered, "delivered"),
            200..=299 => (Verdict::Later, "what answers there is not the push server"),
            300..=399 => (Verdict::Later, "it points elsewhere; redirects are not followed"),
            400 | 422 => (Verdict::Never, "it calls the notification malformed"),
            401 | 403 => (Verdict::Later, "it refuses the token"),
            404 | 405 => (Verdict::Later, "nothing takes notifications at that address"),
            413 => (Verdict::TooLarge, "the notification is too large for it"),
            429 => (Verdict::Later, "it asks to be slower"),
            _ => (Verdict::Later, "it failed"),
        };
        Outcome { verdict, status: Some(self.status), detail: format!("{} ({detail})", self.status) }
    }
}
