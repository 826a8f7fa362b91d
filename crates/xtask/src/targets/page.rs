//! `docs/protocol_events_v_2.md`: prose from a template, everything else from the protocol crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mesh_protocol::{
    PROTOCOL_VERSION,
    code::{Action, CloseCode, ErrorCode},
};
use serde_json::Value;

use super::protocol::{ENVELOPE, Event, HeaderKind, Presence, Protocol, Side, reference};
use super::source::grouped;

const INTRO: &str = include_str!("protocol_intro.md");
const CLIENT: &str = include_str!("protocol_client.js");

const NOTE: &str = "<!-- Written by `cargo xtask gen` from crates/protocol and crates/xtask/src/targets. -->";

/// The whole page.
pub(super) fn page() -> Result<String, String> {
    let protocol = Protocol::read()?;
    let events = events(&protocol)?;
    let body = template(&protocol)? + &events;
    let page = body.replacen("{{contents}}", &contents(&body), 1);
    check_links(&page)?;
    Ok(format!("{NOTE}\n\n{page}"))
}

/// The prose, with what stands in `{{…}}` filled in; `{{contents}}` stays.
fn template(protocol: &Protocol) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = INTRO;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("the template has a {{ without }}")?;
        text.push_str(before);
        text.push_str(&fill(name, protocol)?);
        rest = after;
    }
    Ok(text + rest)
}

fn fill(name: &str, protocol: &Protocol) -> Result<String, String> {
    Ok(match name {
        "contents" => "{{contents}}".to_owned(),
        "PROTOCOL_VERSION" => PROTOCOL_VERSION.to_string(),
        "client" => CLIENT.trim_end().to_owned(),
        "envelope" => envelope(),
        "actions" => actions(protocol)?,
        "later" => later(protocol),
        _ => match protocol.limits.iter().find(|limit| limit.name == name) {
            Some(limit) => grouped(limit.value),
            None => return Err(format!("the template asks for {{{{{name}}}}}, which nothing fills in")),
        },
    })
}

fn envelope() -> String {
    let presence = |presence: Presence| match presence {
        Presence::Always => "yes",
        Presence::Optional => "optional",
        Presence::Never => "no",
    };
    let mut table =
        "| field | type | from a client | from the server | meaning |\n| --- | --- | --- | --- | --- |".to_owned();
    for field in ENVELOPE {
        let kind = if field.kind == HeaderKind::Payload { "object" } else { "string" };
        let client = presence(field.from_client);
        let server = match field.from_server {
            Presence::Optional => "in answers",
            other => presence(other),
        };
        let _ = write!(table, "\n| `{}` | {kind} | {client} | {server} | {} |", field.name, field.meaning);
    }
    table
}

/// What comes with later releases, by how its events' names begin.
const LATER: &[(&str, &str)] = &[
    ("presence.", "presence"),
    ("chat.message.edit", "editing"),
    ("chat.reaction.", "reactions"),
    ("chat.typing", "typing and read marks"),
    ("rtc.", "call signalling"),
    ("p2p.", "sessions between agents"),
    ("file.", "shared files"),
    ("terminal.", "shared terminals"),
];

/// The sentence that names it, less what is there by now.
fn later(protocol: &Protocol) -> String {
    let missing = |prefix: &str| !protocol.events().any(|event| event.name.starts_with(prefix));
    let names: Vec<&str> = LATER.iter().filter(|(prefix, _)| missing(prefix)).map(|(_, name)| *name).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" Later releases bring {one}."),
        [first @ .., last] => format!(" Later releases bring {} and {last}.", first.join(", ")),
    }
}

/// The rows of what a client does after a goodbye, from the type that holds the words.
fn actions(protocol: &Protocol) -> Result<String, String> {
    let schema = protocol.types.get("Action").ok_or("no type Action")?;
    let rows = words(schema).ok_or("Action: is no list of words")?;
    let rows: Vec<String> = rows.iter().map(|(word, meaning)| format!("| `{word}` | {} |", cell(meaning))).collect();
    Ok(rows.join("\n"))
}

