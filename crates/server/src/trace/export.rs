//! Sends spans in batches, by the house's own HTTP client. Where that fails they are lost and counted; nobody waits.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::sync::mpsc;

use super::{Record, otlp};
use crate::{config::Config, metrics::Metrics, outbound, tasks::Tasks};

/// Spans sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(5);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is sent where the collector asks for patience, and how long the first pause is.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last batches may take when the house stops.
const PARTING: Duration = Duration::from_secs(2);

/// Why a batch was not taken.
struct Refusal {
    why: String,
    again: bool,
}

/// Sends what waits.
pub struct Exporter {
    client: Client,
    url: String,
    headers: HeaderMap,
    service: String,
    instance: String,
    waiting: mpsc::Receiver<Record>,
    metrics: Arc<Metrics>,
    /// The last batch was not taken.
    failing: bool,
}

impl Exporter {
    pub(super) fn new(
        config: &Config,
        endpoint: &str,
        waiting: mpsc::Receiver<Record>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.otlp_headers {
            let told = |_| format!("OTEL_EXPORTER_OTLP_HEADERS: {name} cannot be sent");
            let mut held = HeaderValue::from_str(value.expose()).map_err(|e| told(e.to_string()))?;
            held.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str()).map_err(|e| told(e.to_string()))?, held);
        }
        Ok(Self {
            client: outbound::client(endpoint, TIMEOUT)?,
            url: format!("{endpoint}/v1/traces"),
            headers,
            service: config.otel_service_name.clone(),
            instance: std::process::id().to_string(),
            waiting,
            metrics,
            failing: false,
        })
    }

    /// Until the house ends; what waits then is sent, if it goes quickly.
    pub async fn run(mut self, tasks: &Tasks) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let first = tokio::select! {
                first = self.waiting.recv() => first,
                () = tasks.hard_stop() => None,
            };
            let Some(first) = first else { break };
            batch.push(first);
            let gathered = async {
                while batch.len() < BATCH
                    && let Some(next) = self.waiting.recv().await
                {
                    batch.push(next);
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(GATHER, gathered) => {}
                () = tasks.soft_stop() => {}
            }
            // One that is under way when the house ends goes on: sent anew, the collector might have it twice.
            {
                let mut sending = std::pin::pin!(self.send(&batch));
                let over = tokio::select! {
                    () = &mut sending => false,
                    () = tasks.hard_stop() => true,
                };
                if over && tokio::time::timeout(PARTING, sending).await.is_err() {
                    return;
                }
            }
            batch.clear();
        }
        let rest = async {
            loop {
                while batch.len() < BATCH
                    && let Ok(next) = self.waiting.try_recv()
                {
                    batch.push(next);
                }
                if batch.is_empty() {
                    break;
                }
                self.send(&batch).await;
                batch.clear();
            }
        };
        let _ = tokio::time::timeout(PARTING, rest).await;
    }

    async fn send(&mut self, batch: &[Record]) {
        let mut pause = PAUSE;
        let mut outcome = Ok(());
        for tried in 1..=TRIES {
            outcome = self.post(batch).await;
            match &outcome {
                Err(refusal) if refusal.again && tried < TRIES => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => break,
            }
        }
        let count = batch.len() as u64;
        match outcome {
            Ok(()) => {
                self.metrics.spans_sent.add(count);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("traces are taken again");
                }
            }
            Err(Refusal { why, .. }) => {
                self.metrics.spans_dropped.add(count);
                // Once, not for every batch.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(why, "traces are not taken: they are dropped until they are");
                }
            }
        }
    }

    async fn post(&self, batch: &[Record]) -> Result<(), Refusal> {
        let body = otlp::request(&self.service, &self.instance, batch);
        let request = self.client.post(&self.url).headers(self.headers.clone()).json(&body);
        let response = request.send().await.map_err(|e| Refusal { why: outbound::why(&e), again: true })?;
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(()),
            // Those that OTLP names: the others will not be taken another time either.
            429 | 502 | 503 | 504 => Err(Refusal { why: format!("status {status}"), again: true }),
            _ => Err(Refusal { why: format!("status {status}"), again: false }),
        }
    }
}
