//! Sending spans to a collector, by OTLP over HTTP, in the background.

use crate::context::CallTrace;
use crate::spans::{CallSpans, Delivery};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Spans of one request to the collector.
const BATCH: usize = 512;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// The collector, `http://collector:4318/v1/traces`: it is sent protobuf (OTLP/HTTP). Headers, with a key of the
    /// collector for example, come from `OTEL_EXPORTER_OTLP_HEADERS`.
    pub endpoint: String,
    /// `service.name` of the resource.
    pub service: String,
    /// `service.instance.id`: the host's name among the hosts of the deployment.
    pub host: String,
    /// The share of calls that are traced, 0 to 1. Which ones, is in a call's id: all hosts trace the same.
    pub share: f64,
    /// Spans that wait for the collector; what is more is dropped.
    pub queue: usize,
    /// How long spans wait for others to go with them.
    pub delay: Duration,
    /// How long the collector may take for an answer.
    pub timeout: Duration,
}

impl TraceConfig {
    /// All calls, to this collector.
    #[must_use]
    pub fn new(endpoint: &str, host: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            service: "callbox".to_owned(),
            host: host.to_owned(),
            share: 1.0,
            queue: 16_384,
            delay: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is no URL, or a variable of OpenTelemetry cannot be used.
    #[error("traces cannot be sent: {0}")]
    Exporter(String),
}

/// What became of spans since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// The collector took them.
    pub sent: u64,
    /// The collector was not there, or did not take them.
    pub failed: u64,
    /// They found no place among those that wait.
    pub dropped: u64,
}

/// Where traces are handed in. Cheap to clone; the default goes nowhere.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Sender>>);

