//! What the protocol crate says of itself, read once for both documents.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::event::{ClientEvent, EventInfo, ServerEvent};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use super::source::Limit;

/// Where a schema refers to another one.
const SCHEMAS: &str = "#/components/schemas/";

/// Who sends an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// An event.
pub(super) struct Event {
    pub(super) side: Side,
    pub(super) name: &'static str,
    /// Its paragraphs.
    pub(super) doc: String,
    /// What answers it.
    pub(super) reply: Option<&'static str>,
    /// The payload's schema: always an object.
    pub(super) payload: Value,
    /// A whole envelope, as the file has it.
    pub(super) example_text: &'static str,
    pub(super) example: Value,
}

/// Everything that the documents tell.
pub(super) struct Protocol {
    pub(super) client: Vec<Event>,
    pub(super) server: Vec<Event>,
    /// The schemas to which the payloads refer, by name.
    pub(super) types: BTreeMap<String, Value>,
    pub(super) limits: Vec<Limit>,
}

impl Protocol {
    /// Reads the catalogues.
    pub(super) fn read() -> Result<Self, String> {
        let mut types = BTreeMap::new();
        let client = events(Side::Client, ClientEvent::catalogue(), &mut types)?;
        let server = events(Side::Server, ServerEvent::catalogue(), &mut types)?;
        for event in &client {
            let known = event.reply.is_some_and(|reply| server.iter().any(|e| e.name == reply));
            if !known {
                return Err(format!("{}: its natural reply is no event of the server", event.name));
            }
        }
        Ok(Self { client, server, types, limits: super::source::limits()? })
    }

    /// The client's events, then the server's.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.client.iter().chain(&self.server)
    }
}

fn events(side: Side, infos: Vec<EventInfo>, types: &mut BTreeMap<String, Value>) -> Result<Vec<Event>, String> {
    // What is read and what is written differ: a field with a default may be left out of the one and always stands in
    // the other. Draft 07 is what AsyncAPI's own schemas build on.
    let mut settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = SCHEMAS.trim_start_matches('#').trim_end_matches('/').into();
        settings.meta_schema = None;
    });
    if side == Side::Server {
        settings = settings.for_serialize();
    }
    let mut generator = SchemaGenerator::new(settings);
    let mut schemas = Vec::new();
    for info in &infos {
        schemas.push((info.schema)(&mut generator).to_value());
    }
    let found: BTreeMap<String, Value> = generator.take_definitions(true).into_iter().collect();
    let mut events = Vec::new();
    for (info, schema) in infos.into_iter().zip(schemas) {
        let name = info.name;
        let payload = match reference(&schema) {
            Some(target) => found.get(target).cloned().ok_or_else(|| format!("{name}: no schema {target}"))?,
            None => schema,
        };
        if payload.get("type").and_then(Value::as_str) != Some("object") {
            return Err(format!("{name}: its payload is no object"));
        }
        let example = serde_json::from_str(info.example).map_err(|e| format!("{name}: its example: {e}"))?;
        events.push(Event {
            side,
            name,
            doc: paragraphs(info.doc),
            reply: info.reply,
            payload,
            example_text: info.example,
            example,
        });
    }
    // The payloads' own schemas stand with their events, unless something else refers to them.
    let mut needed = BTreeSet::new();
    for event in &events {
        need(&event.payload, &found, &mut needed)?;
    }
    for (name, schema) in found.into_iter().filter(|(name, _)| needed.contains(name)) {
        if types.get(&name).is_some_and(|other| *other != schema) {
            return Err(format!("{name}: is read in another form than it is written; give the two forms two names"));
        }
        types.insert(name, schema);
    }
    Ok(events)
}

/// Adds all that a schema refers to, and what that refers to.
fn need(schema: &Value, types: &BTreeMap<String, Value>, into: &mut BTreeSet<String>) -> Result<(), String> {
    for name in references(schema) {
        if into.insert(name.to_owned()) {
            let target = types.get(name).ok_or_else(|| format!("no schema {name}"))?;
            need(target, types, into)?;
        }
    }
    Ok(())
}

