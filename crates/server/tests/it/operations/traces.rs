//! Traces, as a collector reads them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use std::sync::Mutex;

use super::{scrape, sum};
use crate::kit::{Database, Server};

/// A collector that takes OTLP's JSON, or refuses it.
#[derive(Clone)]
struct Collector {
    url: String,
    seen: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: StatusCode,
}

impl Collector {
    async fn start(answer: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/otlp", listener.local_addr().unwrap());
        let collector = Self { url, seen: Arc::default(), answer };
        let take = |State(me): State<Self>, headers: HeaderMap, body: String| async move {
            me.seen.lock().unwrap().push((headers, body));
            (me.answer, "{}")
        };
        let routes = Router::new().route("/otlp/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        collector
    }

    fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }
}

/// A span, read as opentelemetry-proto's JSON mapping says.
#[derive(Debug, Clone)]
struct Read {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    failed: bool,
    attributes: BTreeMap<String, String>,
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let of = |a: &Value| {
        let value = a["value"]["stringValue"].as_str().or(a["value"]["intValue"].as_str()).unwrap();
        (a["key"].as_str().unwrap().to_owned(), value.to_owned())
    };
    list.as_array().unwrap().iter().map(of).collect()
}

fn read(bodies: &[Value]) -> Vec<Read> {
    let hex = |value: &Value, length: usize| {
        let text = value.as_str().unwrap_or_default().to_owned();
        assert!(text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
        text
    };
    let time = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let mut spans = Vec::new();
    for body in bodies {
        let resource = &body["resourceSpans"][0];
        let who = attributes(&resource["resource"]["attributes"]);
        assert_eq!((who["service.name"].as_str(), who["service.version"].is_empty()), ("the house", false));
        for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
            let parent = if span["parentSpanId"].is_null() { String::new() } else { hex(&span["parentSpanId"], 16) };
            spans.push(Read {
                trace: hex(&span["traceId"], 32),
                id: hex(&span["spanId"], 16),
                parent,
                name: span["name"].as_str().unwrap().to_owned(),
                kind: span["kind"].as_u64().unwrap(),
                start: time(&span["startTimeUnixNano"]),
                end: time(&span["endTimeUnixNano"]),
                failed: span["status"]["code"] == 2,
                attributes: attributes(&span["attributes"]),
            });
        }
    }
    spans
}

