//! State that all requests share.

use crate::budget::Budget;
use crate::config::Limits;
use crate::device::Device;
use crate::metrics::Metrics;
use crate::models::{Models, Work};
use crate::photo::{DECODED_BYTES, Photo};
use crate::problem::Problem;
use crate::queue::{Job, Queue, Update};
use axum::http::StatusCode;
use shadetell::image::DecodeOptions;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The state that all requests share.
pub(crate) struct Service {
    pub(crate) limits: Limits,
    pub(crate) models: Models,
    pub(crate) queue: Queue,
    pub(crate) metrics: Metrics,
    /// Memory for bodies.
    pub(crate) bodies: Budget,
    /// Memory for photos that are being decoded.
    decoding: Budget,
    /// The number of photos that may still be accepted.
    places: Arc<Semaphore>,
    device: Mutex<Device>,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// A photo that waits for its caption.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Width and height.
    pub(crate) size: [u32; 2],
    pub(crate) decode: Duration,
    pub(crate) preprocess: Duration,
    pub(crate) updates: UnboundedReceiver<Update>,
}

impl Service {
    /// The initial state of a server.
    pub(crate) fn new(models: Models, device: Device, limits: Limits) -> Service {
        /// The least budget for all bodies in memory, in bytes.
        const BODIES: u64 = 256 << 20;
        /// The least budget for all photos that are being decoded, in bytes. It is raised so that the largest photo fits.
        const DECODING: u64 = 1 << 30;
        Service {
            models,
            queue: Queue::default(),
            metrics: Metrics::default(),
            bodies: Budget::new(BODIES.max(2 * limits.max_body as u64)),
            decoding: Budget::new(DECODING.max(DECODED_BYTES.saturating_mul(limits.max_pixels))),
            places: Arc::new(Semaphore::new(limits.queue)),
            device: Mutex::new(device),
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            worker: Mutex::new(None),
            limits,
        }
    }

    /// Reserves places in the queue.
    ///
    /// # Errors
    /// 429 if there are not enough.
    pub(crate) fn places(&self, photos: usize) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_many_owned(photos as u32).map_err(|_| self.queue_full())
    }

    /// Checks that the queue has a place, without reserving it.
    ///
    /// # Errors
    /// 429 if it has none.
    pub(crate) fn check_places(&self) -> Result<(), Problem> {
        match self.places.available_permits() {
            0 => Err(self.queue_full()),
            _ => Ok(()),
        }
    }

    fn queue_full(&self) -> Problem {
        let waiting = self.accepted();
        let detail =
            format!("{waiting} photos are waiting, of at most {}; try again later", self.limits.queue);
        let seconds = waiting as f64 * self.metrics.seconds_per_photo();
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", detail)
            .retry_after((seconds.ceil() as u64).min(60))
    }

    /// Decodes a photo, resizes it, and puts it into the queue.
    ///
    /// # Errors
    /// The photo cannot be decoded, or the server is stopping.
    pub(crate) async fn submit(
        &self,
        photo: Photo,
        place: OwnedSemaphorePermit,
        work: Work,
        follow: bool,
    ) -> Result<Waiting, Problem> {
        let Limits { max_pixels, max_body, .. } = self.limits;
        let options = DecodeOptions { max_pixels, max_bytes: max_body as u64, ..DecodeOptions::default() };
        let preprocessing = self.models.get(work.model()).manifest().preprocess;
        let prepared = photo.prepare(options, preprocessing, &self.decoding).await?;
        self.metrics.stage("decode", prepared.decode);
        self.metrics.stage("preprocess", prepared.preprocess);
        let (reply, updates) = unbounded_channel();
        self.queue.push(Job {
            input: prepared.input,
            work,
            follow,
            reply,
            _place: Some(place),
            arrived: Instant::now(),
        })?;
        let (size, decode, preprocess) = (prepared.size, prepared.decode, prepared.preprocess);
        Ok(Waiting { size, decode, preprocess, updates })
    }

    /// Marks the server as stopping.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Stores the handle of the worker thread, which [`Service::finish`] joins.
    pub(crate) fn set_worker(&self, worker: JoinHandle<()>) {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    }

    /// Waits until the worker has finished the queue.
    pub(crate) async fn finish(&self) {
        self.queue.close();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // The worker catches its panics itself.
            let _ = tokio::task::spawn_blocking(move || worker.join()).await;
        }
    }

    /// The device that captions are computed on.
    pub(crate) fn device(&self) -> Device {
        self.device.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_device(&self, device: Device) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire) && !self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.is_ready.store(ready, Ordering::Release);
    }

    /// Photos that are accepted and not answered yet.
    pub(crate) fn accepted(&self) -> usize {
        self.limits.queue.saturating_sub(self.places.available_permits())
    }
}