/// The name that a bare `$ref` refers to.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)
}

/// The names of all schemas to which `schema` refers directly.
fn references(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(map) => reference(schema).into_iter().chain(map.values().flat_map(references)).collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => vec![],
    }
}

/// A doc comment's text: one line a paragraph, an empty line between two.
pub(super) fn paragraphs(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
    paragraphs.map(|lines| lines.join(" ")).collect::<Vec<_>>().join("\n\n")
}

/// A field of the envelope.
pub(super) struct HeaderField {
    pub(super) name: &'static str,
    pub(super) kind: HeaderKind,
    pub(super) from_client: Presence,
    pub(super) from_server: Presence,
    pub(super) meaning: &'static str,
}

/// What a field of the envelope holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderKind {
    EventName,
    Id,
    Time,
    Name,
    Payload,
}

/// Whether a field is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    Optional,
    Never,
}

/// The envelope around every event; a test compares it with what the protocol crate writes and reads.
pub(super) const ENVELOPE: &[HeaderField] = &[
    HeaderField {
        name: "type",
        kind: HeaderKind::EventName,
        from_client: Presence::Always,
        from_server: Presence::Always,
        meaning: "The event's name.",
    },
    HeaderField {
        name: "id",
        kind: HeaderKind::Id,
        from_client: Presence::Optional,
        from_server: Presence::Always,
        meaning: "The event's own id; the answer bears it in `reply_to`.",
    },
    HeaderField {
        name: "timestamp",
        kind: HeaderKind::Time,
        from_client: Presence::Optional,
        from_server: Presence::Always,
        meaning: "When the server made the event; a client's is not read.",
    },
    HeaderField {
        name: "from",
        kind: HeaderKind::Name,
        from_client: Presence::Optional,
        from_server: Presence::Always,
        meaning: "The peer id of the connection that caused it, or `server`; from a client its own peer id.",
    },
    HeaderField {
        name: "to",
        kind: HeaderKind::Name,
        from_client: Presence::Optional,
        from_server: Presence::Always,
        meaning: "The receiver's peer id, or in an event to a room the room's id; before the hello `client`.",
    },
    HeaderField {
        name: "reply_to",
        kind: HeaderKind::Id,
        from_client: Presence::Never,
        from_server: Presence::Optional,
        meaning: "The `id` of the event that this one answers.",
    },
    HeaderField {
        name: "payload",
        kind: HeaderKind::Payload,
        from_client: Presence::Optional,
        from_server: Presence::Always,
        meaning: "The event's own content, an object; left out, it is `{}`.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::{Timestamp, envelope::Header};

    #[test]
    fn the_envelope_is_the_one_that_is_written() {
        let header = Header {
            kind: "a",
            id: "00000000-0000-0000-0000-000000000000".parse().unwrap(),
            timestamp: Timestamp::from_millis(0),
            from: "server",
            to: "peer",
            reply_to: Some("x"),
        };
        let mut text = Vec::new();
        header.write(&mut text, b"{}");
        let written: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
        let told: BTreeSet<&str> =
            ENVELOPE.iter().filter(|f| f.from_server != Presence::Never).map(|f| f.name).collect();
        assert_eq!(written.keys().map(String::as_str).collect::<BTreeSet<_>>(), told);
    }

    #[test]
    fn every_example_has_the_envelope_s_fields() {
        let protocol = Protocol::read().unwrap();
        for event in protocol.events() {
            let fields = event.example.as_object().unwrap();
            for field in ENVELOPE {
                let presence = if event.side == Side::Client { field.from_client } else { field.from_server };
                match presence {
                    Presence::Always => assert!(fields.contains_key(field.name), "{} {}", event.name, field.name),
                    Presence::Never => assert!(!fields.contains_key(field.name), "{} {}", event.name, field.name),
                    Presence::Optional => {}
                }
            }
        }
    }

    #[test]
    fn doc_comments_become_paragraphs() {
        assert_eq!(paragraphs(" One\n line.\n\n Two.\n"), "One line.\n\nTwo.");
    }
}
