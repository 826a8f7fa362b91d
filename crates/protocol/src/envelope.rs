//! The envelope around every event, read in two steps: first the header, then the payload by its type.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use crate::{Timestamp, limits::MAX_ID_CHARS};

/// A string that is borrowed from the frame unless it holds escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Str<'a>(pub Cow<'a, str>);

impl<'a> std::ops::Deref for Str<'a> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

// Written by hand because serde borrows a bare `Cow` field only, never one inside an `Option`.
impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(v)))
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v.to_owned())))
            }

            fn visit_string<E: de::Error>(self, v: String) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v)))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// An event's header, its payload still unread.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The event's name.
    #[serde(rename = "type", borrow)]
    pub kind: Str<'a>,
    /// The sender's own name for the event; an answer bears it in `reply_to`.
    #[serde(default, borrow)]
    pub id: Option<Str<'a>>,
    /// Who caused it: from a client its peer id or nothing.
    #[serde(default, borrow)]
    pub from: Option<Str<'a>>,
    /// Whom it is for.
    #[serde(default, borrow)]
    pub to: Option<Str<'a>>,
    /// What it answers; only the server's events have it.
    #[serde(default, borrow)]
    pub reply_to: Option<Str<'a>>,
    /// The event's own content.
    #[serde(default, borrow)]
    pub payload: Option<&'a RawValue>,
}

/// Why a frame is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The event's id, where one could be read all the same.
    pub id: Option<String>,
    /// A sentence.
    pub message: String,
}

impl<'a> Envelope<'a> {
    /// Reads the header of a frame's text.
    ///
    /// # Errors
    /// [`Malformed`] where it is no JSON object, has no `type`, or has a header field of another type than string.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        // serde reads a struct from an array too; an event is an object.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Malformed { id: None, message: "a frame is one JSON object".to_owned() });
        }
        serde_json::from_str::<Self>(text).map_err(|e| {
            #[derive(Deserialize)]
            struct OnlyId {
                id: serde_json::Value,
            }
            let id = serde_json::from_str::<OnlyId>(text).ok().and_then(|o| o.id.as_str().map(str::to_owned));
            Malformed { id: id.filter(|id| valid_id(id)), message: format!("not an event: {e}") }
        })
    }

    /// The payload's text; an absent one reads as `{}`.
    pub fn payload_text(&self) -> &'a str {
        self.payload.map_or("{}", RawValue::get)
    }
}

/// Whether an event's `id` may be used: 1–64 characters.
pub fn valid_id(id: &str) -> bool {
    !id.is_empty() && (id.len() <= MAX_ID_CHARS || id.chars().count() <= MAX_ID_CHARS)
}

/// The header of an event that the server sends.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The event's name.
    pub kind: &'a str,
    /// The event's id: a UUID.
    pub id: uuid::Uuid,
    /// When it was made.
    pub timestamp: Timestamp,
    /// `server` or a peer id.
    pub from: &'a str,
    /// A peer id, or in an event to a room the room's id.
    pub to: &'a str,
    /// The id of the event that it answers.
    pub reply_to: Option<&'a str>,
}

impl Header<'_> {
    /// Writes the whole event around a payload that is JSON already.
    pub fn write(&self, out: &mut Vec<u8>, payload: &[u8]) {
        self.write_head(out);
        out.extend_from_slice(payload);
        out.push(b'}');
    }

    /// Writes the whole event.
    ///
    /// # Errors
    /// Where the payload cannot be JSON (a map with keys that are no strings): never, with this crate's types.
    pub fn write_event(&self, out: &mut Vec<u8>, payload: &impl Serialize) -> Result<(), serde_json::Error> {
        self.write_head(out);
        serde_json::to_writer(&mut *out, payload)?;
        out.push(b'}');
        Ok(())
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Event names, UUIDs, times, peer ids and room ids need no escapes; `reply_to` is the client's own text and may.
        let _ = write!(
            out,
            r#"{{"type":"{}","id":"{}","timestamp":"{}","from":"{}","to":"{}","#,
            self.kind, self.id, self.timestamp, self.from, self.to
        );
        if let Some(id) = self.reply_to {
            out.extend_from_slice(br#""reply_to":"#);
            let _ = serde_json::to_writer(&mut *out, id);
            out.push(b',');
        }
        out.extend_from_slice(br#""payload":"#);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_with_a_type_are_events() {
        for bad in [
            "",
            "[]",
            "5",
            "\"x\"",
            "{",
            "{}",
            r#"{"type":5}"#,
            r#"["a",null,null,null,null,null]"#,
            r#"{"type":"a"} x"#,
        ] {
            assert!(Envelope::parse(bad).is_err(), "{bad}");
        }
        let event =
            Envelope::parse(r#" {"type":"a\u0062","id":null,"timestamp":5,"payload":{"x":[1]},"more":1}"#).unwrap();
        assert_eq!((&*event.kind, event.payload_text()), ("ab", r#"{"x":[1]}"#));
    }

    #[test]
    fn a_malformed_event_is_answered_by_its_id() {
        assert_eq!(Envelope::parse(r#"{"type":5,"id":"q1"}"#).unwrap_err().id.as_deref(), Some("q1"));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let header = Header {
            kind: "system.pong",
            id: uuid::Uuid::nil(),
            timestamp: Timestamp::from_millis(0),
            from: "server",
            to: "peer",
            reply_to: Some("a\"b\n"),
        };
        let mut out = Vec::new();
        header.write_event(&mut out, &serde_json::json!({"a": 1})).unwrap();
        let text = String::from_utf8(out).unwrap();
        let event = Envelope::parse(&text).unwrap();
        assert_eq!(event.reply_to.as_deref(), Some("a\"b\n"));
        assert_eq!(event.payload_text(), r#"{"a":1}"#);
    }
}