fn events(protocol: &Protocol) -> Result<String, String> {
    let mut text =
        String::from("\n## Events\n\nWhat a client may send, and what answers it (or else [`system.error`](");
    let _ = writeln!(text, "#{})):\n", slug("system.error"));
    text.push_str("| send | to | natural reply |\n| --- | --- | --- |\n");
    for event in &protocol.client {
        let reply = event.reply.map(|reply| server_link(protocol, reply)).unwrap_or_default();
        let link = format!("[`{}`](#{})", event.name, slug(event.name));
        let _ = writeln!(text, "| {link} | {} | {reply} |", cell(first_sentence(&event.doc)));
    }
    text.push_str("\nWhat a client may get:\n\n| event | meaning |\n| --- | --- |\n");
    for event in &protocol.server {
        let link = server_link(protocol, event.name);
        let _ = writeln!(text, "| {link} | {} |", cell(first_sentence(&event.doc)));
    }
    text.push_str("\n## Events from the client\n");
    for event in &protocol.client {
        one_event(protocol, event, &mut text)?;
    }
    text.push_str("\n## Events from the server\n");
    for event in &protocol.server {
        one_event(protocol, event, &mut text)?;
    }
    text.push_str("\n## Types\n\nWhat several events share, and REST with them.\n");
    for (name, schema) in protocol.types.iter().filter(|(name, _)| *name != ERROR_CODE) {
        let _ = write!(text, "\n### {name}\n\n");
        if let Some(meaning) = description(schema) {
            let _ = writeln!(text, "{meaning}\n");
        }
        match words(schema) {
            Some(words) => {
                text.push_str("| word | meaning |\n| --- | --- |\n");
                for (word, meaning) in words {
                    let _ = writeln!(text, "| `{word}` | {} |", cell(&meaning));
                }
            }
            None => text.push_str(&fields(name, schema)?),
        }
    }
    codes(&mut text)?;
    text.push_str(
        "\n## Numbers\n\nEach with its reason. Where `limits` in [`system.welcome`](#systemwelcome) differ, they hold.\n\n",
    );
    text.push_str("| number | what it counts |\n| ---: | --- |\n");
    for limit in &protocol.limits {
        let _ = writeln!(text, "| {} | {} |", grouped(limit.value), cell(&limit.reason));
    }
    Ok(text)
}

fn one_event(protocol: &Protocol, event: &Event, text: &mut String) -> Result<(), String> {
    let _ = write!(text, "\n### `{}`\n\n{}\n\n", event.name, event.doc);
    match event.side {
        Side::Client => {
            if let Some(reply) = event.reply {
                let _ = writeln!(text, "Answered by {}.\n", server_link(protocol, reply));
            }
        }
        Side::Server => {
            let asked: Vec<String> = protocol
                .client
                .iter()
                .filter(|ask| ask.reply == Some(event.name) && !event.doc.contains(&format!("`{}`", ask.name)))
                .map(|ask| format!("[`{}`](#{})", ask.name, slug(ask.name)))
                .collect();
            if !asked.is_empty() {
                let _ = writeln!(text, "Answers {}.\n", asked.join(", "));
            }
        }
    }
    text.push_str(&fields(event.name, &event.payload)?);
    let _ = write!(text, "\n```json\n{}\n```\n", event.example_text.trim());
    Ok(())
}

fn codes(text: &mut String) -> Result<(), String> {
    text.push_str("\n## Error codes\n\nThe `code` of a [`system.error`](#systemerror). *Retry* says whether the same event may succeed later, unchanged.\n\n");
    text.push_str("| code | retry | meaning |\n| --- | --- | --- |\n");
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let _ = writeln!(text, "| `{}` | {retry} | {} |", code.as_str(), cell(code.meaning().trim()));
    }
    text.push_str("\n## Close codes\n\nWhat the server closes a connection with, and what the client does next (see [Closing](#closing)).\n\n");
    text.push_str("| code | action | meaning |\n| --- | --- | --- |\n");
    for code in CloseCode::ALL {
        let action = action(code.action())?;
        let _ = writeln!(text, "| {} | `{action}` | {} |", code.number(), cell(code.meaning().trim()));
    }
    Ok(())
}

