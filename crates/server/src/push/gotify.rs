//! Gotify: `POST /message`, with an application token in `X-Gotify-Key`.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Driver, Note, Outcome, Verdict, client::Poster};
use crate::config::Secret;

pub(super) struct Gotify {
    poster: Poster,
    token: Option<Secret>,
}

impl Gotify {
    pub(super) fn new(url: &str, token: Option<Secret>) -> Result<Self, String> {
        Ok(Self { poster: Poster::new(&format!("{url}/message"))?, token })
    }
}

fn body(note: &Note) -> Value {
    json!({
        "title": note.title,
        "message": note.message,
        "priority": note.priority,
        "extras": {
            "client::display": {"contentType": "text/plain"},
            "client::notification": {"click": {"url": note.click}},
            "mesh::notification": {"id": note.id},
        },
    })
}

impl Driver for Gotify {
    fn name(&self) -> &'static str {
        "Gotify"
    }

    fn takes_own_tokens(&self) -> bool {
        true
    }

    fn has_default(&self) -> bool {
        self.token.is_some()
    }

    fn send<'a>(&'a self, note: &'a Note) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Some(token) = note.token.as_ref().or(self.token.as_ref()) else {
                return Outcome { verdict: Verdict::Never, status: None, detail: "there is no token".to_owned() };
            };
            match self.poster.post(&body(note), Some(("x-gotify-key", token, ""))).await {
                Ok(answer) => answer.outcome(answer.body.as_ref().is_some_and(|body| body["id"].is_u64())),
                Err(outcome) => outcome,
            }
        })
    }
}
