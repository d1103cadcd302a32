//! What all requests share, and the routes.

use super::metrics::Metrics;
use super::models::Models;
use super::problem::Problem;
use super::queue::Queue;
use super::worker::{Reopen, Worker};
use super::{drain, guard, max, observe, openapi, page, v1};
use crate::cli::engine::{Device, Engine};
use crate::cli::failure::Failure;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, available_parallelism};
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What clients may ask for at most.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Photos at a time on the device.
    pub(super) max_batch: usize,
    /// How long a photo waits for others.
    pub(super) max_wait: Duration,
    /// Photos that are accepted and not done.
    pub(super) queue: usize,
    /// Bytes of a body.
    pub(super) max_body: usize,
    /// Pixels of a photo.
    pub(super) max_pixels: u64,
    /// For the head of a request, and for its body.
    pub(super) timeout: Duration,
    /// Connections.
    pub(super) connections: usize,
}

impl Limits {
    /// Bytes of all bodies that are in memory.
    fn all_bodies(&self) -> usize {
        const ROOM: usize = 256 << 20;
        ROOM.max(2 * self.max_body)
    }
}

/// Memory of bodies is counted in pieces of so many bytes.
pub(super) const PIECE: usize = 1024;

/// What all requests share.
pub(super) struct Service {
    pub(super) limits: Limits,
    pub(super) models: Models,
    pub(super) queue: Queue,
    /// Photos that may still be accepted.
    pub(super) places: Arc<Semaphore>,
    /// Pieces of memory that bodies may still take.
    pub(super) memory: Arc<Semaphore>,
    /// Photos that may be decoded besides: each can take hundreds of megabytes.
    pub(super) decoders: Arc<Semaphore>,
    pub(super) metrics: Metrics,
    device: Mutex<Device>,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// Photos that are decoded besides each other.
pub(super) fn decoders() -> usize {
    available_parallelism().map_or(1, usize::from)
}

impl Service {
    /// Starts the thread that has the device, on which the first model is made ready.
    pub(super) fn start(
        models: Models,
        engine: Engine,
        reopen: Reopen,
        limits: Limits,
    ) -> Result<Arc<Service>, Failure> {
        let service = Arc::new(Service {
            models,
            queue: Queue::default(),
            places: Arc::new(Semaphore::new(limits.queue)),
            memory: Arc::new(Semaphore::new((limits.all_bodies() / PIECE).min(Semaphore::MAX_PERMITS))),
            decoders: Arc::new(Semaphore::new(decoders())),
            metrics: Metrics::default(),
            device: Mutex::new(engine.device.clone()),
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            worker: Mutex::new(None),
            limits,
        });
        let shared = Arc::clone(&service);
        let work = move || Worker::new(&shared, engine, reopen).run();
        let thread = Builder::new().name("engine".to_owned()).spawn(work);
        let thread = thread.map_err(|error| Failure::System(format!("cannot start a thread: {error}")))?;
        *service.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(service)
    }

    /// From now on it is not ready for more.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Lets the worker finish what waits.
    pub(super) async fn finish(&self) {
        self.queue.close();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // Its panics are caught where it works.
            let _ = tokio::task::spawn_blocking(move || worker.join()).await;
        }
    }

    /// What computes.
    pub(super) fn device(&self) -> Device {
        self.device.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_device(&self, device: Device) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire) && !self.is_stopping.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.is_ready.store(ready, Ordering::Release);
    }

    /// Photos that are accepted and not done.
    pub(super) fn accepted(&self) -> usize {
        self.limits.queue.saturating_sub(self.places.available_permits())
    }
}

/// All routes.
pub(super) fn router(service: &Arc<Service>, access: guard::Access) -> Router {
    let (api, description) = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(v1::caption))
        .routes(routes!(v1::models))
        .routes(routes!(max::predict))
        .routes(routes!(max::metadata))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(observe::metrics))
        .split_for_parts();
    api.merge(openapi::routes(&description))
        .merge(page::routes())
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "no_such_route", "there is nothing at this path; see /docs")
        })
        .method_not_allowed_fallback(|| async {
            let detail = "this path has other methods, which `Allow` names; see /docs";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(middleware::from_fn_with_state(Arc::new(access), guard::check))
        .layer(middleware::from_fn(page::harden))
        .layer(middleware::from_fn_with_state(Arc::clone(service), observe::observe))
        .layer(middleware::from_fn(drain::drain))
        .with_state(Arc::clone(service))
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// That it can answer.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    status: &'static str,
    /// What computes.
    adapter: String,
}

/// Whether the server lives.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether it can caption: not while kernels are compiled or a lost device is opened again.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, body = Readiness),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
async fn readyz(State(service): State<Arc<Service>>) -> Response {
    if service.is_ready() {
        return Json(Readiness { status: "ready", adapter: service.device().name }).into_response();
    }
    let detail = "the device is being made ready; ask again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(1).into_response()
}