/// An action's word on the wire.
pub(super) fn action(action: Action) -> Result<String, String> {
    match serde_json::to_value(action) {
        Ok(Value::String(word)) => Ok(word),
        _ => Err(format!("{action:?}: is no word on the wire")),
    }
}

/// The type that has a section of its own.
const ERROR_CODE: &str = "ErrorCode";

fn server_link(protocol: &Protocol, name: &str) -> String {
    // An event that goes both ways has its second heading here, which GitHub tells apart by a number.
    let both = protocol.client.iter().any(|event| event.name == name);
    format!("[`{name}`](#{}{})", slug(name), if both { "-1" } else { "" })
}

/// A table of an object's fields: the required ones as the type declares them, then the others by name.
fn fields(owner: &str, schema: &Value) -> Result<String, String> {
    let none = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    if properties.is_empty() {
        return Ok("No fields.\n".to_owned());
    }
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let optional = properties.keys().map(String::as_str).filter(|name| !required.contains(name));
    let mut table = "| field | type | required | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for name in required.iter().copied().chain(optional) {
        let problem = |what: String| format!("{owner}.{name}: {what}");
        let field = properties.get(name).ok_or_else(|| problem("required, but not there".to_owned()))?;
        let is_required = required.contains(&name);
        let mut kind = type_of(field).map_err(problem)?;
        if !is_required {
            // Left out, rather than null.
            kind.retain(|part| part != NULL);
        }
        let meaning = description(field).ok_or_else(|| problem("has no doc comment".to_owned()))?;
        let (kind, is_required) = (kind.join(" or "), if is_required { "yes" } else { "no" });
        let _ = writeln!(table, "| `{name}` | {} | {is_required} | {} |", cell(&kind), cell(&meaning));
    }
    Ok(table)
}

const NULL: &str = "null";

/// A schema in words: what it may be.
fn type_of(schema: &Value) -> Result<Vec<String>, String> {
    if let Some(name) = reference(schema) {
        let anchor = if name == ERROR_CODE { slug("Error codes") } else { slug(name) };
        return Ok(vec![format!("[{name}](#{anchor})")]);
    }
    for several in ["allOf", "anyOf", "oneOf"] {
        if let Some(parts) = schema.get(several).and_then(Value::as_array) {
            if several == "allOf" && parts.len() != 1 {
                return Err("allOf of several schemas is not described".to_owned());
            }
            let mut all = Vec::new();
            for part in parts {
                all.extend(type_of(part)?);
            }
            return Ok(all);
        }
    }
    // Whatever JSON there is: handed on, not looked into.
    if schema.as_object().is_some_and(|keys| keys.keys().all(|key| key == "description")) {
        return Ok(vec!["any JSON".to_owned()]);
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if kinds.is_empty() {
        return Err(format!("a schema that is not described: {schema}"));
    }
    kinds.into_iter().map(|kind| simple_type(kind, schema)).collect()
}

fn simple_type(kind: &str, schema: &Value) -> Result<String, String> {
    let format = schema.get("format").and_then(Value::as_str);
    let text = match (kind, format) {
        ("string", Some("uuid")) => "string (UUID)".to_owned(),
        ("string", Some("date-time")) => "string (time)".to_owned(),
        ("string", _) => match schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => format!("string (`{pattern}`)"),
            None => "string".to_owned(),
        },
        ("array", _) => {
            let items = type_of(schema.get("items").ok_or("an array of what?")?)?;
            format!("array of {}", items.join(" or "))
        }
        ("object", _) => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("object: name → {}", type_of(values)?.join(" or ")),
            _ => "object".to_owned(),
        },
        ("integer" | "number" | "boolean" | "null", _) => kind.to_owned(),
        _ => return Err(format!("a type that is not described: {kind}")),
    };
    Ok(text)
}

/// The words of an enum and what they mean.
fn words(schema: &Value) -> Option<Vec<(String, String)>> {
    let choices = schema.get("oneOf")?.as_array()?;
    choices
        .iter()
        .map(|choice| Some((choice.get("const")?.as_str()?.to_owned(), description(choice).unwrap_or_default())))
        .collect()
}

fn description(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(str::to_owned)
}

/// A text as a table's cell holds it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

