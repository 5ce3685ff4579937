//! What the server counts and times, for Prometheus at `/metrics`: numbers, never anything of what was said.

use super::state::App;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use trice::session::Generation;

/// Bounds of times in seconds, from a token of a small model to a long prompt on a slow device.
const SECONDS: [f64; 17] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
/// Bounds of an answer's tokens per second.
const SPEEDS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
/// Bounds of answers under way at once.
const BATCH: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];

/// A request's labels.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// All that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    waiting: Gauge,
    running: Gauge,
    queue_seconds: Histogram,
    first_token_seconds: Histogram,
    tokens_per_second: Histogram,
    batch_size: Histogram,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("trice");
        let requests = Family::default();
        registry.register("requests", "Requests answered, by route and status", requests.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let waiting = gauge("requests_waiting", "Requests that wait for the GPU");
        let running = gauge("answers_running", "Answers being written");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let prompt_tokens = counter("prompt_tokens", "Tokens of prompts, those held by the cache included");
        let cached_tokens = counter("cached_tokens", "Tokens of prompts that the cache held already");
        let generated_tokens = counter("generated_tokens", "Tokens written");
        let mut histogram = |name: &str, help: &str, bounds: &[f64]| {
            let histogram = Histogram::new(bounds.iter().copied());
            registry.register(name, help, histogram.clone());
            histogram
        };
        let queue_seconds = histogram("queue_seconds", "From a request to the beginning of its work", &SECONDS);
        let first_token_seconds =
            histogram("first_token_seconds", "From a request to its answer's first token", &SECONDS);
        let tokens_per_second = histogram("tokens_per_second", "Speed of an answer after its first token", &SPEEDS);
        let batch_size = histogram("batch_size", "Answers under way when one gets its first token", &BATCH);
        Arc::new(Self {
            registry,
            requests,
            waiting,
            running,
            queue_seconds,
            first_token_seconds,
            tokens_per_second,
            batch_size,
            prompt_tokens,
            cached_tokens,
            generated_tokens,
        })
    }

    /// A request is answered, or its answer begins.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
    }
}

/// A request on its way to the GPU: counted as waiting until it begins or is given up.
pub(crate) struct Waiting {
    metrics: Arc<Metrics>,
    since: Instant,
    /// In the queue.
    _place: OwnedSemaphorePermit,
}

impl Waiting {
    pub(crate) fn new(metrics: &Arc<Metrics>, place: OwnedSemaphorePermit) -> Self {
        metrics.waiting.inc();
        Self { metrics: metrics.clone(), since: Instant::now(), _place: place }
    }

    /// Its work begins.
    pub(crate) fn begin(self) -> Duration {
        let waited = self.since.elapsed();
        self.metrics.queue_seconds.observe(waited.as_secs_f64());
        waited
    }

    /// The same, of a request that writes.
    pub(crate) fn begin_answer(self) -> Running {
        let (metrics, since) = (self.metrics.clone(), self.since);
        let waited = self.begin();
        metrics.running.inc();
        Running { metrics, since, waited }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
    }
}

/// An answer being written.
pub(crate) struct Running {
    metrics: Arc<Metrics>,
    since: Instant,
    /// In the queue.
    pub(crate) waited: Duration,
}

impl Running {
    /// To be called for every token.
    pub(crate) fn on_token(&self) -> impl FnMut() + 'static {
        let (metrics, since, mut is_first) = (self.metrics.clone(), self.since, true);
        move || {
            if std::mem::take(&mut is_first) {
                metrics.first_token_seconds.observe(since.elapsed().as_secs_f64());
                metrics.batch_size.observe(metrics.running.get() as f64);
            }
        }
    }

    /// It is written.
    pub(crate) fn finished(&self, answer: &Generation) {
        self.metrics.prompt_tokens.inc_by(answer.prompt_tokens.len() as u64);
        self.metrics.cached_tokens.inc_by(answer.timings.cached_tokens as u64);
        self.metrics.generated_tokens.inc_by(answer.tokens.len() as u64);
        if answer.tokens.len() > 1 {
            self.metrics.tokens_per_second.observe(answer.timings.decode_tokens_per_s);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.running.dec();
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut body = String::new();
    let written: fmt::Result = text::encode(&mut body, &app.metrics.registry);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match written {
        Ok(()) => Ok(([(header::CONTENT_TYPE, content_type)], body)),
        Err(_) => Err(super::error::ApiError::engine_gone()),
    }
}
