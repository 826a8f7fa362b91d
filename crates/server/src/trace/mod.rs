//! Traces (OpenTelemetry): what a request or an event took, and what of it the store took.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set: then nothing here is made, and asking for it costs one look. A span holds
//! names of the program and numbers: no path, no header, no text that somebody sent. See ADR 0005.

mod export;
mod otlp;

use std::{
    borrow::Cow,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tokio::sync::mpsc;

use crate::{clock::Clock, config::Config, ids::Ids, metrics::Metrics};

pub use export::Exporter;

/// Spans that wait to be sent; beyond it they are dropped and counted.
const QUEUE: usize = 2_048;

/// What a span stands for, in OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something within the server.
    Internal = 1,
    /// What somebody asked for.
    Server = 2,
    /// What the server asks of another, such as a database.
    Client = 3,
}

/// What is noted of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word of the program.
    Word(&'static str),
    /// A number.
    Int(i64),
}

/// A span that is over.
#[derive(Debug)]
struct Record {
    trace: [u8; 16],
    span: [u8; 8],
    parent: Option<[u8; 8]>,
    name: Cow<'static, str>,
    kind: Kind,
    start_ns: u64,
    end_ns: u64,
    attributes: Vec<(&'static str, Value)>,
    route: Option<Arc<str>>,
    failed: Option<&'static str>,
}

/// Makes spans.
pub struct Tracer {
    queue: mpsc::Sender<Record>,
    /// Taken by whoever sends.
    waiting: Mutex<Option<mpsc::Receiver<Record>>>,
    ids: Ids,
    clock: Clock,
    /// Of the last eight bytes of a trace's id, those below it are recorded.
    below: u128,
    metrics: Arc<Metrics>,
}

/// Where in a trace somebody is.
#[derive(Clone)]
pub struct Context {
    tracer: Arc<Tracer>,
    trace: [u8; 16],
    span: [u8; 8],
    /// When the trace began here, by the steady clock and by the wall clock: all its times are reckoned from that.
    began: Instant,
    began_ns: u64,
}

tokio::task_local! {
    static CURRENT: Context;
}

impl Tracer {
    /// For these settings; none where no traces are wanted.
    pub fn new(config: &Config, ids: &Ids, clock: &Clock, metrics: &Arc<Metrics>) -> Option<Arc<Self>> {
        config.otlp_endpoint.as_ref()?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        Some(Arc::new(Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            ids: ids.clone(),
            clock: clock.clone(),
            below: (u128::from(config.trace_sample_ppm) << 64) / 1_000_000,
            metrics: metrics.clone(),
        }))
    }

    /// What sends the spans; for the first who asks.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn exporter(&self, config: &Config) -> Result<Option<Exporter>, String> {
        let taken = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(waiting), Some(endpoint)) = (taken, &config.otlp_endpoint) else { return Ok(None) };
        Exporter::new(config, endpoint, waiting, self.metrics.clone()).map(Some)
    }

    /// Begins a trace, or goes on with one that the caller's `traceparent` names. None where it is not among those that are
    /// recorded: that follows from its id, so that every service that is asked with the same share records the same ones.
    pub fn begin(
        self: &Arc<Self>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        traceparent: Option<&str>,
    ) -> Option<Span> {
        let (trace, parent) = match traceparent.and_then(read_traceparent) {
            Some((trace, parent)) => (trace, Some(parent)),
            None => (self.ids.random::<16>(), None),
        };
        let last = trace.iter().skip(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        if u128::from(last) >= self.below {
            return None;
        }
        let began_ns = u64::try_from(self.clock.now_ms()).unwrap_or(0).saturating_mul(1_000_000);
        let span = self.ids.random::<8>();
        let context = Context { tracer: self.clone(), trace, span, began: Instant::now(), began_ns };
        Some(context.span(name.into(), kind, parent, span))
    }
}

/// The trace and the span of a W3C `traceparent`.
fn read_traceparent(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = version == "00" && parts.next().is_none() || version.len() == 2 && !matches!(version, "00" | "ff");
    if !known || flags.len() != 2 {
        return None;
    }
    let (trace, span) = (unhex::<16>(trace)?, unhex::<8>(span)?);
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() != 2 * N || !lower {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

impl Context {
    fn span(&self, name: Cow<'static, str>, kind: Kind, parent: Option<[u8; 8]>, span: [u8; 8]) -> Span {
        let context = Self { span, ..self.clone() };
        let (attributes, failed) = (Vec::new(), OnceLock::new());
        Span { context, parent, name, kind, start: Instant::now(), attributes, route: None, failed }
    }

    fn at(&self, then: Instant) -> u64 {
        let passed = then.saturating_duration_since(self.began).as_nanos();
        self.began_ns.saturating_add(u64::try_from(passed).unwrap_or(0))
    }
}

/// Something that takes time; over when it is dropped.
pub struct Span {
    context: Context,
    parent: Option<[u8; 8]>,
    name: Cow<'static, str>,
    kind: Kind,
    start: Instant,
    attributes: Vec<(&'static str, Value)>,
    route: Option<Arc<str>>,
    failed: OnceLock<&'static str>,
}

impl Span {
    /// For what goes on within it.
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// Notes something.
    pub fn note(&mut self, name: &'static str, value: Value) {
        self.attributes.push((name, value));
    }

    /// Notes the router's pattern, and names the span by it.
    pub fn note_route(&mut self, method: &'static str, route: Option<&str>) {
        self.note("http.request.method", Value::Word(method));
        self.name = match route {
            Some(route) => format!("{method} {route}").into(),
            None => method.into(),
        };
        self.route = route.map(Arc::from);
    }

    /// It failed; the first reason counts.
    pub fn fail(&self, code: &'static str) {
        let _ = self.failed.set(code);
    }

    /// How long it has taken, microseconds.
    pub fn micros(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let context = &self.context;
        let record = Record {
            trace: context.trace,
            span: context.span,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            start_ns: context.at(self.start),
            end_ns: context.at(Instant::now()),
            attributes: std::mem::take(&mut self.attributes),
            route: self.route.take(),
            failed: self.failed.get().copied(),
        };
        if context.tracer.queue.try_send(record).is_err() {
            context.tracer.metrics.spans_dropped.add(1);
        }
    }
}

/// A span within the one that is under way; none where none is.
pub fn child(name: &'static str, kind: Kind) -> Option<Span> {
    CURRENT
        .try_with(|context| context.span(name.into(), kind, Some(context.span), context.tracer.ids.random::<8>()))
        .ok()
}

/// Runs something within a span.
pub fn within<T>(context: Context, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

/// The same for what takes turns.
pub async fn scoped<T>(context: Context, work: impl Future<Output = T>) -> T {
    CURRENT.scope(context, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_traceparent_and_nothing_else() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        let (read, span) = read_traceparent(&good).unwrap();
        assert_eq!((read[0], read[15], span[0], span[7]), (0x0a, 0x9c, 0xb7, 0x31));
        assert!(read_traceparent(&format!("01-{trace}-b7ad6b7169203331-01-more")).is_some(), "a later version");
        let none = "0".repeat(32);
        for bad in [
            "",
            "00",
            &format!("00-{trace}-b7ad6b7169203331"),
            &format!("00-{trace}-b7ad6b7169203331-01-more"),
            &format!("ff-{trace}-b7ad6b7169203331-01"),
            &format!("00-{none}-b7ad6b7169203331-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            &format!("00-{trace}é-b7ad6b7169203331-01"),
        ] {
            assert_eq!(read_traceparent(bad), None, "{bad}");
        }
    }
}