fn settings(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2, x-tenant = house"),
        ("OTEL_SERVICE_NAME", "the house"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_events_and_transactions_arrive_and_no_secret() {
    let collector = Collector::start(StatusCode::OK).await;
    let server = Server::start_on(Database::new(), &settings(&collector.url)).await;
    let ana = server.register("trace-ana").await;
    let room = server.room(&ana, "a traced room").await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let asked = server.http.get(server.url(&format!("/api/rooms/{room}"))).bearer_auth(&ana.token);
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    assert_eq!(asked.header("traceparent", parent).send().await.unwrap().status(), 200);
    assert_eq!(server.ask("GET", "/api/nothing-that-was-there", None, None).await.0, 404);
    assert_eq!(server.post("/api/invites/a-code-that-is-secret/accept", &ana, json!({})).await.0, 404);
    server.ask("GET", "/ready", None, None).await;
    let mut peer = server.peer(&ana).await;
    peer.join(&room).await;
    peer.say(&room, "words that nobody traces").await;
    let other = "019a0000-0000-7000-8000-000000000000";
    let refused = peer.ask("chat.message.send", json!({"room_id": other, "content": "x"})).await;
    let code = refused["payload"]["code"].as_str().unwrap().to_owned();
    drop(peer);
    let app = server.app.clone();
    server.stop().await;

    let (headers, _) = collector.seen.lock().unwrap()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!((header("authorization"), header("x-tenant")), ("Bearer hunter2".to_owned(), "house".to_owned()));
    assert_eq!(header("content-type"), "application/json");
    let bodies = collector.bodies();
    let spans = read(&bodies);
    assert_eq!(app.metrics.spans_sent.get(), spans.len() as u64);
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each id once");
    for span in &spans {
        assert!(span.start <= span.end && span.start > 1_700_000_000_000_000_000, "{span:?}");
    }
    let named = |name: &str| spans.iter().filter(|span| span.name == name).cloned().collect::<Vec<_>>();
    let children = |of: &Read| spans.iter().filter(|s| s.parent == of.id).cloned().collect::<Vec<_>>();

    let [register] = &named("POST /api/auth/register")[..] else { panic!("{spans:?}") };
    assert_eq!((register.kind, register.parent.as_str(), register.failed), (2, "", false));
    assert_eq!(register.attributes["http.response.status_code"], "201");
    assert_eq!(register.attributes["http.route"], "/api/auth/register");
    let within = children(register);
    assert!(within.iter().any(|s| s.name == "store.write"), "{within:?}");
    for child in &within {
        assert_eq!((&child.trace, child.kind), (&register.trace, 3));
        assert!(child.start >= register.start && child.end <= register.end, "{child:?} in {register:?}");
        assert!(["sqlite", "postgresql"].contains(&child.attributes["db.system.name"].as_str()));
        assert!(child.attributes.contains_key("mesh.store.began_us"));
    }
    // The caller's trace goes on here.
    let [shown] = &named("GET /api/rooms/{id}")[..] else { panic!("{spans:?}") };
    assert_eq!((shown.trace.as_str(), shown.parent.as_str()), (trace, "b7ad6b7169203331"));
    assert_eq!(named("GET").len(), 1, "a path that no route took is not told");
    assert!(spans.iter().all(|span| !span.name.contains("/ready")));

    let sends = named("chat.message.send");
    let [good, bad] = &sends[..] else { panic!("{sends:?}") };
    let (good, bad) = if good.failed { (bad, good) } else { (good, bad) };
    assert_eq!((good.kind, good.failed, bad.failed), (2, false, true));
    assert_eq!(bad.attributes["error.type"], code);
    let written = children(good);
    assert!(
        written.iter().any(|s| s.name == "store.write" && s.end <= good.end),
        "over when it is answered: {written:?}"
    );
    for name in ["system.hello", "room.join"] {
        let [span] = &named(name)[..] else { panic!("{name}") };
        assert!(!children(span).is_empty(), "{name} asks the store");
    }

    let all = bodies.iter().map(Value::to_string).collect::<String>();
    for secret in [
        "correct horse",
        &ana.token,
        "trace-ana",
        &room,
        &ana.id,
        "a traced room",
        "words that nobody",
        "a-code-that-is-secret",
        "nothing-that-was-there",
        "hunter2",
        other,
    ] {
        assert!(!all.contains(secret), "{secret} was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_nothing_is_nothing_and_off_is_off() {
    let collector = Collector::start(StatusCode::OK).await;
    let mut few = settings(&collector.url);
    few.push(("OTEL_TRACES_SAMPLER_ARG", "0"));
    let server = Server::start_on(Database::new(), &few).await;
    server.register("ana").await;
    server.stop().await;
    assert!(collector.bodies().is_empty());
    let server = Server::start().await;
    assert!(server.app.tracer.is_none());
    server.register("ana").await;
    assert_eq!(sum(&scrape(&server).await, "mesh_trace_spans_total", &[]), 0.0);
    server.stop().await;
}

/// A collector that refuses, hangs or is not there harms nobody: spans are lost and counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_is_nobodys_trouble() {
    let collector = Collector::start(StatusCode::BAD_REQUEST).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", silent.local_addr().unwrap());
    for url in [collector.url.as_str(), "http://127.0.0.1:1", &hangs] {
        let server = Server::start_on(Database::new(), &settings(url)).await;
        let ana = server.register("ana").await;
        let room = server.room(&ana, "Cuisine").await;
        let mut peer = server.peer(&ana).await;
        peer.join(&room).await;
        // More than wait for the collector at once.
        for n in 0..800 {
            peer.say(&room, &format!("m{n}")).await;
        }
        assert_eq!(server.log(&ana, &room).await.len(), 800);
        assert_eq!(server.ask("GET", "/ready", None, None).await.0, 200);
        drop(peer);
        let app = server.app.clone();
        server.stop().await;
        if url == collector.url {
            assert!(app.metrics.spans_dropped.get() >= 1_600);
            assert_eq!(app.metrics.spans_sent.get(), 0);
        }
    }
}
