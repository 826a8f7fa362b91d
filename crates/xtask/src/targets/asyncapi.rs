//! `asyncapi.json`: the protocol for programs (AsyncAPI 3.0.0).

use mesh_protocol::{PROTOCOL_VERSION, code::CloseCode, limits::MAX_ID_CHARS};
use serde_json::{Map, Value, json};

use super::page::{action, first_sentence};
use super::protocol::{ENVELOPE, Event, HeaderKind, Presence, Protocol, Side};

const CHANNEL: &str = "#/channels/ws";

const ABOUT: &str = "What a client and Mesh Server say to each other over a WebSocket: one JSON object in each text frame. \
    The operations are the server's: it receives what clients send. docs/protocol_events_v_2.md tells the whole story: \
    opening, order, resuming, closing.";

/// The document, pretty-printed.
pub(super) fn document() -> Result<String, String> {
    let protocol = Protocol::read()?;
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": info(&protocol),
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": {"ws": channel(&protocol)?},
        "operations": operations(&protocol)?,
        "components": {
            "messages": messages(&protocol)?,
            "schemas": schemas(&protocol)?,
            "securitySchemes": {
                "queryToken": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "token",
                    "description": "An access token (JWT) or a personal access token (mesh_pat_…) in the URL, for browsers."
                },
                "queryTicket": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "A ticket from POST /api/auth/ws-ticket: works once, within 30 seconds, and opens what the token that asked for it would."
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token or a personal access token in the header Authorization."
                }
            }
        }
    });
    // The same text whether or not serde_json keeps the order in which keys were added.
    document.sort_all_objects();
    serde_json::to_string_pretty(&document).map_err(|e| e.to_string())
}

fn info(protocol: &Protocol) -> Value {
    let mut families: Vec<&str> = protocol.events().map(|event| family(event.name)).collect();
    families.sort_unstable();
    families.dedup();
    json!({
        "title": "Mesh Server, real-time protocol",
        "version": format!("{PROTOCOL_VERSION}.0.0"),
        "description": ABOUT,
        "contact": {"name": "Mesh Server", "url": env!("CARGO_PKG_REPOSITORY")},
        "license": {"name": env!("CARGO_PKG_LICENSE"), "url": env!("CARGO_PKG_REPOSITORY")},
        "tags": families.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()
    })
}

fn servers() -> Value {
    let security = json!([
        {"$ref": "#/components/securitySchemes/queryTicket"},
        {"$ref": "#/components/securitySchemes/queryToken"},
        {"$ref": "#/components/securitySchemes/bearer"}
    ]);
    json!({
        "local": {
            "host": "localhost:8000",
            "protocol": "ws",
            "description": "A server with nothing configured.",
            "security": security
        },
        "public": {
            "host": "{host}",
            "protocol": "wss",
            "description": "A server behind TLS.",
            "variables": {"host": {"default": "mesh.example.org", "description": "The host of MESH_PUBLIC_URL."}},
            "security": security
        }
    })
}

fn channel(protocol: &Protocol) -> Result<Value, String> {
    let messages = protocol.events().map(|event| {
        let key = key(event);
        (key.clone(), json!({"$ref": format!("#/components/messages/{key}")}))
    });
    let mut closes = Vec::new();
    for code in CloseCode::ALL {
        let (number, meaning) = (code.number(), code.meaning().trim());
        closes.push(json!({"code": number, "action": action(code.action())?, "meaning": meaning}));
    }
    Ok(json!({
        "address": "/ws",
        "title": "WebSocket",
        "description": "system.hello must come first. A connection without a valid credential is opened and then closed with 4401.",
        "messages": messages.collect::<Map<_, _>>(),
        "bindings": {"ws": {
            "method": "GET",
            "query": {
                "type": "object",
                "properties": {
                    "ticket": {"type": "string", "description": "A ticket from POST /api/auth/ws-ticket."},
                    "token": {"type": "string", "description": "An access token; or send it in the header Authorization."}
                }
            },
            "bindingVersion": "0.1.0"
        }},
        "x-close-codes": closes
    }))
}

