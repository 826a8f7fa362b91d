//! OTLP's JSON: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, ids in hexadecimal, 64-bit numbers as text.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{Record, Value};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(name: &str, value: &str) -> Json {
    json!({"key": name, "value": {"stringValue": value}})
}

fn number(name: &str, value: i64) -> Json {
    json!({"key": name, "value": {"intValue": value.to_string()}})
}

fn span(record: &Record) -> Json {
    let mut attributes: Vec<Json> = record
        .attributes
        .iter()
        .map(|(name, value)| match value {
            Value::Word(word) => attribute(name, word),
            Value::Int(value) => number(name, *value),
        })
        .collect();
    attributes.extend(record.route.as_deref().map(|route| attribute("http.route", route)));
    attributes.extend(record.failed.map(|code| attribute("error.type", code)));
    let mut out = json!({
        "traceId": hex(&record.trace),
        "spanId": hex(&record.span),
        "name": record.name,
        "kind": record.kind as i32,
        "startTimeUnixNano": record.start_ns.to_string(),
        "endTimeUnixNano": record.end_ns.to_string(),
        "attributes": attributes,
        "status": if record.failed.is_some() { json!({"code": 2}) } else { json!({}) },
    });
    if let (Some(parent), Some(fields)) = (record.parent, out.as_object_mut()) {
        fields.insert("parentSpanId".to_owned(), hex(&parent).into());
    }
    out
}

/// Who sends, and what it sends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    resource_spans: [Json; 1],
}

/// The request's body for spans of a service.
pub(super) fn request(service: &str, instance: &str, records: &[Record]) -> Request {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        attribute("service.name", service),
        attribute("service.version", version),
        attribute("service.instance.id", instance),
    ];
    let spans: Vec<Json> = records.iter().map(span).collect();
    let scope = json!({"name": "mesh-server", "version": version});
    let spans = json!({"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": spans}]});
    Request { resource_spans: [spans] }
}
