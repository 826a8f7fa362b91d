//! The events: [`client::ClientEvent`] is all that a client may send, [`server::ServerEvent`] all that it may get.

use std::fmt;

use serde::de::DeserializeOwned;

pub mod call;
pub mod chat;
pub mod client;
pub mod file;
pub mod p2p;
pub mod presence;
pub mod room;
pub mod rtc;
pub mod server;
pub mod system;
pub mod terminal;

pub use client::ClientEvent;
pub use server::{Payload, ServerEvent};

/// What the documents say of an event.
pub struct EventInfo {
    /// Its name: the envelope's `type`.
    pub name: &'static str,
    /// What it means, from the doc comment.
    pub doc: &'static str,
    /// What answers it, for a client's event.
    pub reply: Option<&'static str>,
    /// The payload's JSON Schema.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// A whole envelope, pretty-printed JSON.
    pub example: &'static str,
}

/// Why an event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// No event has this name.
    UnknownType,
    /// The payload does not fit.
    InvalidPayload {
        /// The field, empty where it is the payload itself.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType => f.write_str("no event has this type"),
            Self::InvalidPayload { field, message } if field.is_empty() => write!(f, "payload: {message}"),
            Self::InvalidPayload { field, message } => write!(f, "payload.{field}: {message}"),
        }
    }
}

impl std::error::Error for EventError {}

/// Reads a JSON body; where it does not fit, tells which field and why.
///
/// # Errors
/// The field's path (empty for the body itself, or a field that is missing from it) and a sentence.
pub fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, (String, String)> {
    // The path is tracked only when it is needed: the way without errors stays fast.
    serde_json::from_str(text).or_else(|_| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = serde_path_to_error::deserialize(&mut deserializer);
        if read.is_ok() {
            let behind = deserializer.end().err().map_or_else(|| "cannot be read".to_owned(), |e| e.to_string());
            return Err((String::new(), behind));
        }
        read.map_err(|e| {
            let message = e.inner().to_string();
            // Where it stands in the text means nothing to a caller who built it from an object.
            let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
            let field = match e.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            match message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                Some(missing) if field.is_empty() => (missing.to_owned(), "is required".to_owned()),
                Some(missing) => (format!("{field}.{missing}"), "is required".to_owned()),
                None => (field, message),
            }
        })
    })
}

fn read_payload<T: DeserializeOwned>(text: &str) -> Result<T, EventError> {
    // serde reads a struct from an array too; a payload is an object.
    if !text.starts_with('{') {
        let message = "expected an object".to_owned();
        return Err(EventError::InvalidPayload { field: String::new(), message });
    }
    read_json(text).map_err(|(field, message)| EventError::InvalidPayload { field, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;

    #[test]
    fn errors_name_the_field() {
        let error = |text: &str| ClientEvent::parse("room.join", text).unwrap_err().to_string();
        assert_eq!(error("{}"), "payload.room_id: is required");
        assert!(
            error(r#"{"room_id":5}"#).starts_with("payload.room_id: invalid type: integer `5`"),
            "{}",
            error(r#"{"room_id":5}"#)
        );
        assert!(error(r#"{"room_id":"x","since_seq":-1}"#).starts_with("payload.since_seq: invalid value"));
        assert!(error(r#"{"room_id":"x"} x"#).starts_with("payload: trailing characters"));
        assert_eq!(error("[]"), "payload: expected an object");
        assert_eq!(ClientEvent::parse("nope", "{}").unwrap_err(), EventError::UnknownType);
    }

    #[test]
    fn every_example_is_that_event() {
        for info in ClientEvent::catalogue() {
            let envelope = Envelope::parse(info.example).unwrap_or_else(|e| panic!("{}: {e:?}", info.name));
            assert_eq!(&*envelope.kind, info.name);
            let event = ClientEvent::parse(info.name, envelope.payload_text()).unwrap();
            assert_eq!(event.name(), info.name);
            let given: serde_json::Value = serde_json::from_str(envelope.payload_text()).unwrap();
            assert_eq!(event.payload_json(), given, "{} has a field that the type lacks", info.name);
        }
        for info in ServerEvent::catalogue() {
            let envelope = Envelope::parse(info.example).unwrap_or_else(|e| panic!("{}: {e:?}", info.name));
            assert_eq!(&*envelope.kind, info.name);
            assert!(envelope.id.is_some() && envelope.from.is_some() && envelope.to.is_some(), "{}", info.name);
            let event = ServerEvent::parse(info.name, envelope.payload_text()).unwrap();
            let given: serde_json::Value = serde_json::from_str(envelope.payload_text()).unwrap();
            assert_eq!(event.payload_json(), given, "{} is not written as its example", info.name);
        }
    }
}