pub(super) fn first_sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.find(". ").and_then(|end| line.get(..=end)).unwrap_or(line)
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Level and text of every heading.
fn headings(page: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if !fenced && level > 0 {
            found.push((level, line.trim_start_matches('#').trim()));
        }
    }
    found
}

fn contents(page: &str) -> String {
    let chapters = headings(page).into_iter().filter(|(level, _)| *level == 2);
    let lines: Vec<String> = chapters.map(|(_, title)| format!("- [{title}](#{})", slug(title))).collect();
    lines.join("\n")
}

/// Every link within the page leads somewhere, and no two chapters or types share an anchor.
fn check_links(page: &str) -> Result<(), String> {
    let mut anchors: BTreeMap<String, u32> = BTreeMap::new();
    let mut there = Vec::new();
    for (_, title) in headings(page) {
        let anchor = slug(title);
        let before = anchors.entry(anchor.clone()).or_default();
        // Only events may have the same name twice.
        if *before > 0 && !title.starts_with('`') {
            return Err(format!("two headings of the page are called {title:?}"));
        }
        there.push(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    for link in page.split("](#").skip(1) {
        let link = link.split(')').next().unwrap_or_default();
        if !there.iter().any(|anchor| anchor == link) {
            return Err(format!("a link of the page leads nowhere: #{link}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::{
        envelope::Envelope,
        event::{ClientEvent, ServerEvent},
    };

    #[test]
    fn the_page_names_everything_once() {
        let page = page().unwrap();
        // What is said and told under one name has a heading for each.
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for event in Protocol::read().unwrap().events() {
            *times.entry(event.name.to_owned()).or_default() += 1;
        }
        for (name, times) in times {
            assert_eq!(page.matches(&format!("\n### `{name}`\n")).count(), times, "{name}");
        }
        assert!(!page.contains("{{"));
        assert_eq!(page, super::page().unwrap());
    }

    #[test]
    fn the_conversation_is_one() {
        let (mut sent, mut got) = (0, 0);
        for line in INTRO.lines() {
            if let Some(text) = line.strip_prefix("→ ") {
                let event = Envelope::parse(text).unwrap();
                ClientEvent::parse(&event.kind, event.payload_text()).unwrap();
                sent += 1;
            }
            if let Some(text) = line.strip_prefix("← ") {
                let name = text.strip_prefix("{\"type\":\"").unwrap().split('"').next().unwrap();
                assert!(ServerEvent::catalogue().iter().any(|e| e.name == name), "{name}");
                got += 1;
            }
        }
        assert_eq!((sent, got), (3, 3));
    }

    #[test]
    fn the_sample_client_stops_where_it_must() {
        let stop: Vec<String> = CloseCode::ALL
            .iter()
            .filter(|code| code.action() == Action::Stop)
            .map(|code| code.number().to_string())
            .collect();
        assert!(CLIENT.contains(&format!("const stop = [{}];", stop.join(", "))), "{stop:?}");
    }

    #[test]
    fn anchors_are_github_s() {
        assert_eq!(slug("`room.member.added`"), "roommemberadded");
        assert_eq!(slug("Order, and how to resume"), "order-and-how-to-resume");
        assert!(check_links("# A\n[x](#a)").is_ok());
        assert!(check_links("# A\n[x](#b)").is_err());
        assert!(check_links("# A\n## A\n").is_err());
        assert!(check_links("## `a.b`\n## `a.b`\n[x](#ab-1)").is_ok());
    }

    #[test]
    fn schemas_in_words() {
        let of = |text: &str| type_of(&serde_json::from_str(text).unwrap()).map(|t| t.join(" or "));
        assert_eq!(of(r#"{"type":["string","null"],"format":"uuid"}"#).unwrap(), "string (UUID) or null");
        let map = r#"{"type":"object","additionalProperties":{"type":"array","items":{"type":"integer"}}}"#;
        assert_eq!(of(map).unwrap(), "object: name → array of integer");
        assert_eq!(of(r##"{"allOf":[{"$ref":"#/components/schemas/Room"}]}"##).unwrap(), "[Room](#room)");
        assert!(of(r#"{"not":{}}"#).is_err());
    }
}