#[derive(Debug)]
struct Sender {
    /// It has a thread of its own, which waits for the collector.
    processor: BatchSpanProcessor,
    share: f64,
    queue: usize,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Handed in and not sent yet. The processor's own queue has room for all of them, so that it drops none uncounted.
    waiting: AtomicUsize,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Traces {
    /// Traces that go nowhere.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Starts sending. The collector need not be there.
    ///
    /// # Errors
    /// When the endpoint or a variable of OpenTelemetry cannot be used.
    pub fn start(config: &TraceConfig) -> Result<Self, TraceError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.endpoint)
            .with_timeout(config.timeout)
            .build()
            .map_err(|error| TraceError::Exporter(error.to_string()))?;
        Ok(Self::with_exporter(exporter, config))
    }

    fn with_exporter(exporter: impl SpanExporter + 'static, config: &TraceConfig) -> Self {
        let counts = Arc::<Counts>::default();
        let queue = config.queue.max(1);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(queue + BATCH)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(config.delay)
            .build();
        let mut counted = Counted { exporter, counts: counts.clone() };
        let resource = Resource::builder().with_service_name(config.service.clone());
        let resource = resource.with_attributes([
            KeyValue::new("service.instance.id", config.host.clone()),
            KeyValue::new("host.name", config.host.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        counted.set_resource(&resource.build());
        let processor = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
        Self(Some(Arc::new(Sender { processor, share: config.share, queue, counts })))
    }

    /// The trace of a call, where it is traced: for the header of requests on its behalf.
    #[must_use]
    pub fn of(&self, call: &str) -> Option<CallTrace> {
        let sender = self.0.as_deref()?;
        CallTrace::of(call).filter(|trace| trace.is_among(sender.share))
    }

    /// Hands in a call that is over. Waits for nothing.
    pub fn call(&self, call: &CallSpans<'_>) {
        if let (Some(sender), Some(trace)) = (self.0.as_deref(), self.of(call.call)) {
            sender.send(call.spans(trace));
        }
    }

    /// Hands in an attempt to deliver. Waits for nothing.
    pub fn delivery(&self, delivery: &Delivery<'_>) {
        if let (Some(sender), Some(trace)) = (self.0.as_deref(), self.of(delivery.call)) {
            sender.send(vec![delivery.span(trace)]);
        }
    }

    /// What became of spans so far; none where they go nowhere.
    #[must_use]
    pub fn counts(&self) -> Option<TraceCounts> {
        let counts = &self.0.as_deref()?.counts;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some(TraceCounts { sent: read(&counts.sent), failed: read(&counts.failed), dropped: read(&counts.dropped) })
    }

    /// Sends what waits, at most for so long, and ends. It blocks: not for a task.
    pub fn stop(&self, within: Duration) {
        let Some(sender) = self.0.as_deref() else { return };
        if let Err(error) = sender.processor.shutdown_with_timeout(within) {
            tracing::warn!(%error, "not all traces were sent");
        }
    }
}

impl Sender {
    fn send(&self, spans: Vec<SpanData>) {
        for span in spans {
            if self.counts.waiting.fetch_add(1, Ordering::AcqRel) < self.queue {
                self.processor.on_end(span);
            } else {
                self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
                if self.counts.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!("the collector does not keep up: spans are dropped, see callbox_trace_spans_total");
                }
            }
        }
    }
}

/// An exporter that counts what becomes of spans.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    counts: Arc<Counts>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.counts.waiting.fetch_sub(spans, Ordering::AcqRel);
        let (counter, count) = match &result {
            Ok(()) => (&self.counts.sent, spans),
            Err(_) => (&self.counts.failed, spans),
        };
        let before = counter.fetch_add(count as u64, Ordering::Relaxed);
        if let (Err(error), 0) = (&result, before) {
            // Once: a collector that is away for a day is no news every two seconds.
            tracing::warn!(%error, "the collector of traces takes nothing; see callbox_trace_spans_total");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkError;
    use std::sync::mpsc::{Receiver, Sender as Tell, channel};
    use std::sync::{Mutex, PoisonError};
    use std::time::SystemTime;

    /// A collector that tells what comes, and answers when it may.
    #[derive(Debug)]
    struct Slow {
        came: Mutex<Tell<usize>>,
        may: Mutex<Receiver<bool>>,
    }

    impl SpanExporter for Slow {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let lock = |may: &Mutex<Receiver<bool>>| may.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let _ = self.came.lock().map(|came| came.send(batch.len()));
            match lock(&self.may) {
                Ok(true) => Ok(()),
                _ => Err(OTelSdkError::InternalFailure("away".into())),
            }
        }
    }

    fn attempt(traces: &Traces) {
        traces.delivery(&Delivery {
            call: "call_019a5f0e7c1070008a2b3c4d5e6f7081",
            tenant: "ten_1",
            delivery: "dlv_1",
            event: "evt_1",
            kind: "call.completed",
            endpoint: "whk_1",
            tries: 0,
            began: SystemTime::UNIX_EPOCH,
            took: Duration::from_millis(5),
            status: Some(204),
            delivered: true,
        });
    }

    #[test]
    fn a_collector_that_is_away_holds_nobody_and_what_is_dropped_is_counted() {
        let ((came, comes), (let_it, may)) = (channel(), channel());
        let config = TraceConfig { queue: 3, delay: Duration::from_millis(1), ..TraceConfig::new("http://x", "a") };
        let traces = Traces::with_exporter(Slow { came: Mutex::new(came), may: Mutex::new(may) }, &config);
        attempt(&traces);
        // The collector has it, and keeps whoever sends waiting.
        assert_eq!(comes.recv().unwrap(), 1);
        for _ in 0..5 {
            attempt(&traces);
        }
        // One is under way, two found a place.
        assert_eq!(traces.counts().unwrap(), TraceCounts { sent: 0, failed: 0, dropped: 3 });
        let_it.send(true).unwrap();
        let mut rest = comes.recv().unwrap();
        let_it.send(false).unwrap();
        if rest < 2 {
            rest += comes.recv().unwrap();
            let_it.send(false).unwrap();
        }
        assert_eq!(rest, 2);
        traces.stop(Duration::from_secs(30));
        assert_eq!(traces.counts().unwrap(), TraceCounts { sent: 1, failed: 2, dropped: 3 });
    }

    #[test]
    fn nothing_is_made_of_calls_that_are_not_traced() {
        let off = Traces::off();
        attempt(&off);
        off.stop(Duration::ZERO);
        assert_eq!((off.counts(), off.of("call_019a5f0e7c1070008a2b3c4d5e6f7081")), (None, None));
        let config = TraceConfig { share: 0.0, ..TraceConfig::new("http://127.0.0.1:9/v1/traces", "a") };
        let none = Traces::start(&config).unwrap();
        attempt(&none);
        assert_eq!(none.of("call_019a5f0e7c1070008a2b3c4d5e6f7081"), None);
        none.stop(Duration::from_secs(30));
        assert_eq!(none.counts(), Some(TraceCounts::default()));
        assert!(Traces::start(&TraceConfig::new("no url at all", "a")).is_err());
    }
}
