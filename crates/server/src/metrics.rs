//! Counts and times for Prometheus. They contain neither contents nor names of photos.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

/// From 1 ms to 16 s.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
}

/// All counts and times.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    latency: Family<Route, Histogram>,
    stages: Family<Stage, Histogram>,
    batches: Histogram,
    photos: Counter,
    reopened: Counter,
    waiting: Gauge,
    accepted: Gauge,
    ready: Gauge,
    /// Moving average of the device's time for a photo, in seconds.
    pace: Mutex<f64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let metrics = Metrics {
            registry: Registry::with_prefix("shadetell"),
            requests: Family::default(),
            latency: Family::new_with_constructor(seconds),
            stages: Family::new_with_constructor(seconds),
            batches: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
            photos: Counter::default(),
            reopened: Counter::default(),
            waiting: Gauge::default(),
            accepted: Gauge::default(),
            ready: Gauge::default(),
            pace: Mutex::new(0.1),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Metrics {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests, by route and status", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register_with_unit(
            "stage_duration",
            "Stages of a photo",
            Unit::Seconds,
            self.stages.clone(),
        );
        registry.register("batch_photos", "Photos that were captioned together", self.batches.clone());
        registry.register("photos", "Photos that were captioned", self.photos.clone());
        registry.register("device_reopened", "Devices that replaced a lost one", self.reopened.clone());
        registry.register("queue_photos", "Photos that wait for the device", self.waiting.clone());
        registry.register("accepted_photos", "Photos that are accepted and not done", self.accepted.clone());
        registry.register("ready", "1 if the device can caption", self.ready.clone());
        self
    }

    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.latency.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    pub(crate) fn stage(&self, stage: &'static str, took: Duration) {
        self.stages.get_or_create(&Stage { stage }).observe(took.as_secs_f64());
    }

    pub(crate) fn batch(&self, photos: usize, took: Duration) {
        self.batches.observe(photos as f64);
        self.photos.inc_by(photos as u64);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = 0.8 * *pace + 0.2 * took.as_secs_f64() / photos as f64;
    }

    /// Moving average of the device's time for a photo.
    pub(crate) fn seconds_per_photo(&self) -> f64 {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reopened(&self) {
        self.reopened.inc();
    }

    /// All metrics in the text format of OpenMetrics.
    pub(crate) fn text(&self, waiting: usize, accepted: usize, is_ready: bool) -> String {
        self.waiting.set(waiting as i64);
        self.accepted.set(accepted as i64);
        self.ready.set(i64::from(is_ready));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
