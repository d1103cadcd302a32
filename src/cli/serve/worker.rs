//! The one thread that has the device: it captions what waits in the queue, in batches, and opens the device anew when it is lost.

use super::models::Search;
use super::problem::Problem;
use super::queue::{Job, Spoken, Update};
use super::service::Service;
use crate::cli::engine::Device;
use axum::http::StatusCode;
use shadetell::embed::{Budget, Input};
use shadetell::gpu::{Gpu, GpuError};
use shadetell::{Caption, CaptionOptions, Captioner, Error, wgpu};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// Opens a device again.
pub(super) type Reopen = Box<dyn Fn() -> Result<Device, GpuError> + Send>;

/// Captioners that are kept, each for a search and a number of photos.
const KEPT: usize = 16;
/// Between two attempts to open a device.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Worker<'a> {
    service: &'a Service,
    device: Device,
    reopen: Reopen,
    /// The one used last stands last.
    captioners: Vec<(Search, usize, Captioner)>,
    /// Photos at a time where the device has no room for more.
    most: HashMap<Search, usize>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(service: &'a Service, device: Device, reopen: Reopen) -> Worker<'a> {
        Worker { service, device, reopen, captioners: Vec::new(), most: HashMap::new() }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        self.warm_up();
        let limits = &self.service.limits;
        while let Some(jobs) = self.service.queue.next_batch(limits.max_batch, limits.max_wait) {
            if self.is_lost() {
                self.open_again();
            }
            // Jobs that are dropped by a panic are answered with an internal error.
            let work = AssertUnwindSafe(|| self.answer(jobs));
            let whole = catch_unwind(work).unwrap_or_else(|_| {
                tracing::error!("the engine panicked");
                false
            });
            if !whole {
                self.open_again();
            }
        }
    }

    /// Whether the device was lost while nobody asked for anything.
    fn is_lost(&self) -> bool {
        let Some(gpu) = &self.device.gpu else { return false };
        // A device tells what became of it when it is polled.
        gpu.device.poll(wgpu::PollType::Poll).is_err() || gpu.lost().is_some()
    }

    /// Makes the usual search ready, for all sizes of batches.
    fn warm_up(&mut self) {
        let clock = Instant::now();
        if let Ok(search) = self.service.models.search(None, None, None) {
            let sizes =
                (0..).map(|power| 1 << power).take_while(|&size| size <= self.service.limits.max_batch);
            for size in sizes {
                if let Err(error) = self.captioner(search, size) {
                    tracing::warn!(%error, photos = size, "not made ready");
                    break;
                }
            }
        }
        self.service.set_ready(true);
        tracing::info!(adapter = self.device.name, ms = clock.elapsed().as_millis() as u64, "ready");
    }

    /// Answers jobs of one search; `false` if the device is lost.
    fn answer(&mut self, mut jobs: Vec<Job>) -> bool {
        while let Some(first) = jobs.first() {
            let search = first.search;
            let most = self.most.get(&search).copied().unwrap_or(usize::MAX);
            let size = (1 << jobs.len().ilog2()).min(most);
            let result = match self.captioner(search, size) {
                Err(Error::Gpu(GpuError::LimitTooLow { .. } | GpuError::OutOfMemory(_))) if size > 1 => {
                    self.most.insert(search, size / 2);
                    continue;
                }
                captioner => captioner.map(|_| ()),
            };
            let rest = jobs.split_off(size);
            let group = std::mem::replace(&mut jobs, rest);
            let is_lost = matches!(&result, Err(Error::Gpu(GpuError::DeviceLost(_))));
            let is_lost = match result {
                Ok(()) => !self.speak(search, size, &group),
                Err(error) => {
                    fail(&group, &Problem::from(&error));
                    is_lost
                }
            };
            if is_lost {
                let lost = "the device was lost before this photo's turn; it is opened again, try once more";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "device_lost", lost);
                fail(&jobs, &problem.retry_after(2));
                return false;
            }
        }
        true
    }

    /// Captions a group with the captioner that was used last; `false` if the device is lost.
    fn speak(&self, search: Search, size: usize, group: &[Job]) -> bool {
        let Some((.., captioner)) = self.captioners.last() else { return true };
        let metrics = &self.service.metrics;
        for job in group {
            metrics.stage("wait", job.arrived.elapsed());
        }
        let clock = Instant::now();
        let spoken = match group {
            [job] if job.follow => self.follow(captioner, job).map(|caption| vec![caption]),
            _ => captioner.caption_fitted(&group.iter().map(|job| &job.input).collect::<Vec<_>>()),
        };
        match spoken {
            Ok(captions) => {
                metrics.batch(size, clock.elapsed());
                if let Some(caption) = captions.first() {
                    metrics.stage("encode", caption.timings.encode);
                    metrics.stage("generate", caption.timings.generate);
                }
                for (job, caption) in group.iter().zip(captions) {
                    // Whoever asked may have gone away.
                    let (grid, adapter) = (captioner.attention_grid(), self.device.name.clone());
                    let _ = job.reply.send(Update::Done(Box::new(Spoken { caption, grid, adapter })));
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, model = search.model, "a batch failed");
                fail(group, &Problem::from(&error));
                !matches!(error, Error::Gpu(GpuError::DeviceLost(_)))
            }
        }
    }

    /// Captions a photo and tells its words as they are found.
    fn follow(&self, captioner: &Captioner, job: &Job) -> Result<Caption, Error> {
        let Some(Gpu { device, queue, .. }) = &self.device.gpu else {
            let mut captions = captioner.caption_fitted(&[&job.input])?;
            return Ok(captions.swap_remove(0));
        };
        let lost = |reason: String| Error::Gpu(GpuError::DeviceLost(reason));
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut ticket = captioner.encode(&mut encoder, Input::Fitted(&job.input), Budget::Word)?;
        let mut said = String::new();
        loop {
            queue.submit([encoder.finish()]);
            device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| lost(error.to_string()))?;
            if let Some(caption) = ticket.poll() {
                return caption;
            }
            if ticket.is_recorded() {
                return Err(lost("results did not come back".to_owned()));
            }
            if let Some(caption) = ticket.so_far().filter(|caption| caption.text != said) {
                said.clone_from(&caption.text);
                let _ = job.reply.send(Update::SoFar(said.clone()));
            }
            encoder = device.create_command_encoder(&Default::default());
            ticket.record(&mut encoder)?;
        }
    }

    /// A captioner for a search of so many photos, which becomes the last one.
    fn captioner(&mut self, search: Search, photos: usize) -> Result<&Captioner, Error> {
        let known = self.captioners.iter().position(|(s, size, _)| (*s, *size) == (search, photos));
        let entry = match known {
            Some(index) => self.captioners.remove(index),
            None => {
                if self.captioners.len() == KEPT {
                    self.captioners.remove(0);
                }
                let options = CaptionOptions {
                    decoder: Some(search.decoder),
                    beam: Some(search.beam),
                    batch: Some(photos),
                    ..CaptionOptions::default()
                };
                let model = self.service.models.get(search.model);
                (search, photos, Captioner::new(model, self.device.backend(), &options)?)
            }
        };
        self.captioners.push(entry);
        Ok(&self.captioners[self.captioners.len() - 1].2)
    }

    /// Leaves a device and opens another, however long that takes; meanwhile all that waits is answered.
    fn open_again(&mut self) {
        self.service.set_ready(false);
        self.captioners.clear();
        self.most.clear();
        loop {
            match (self.reopen)() {
                Ok(device) => {
                    device.introduce();
                    self.service.metrics.reopened();
                    self.service.set_device(device.clone());
                    self.device = device;
                    return self.warm_up();
                }
                Err(error) => {
                    tracing::error!(%error, "there is no device");
                    let problem = Problem::from(&Error::Gpu(GpuError::DeviceLost(error.to_string())));
                    if !self.service.queue.fail_all(&problem) {
                        return;
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

fn fail(jobs: &[Job], problem: &Problem) {
    for job in jobs {
        let _ = job.reply.send(Update::Failed(problem.clone()));
    }
}
