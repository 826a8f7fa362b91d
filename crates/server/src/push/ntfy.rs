//! ntfy: JSON to the server's root, for one topic of the operator's (`https://ntfy.example.org/topic`).

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Driver, Note, Outcome, client::Poster};
use crate::config::Secret;

/// Beyond 4,096 bytes ntfy makes a file of a text.
const TEXT_BYTES: usize = 3_800;

pub(super) struct Ntfy {
    poster: Poster,
    topic: String,
    token: Option<Secret>,
}

impl Ntfy {
    pub(super) fn new(url: &str, token: Option<Secret>) -> Result<Self, String> {
        let (root, topic) = url.rsplit_once('/').unwrap_or((url, ""));
        Ok(Self { poster: Poster::new(&format!("{root}/"))?, topic: topic.to_owned(), token })
    }

    fn body(&self, note: &Note) -> Value {
        let end = (0..=TEXT_BYTES.min(note.message.len())).rev().find(|end| note.message.is_char_boundary(*end));
        let message = note.message.get(..end.unwrap_or(0)).unwrap_or_default();
        // Gotify's 0 to 10 on ntfy's 1 to 5.
        let priority = (note.priority / 2 + 1).min(5);
        json!({"topic": self.topic, "title": note.title, "message": message, "priority": priority, "click": note.click})
    }
}

impl Driver for Ntfy {
    fn name(&self) -> &'static str {
        "ntfy"
    }

    fn takes_own_tokens(&self) -> bool {
        false
    }

    fn has_default(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, note: &'a Note) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let secret = self.token.as_ref().map(|token| ("authorization", token, "Bearer "));
            match self.poster.post(&self.body(note), secret).await {
                Ok(answer) => answer.outcome(answer.body.as_ref().is_some_and(|body| body["id"].is_string())),
                Err(outcome) => outcome,
            }
        })
    }
}