fn operations(protocol: &Protocol) -> Result<Value, String> {
    let mut operations = Map::new();
    for event in protocol.events() {
        let mut operation = json!({
            "action": if event.side == Side::Client { "receive" } else { "send" },
            "channel": {"$ref": CHANNEL},
            "summary": first_sentence(&event.doc),
            "description": event.doc,
            "messages": [in_channel(event)],
            "tags": [{"name": family(event.name)}]
        });
        if event.side == Side::Client {
            let answers = [event.reply.unwrap_or_default(), "system.error"];
            let mut messages = Vec::new();
            for name in answers {
                let answer = protocol.server.iter().find(|answer| answer.name == name);
                messages.push(in_channel(answer.ok_or_else(|| format!("{name}: is no event of the server"))?));
            }
            operation["reply"] = json!({"channel": {"$ref": CHANNEL}, "messages": messages});
        }
        operations.insert(key(event), operation);
    }
    Ok(Value::Object(operations))
}

fn messages(protocol: &Protocol) -> Result<Value, String> {
    let mut messages = Map::new();
    for event in protocol.events() {
        let id = if event.side == Side::Client { "id" } else { "reply_to" };
        let message = json!({
            "name": event.name,
            "title": event.name,
            "summary": first_sentence(&event.doc),
            "description": event.doc,
            "contentType": "application/json",
            "correlationId": {"location": format!("$message.payload#/{id}")},
            "tags": [{"name": family(event.name)}],
            "payload": {"$ref": format!("#/components/schemas/{}", type_name(event))},
            "examples": [{"name": event.name, "payload": event.example}]
        });
        messages.insert(key(event), message);
    }
    Ok(Value::Object(messages))
}

/// The shared types, and for each event its payload and its whole envelope.
fn schemas(protocol: &Protocol) -> Result<Value, String> {
    let mut schemas: Map<String, Value> = protocol.types.clone().into_iter().collect();
    let mut add = |name: String, schema: Value| match schemas.insert(name.clone(), schema) {
        None => Ok(()),
        Some(_) => Err(format!("two schemas are called {name}")),
    };
    for event in protocol.events() {
        let name = type_name(event);
        add(name.clone(), envelope(event, &name))?;
        add(format!("{name}Payload"), event.payload.clone())?;
    }
    Ok(Value::Object(schemas))
}

fn envelope(event: &Event, name: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in ENVELOPE {
        let presence = if event.side == Side::Client { field.from_client } else { field.from_server };
        match presence {
            Presence::Never => continue,
            Presence::Optional => {}
            Presence::Always => required.push(field.name),
        }
        let mut schema = match (field.kind, event.side) {
            (HeaderKind::EventName, _) => json!({"type": "string", "const": event.name}),
            (HeaderKind::Id, Side::Server) if field.name == "id" => json!({"type": "string", "format": "uuid"}),
            (HeaderKind::Id, _) => json!({"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS}),
            (HeaderKind::Time, Side::Server) => json!({"type": "string", "format": "date-time"}),
            (HeaderKind::Time, Side::Client) => json!({}),
            (HeaderKind::Name, _) => json!({"type": "string"}),
            (HeaderKind::Payload, _) => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}Payload")}]}),
        };
        schema["description"] = field.meaning.into();
        properties.insert(field.name.to_owned(), schema);
    }
    // A payload in which something is required can't be left out.
    if event.side == Side::Client && event.payload.get("required").is_some() {
        required.push("payload");
    }
    json!({"type": "object", "description": event.doc, "properties": properties, "required": required})
}

fn in_channel(event: &Event) -> Value {
    json!({"$ref": format!("{CHANNEL}/messages/{}", key(event))})
}

/// An event's name among messages and operations: with its side, since one name may go both ways.
fn key(event: &Event) -> String {
    let side = if event.side == Side::Client { "client" } else { "server" };
    format!("{side}.{}", event.name)
}

/// An event's name among schemas, in a form that generators of code can use: `ClientRoomJoin`.
fn type_name(event: &Event) -> String {
    let mut name = String::new();
    for part in key(event).split(['.', '_']) {
        let mut chars = part.chars();
        name.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

/// The first part of an event's name.
fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|v| references(v, into));
                }
                Value::Array(items) => items.iter().for_each(|v| references(v, into)),
                _ => {}
            }
        }
        let text = document().unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        assert_eq!(text, super::document().unwrap());
    }

    #[test]
    fn every_event_is_a_message_and_an_operation() {
        let document: Value = serde_json::from_str(&document().unwrap()).unwrap();
        for event in Protocol::read().unwrap().events() {
            let key = key(event);
            assert_eq!(document["components"]["messages"][&key]["name"], event.name);
            let action = if event.side == Side::Client { "receive" } else { "send" };
            assert_eq!(document["operations"][&key]["action"], action);
        }
        let reply = &document["operations"]["client.room.join"]["reply"]["messages"];
        assert_eq!(reply[0]["$ref"], "#/channels/ws/messages/server.room.joined");
    }
}
