//! The one thread that has the device: it captions what waits in the queue, in batches, and opens the device anew when it is lost.

use super::models::Search;
use super::problem::Problem;
use super::queue::{Job, Spoken, Update};
use super::service::Service;
use crate::cli::engine::{Device, Engine};
use shadetell::embed::{Budget, Input};
use shadetell::engine::gpu::{Gpu, GpuError, poll};
use shadetell::{Caption, CaptionOptions, Captioner, Error, wgpu};
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// Opens a device again.
pub(super) type Reopen = Box<dyn Fn() -> Result<Device, GpuError> + Send>;

/// Captioners that are kept, each for a search and a number of photos.
const KEPT: usize = 16;
/// Between two attempts to open a device.
const PAUSE: Duration = Duration::from_secs(1);

/// How the device is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is made ready on it.
    Fresh,
    Ready,
    /// It cannot be used any more.
    Lost,
}

pub(super) struct Worker<'a> {
    service: &'a Service,
    device: Device,
    state: State,
    reopen: Reopen,
    /// Whether the device was opened again and did not become ready since.
    is_retry: bool,
    /// The one used last stands last.
    captioners: Vec<(Search, usize, Rc<Captioner>)>,
    /// Photos at a time where the device has no room for more.
    most: HashMap<Search, usize>,
}

/// However the thread ends, nobody waits for it in vain.
impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.service.set_ready(false);
        self.service.queue.close();
        self.service.queue.fail_all(&Problem::internal());
    }
}

impl<'a> Worker<'a> {
    /// A worker on a device that the usual search is made ready on, for one photo.
    pub(super) fn new(service: &'a Service, engine: Engine, reopen: Reopen) -> Worker<'a> {
        let Engine { captioner, device } = engine;
        let usual = service.models.search(None, None, None).ok();
        let captioners = usual.map(|search| (search, 1, Rc::new(captioner))).into_iter().collect();
        Worker {
            service,
            device,
            state: State::Fresh,
            reopen,
            is_retry: false,
            captioners,
            most: HashMap::new(),
        }
    }

    /// Works until the queue is closed and empty. A panic costs the photos that wait and the device, no more.
    pub(super) fn run(mut self) {
        loop {
            let goes_on = catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(|_| {
                tracing::error!("the engine panicked");
                self.lose();
                self.service.queue.fail_all(&Problem::internal())
            });
            if !goes_on {
                return;
            }
        }
    }

    /// Makes the device ready if it is not, and answers a batch; `false` at the end.
    fn step(&mut self) -> bool {
        let Service { queue, limits, .. } = self.service;
        if let Err(error) = self.make_ready() {
            tracing::error!(%error, "there is no device");
            self.lose();
            return queue.fail_all(&Problem::from(&lost(&error)));
        }
        let Some(jobs) = queue.next_batch(limits.max_batch, limits.max_wait) else { return false };
        // It may have gone while nobody asked for anything: those who ask now need not hear of it.
        if self.is_lost() {
            queue.give_back(jobs);
            self.lose();
        } else if !self.answer(jobs) {
            self.lose();
        }
        true
    }

    /// Gives the device up: the next step opens another.
    fn lose(&mut self) {
        self.service.set_ready(false);
        self.state = State::Lost;
    }

    /// Whether the device was lost, which is told when it is polled.
    fn is_lost(&self) -> bool {
        let Some(gpu) = &self.device.gpu else { return false };
        gpu.lost().is_some() || poll(&gpu.device, wgpu::PollType::Poll).is_err() || gpu.lost().is_some()
    }

    /// Opens a device in place of a lost one, and makes the usual search ready.
    fn make_ready(&mut self) -> Result<(), Error> {
        if self.state == State::Lost {
            self.captioners.clear();
            self.most.clear();
            if std::mem::replace(&mut self.is_retry, true) {
                thread::sleep(PAUSE);
            }
            self.device = (self.reopen)()?;
            self.device.introduce();
            self.service.metrics.reopened();
            self.service.set_device(self.device.clone());
            self.state = State::Fresh;
        }
        if self.state == State::Fresh {
            self.warm_up()?;
            self.state = State::Ready;
            self.is_retry = false;
            self.service.set_ready(true);
        }
        Ok(())
    }

    /// Makes the usual search ready, for one photo and for all sizes of batches that there is room for.
    fn warm_up(&mut self) -> Result<(), Error> {
        let clock = Instant::now();
        if let Ok(search) = self.service.models.search(None, None, None) {
            let sizes =
                (0..).map(|power| 1 << power).take_while(|&size| size <= self.service.limits.max_batch);
            for size in sizes {
                match self.captioner(search, size) {
                    Ok(_) => {}
                    Err(error) if size == 1 || is_loss(&error) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, photos = size, "not made ready");
                        break;
                    }
                }
            }
        }
        tracing::info!(adapter = self.device.name, ms = clock.elapsed().as_millis() as u64, "ready");
        Ok(())
    }

    /// Answers jobs of one search; `false` if the device is lost.
    fn answer(&mut self, mut jobs: Vec<Job>) -> bool {
        while let Some(first) = jobs.first() {
            let search = first.search;
            let most = self.most.get(&search).copied().unwrap_or(usize::MAX);
            let size = (1 << jobs.len().ilog2()).min(most);
            let captioner = self.captioner(search, size);
            match &captioner {
                Err(Error::Gpu(GpuError::OutOfMemory(_)))
                    if self.captioners.iter().any(|(other, ..)| *other != search) =>
                {
                    self.captioners.retain(|(other, ..)| *other == search);
                    continue;
                }
                Err(Error::Gpu(GpuError::LimitTooLow { .. } | GpuError::OutOfMemory(_))) if size > 1 => {
                    self.most.insert(search, size / 2);
                    continue;
                }
                _ => {}
            }
            let rest = jobs.split_off(size);
            let group = std::mem::replace(&mut jobs, rest);
            if let Err(error) = captioner.and_then(|captioner| self.speak(&captioner, &group)) {
                tracing::error!(%error, model = search.model, "a batch failed");
                fail(&group, &Problem::from(&error));
                if !is_loss(&error) {
                    continue;
                }
                self.service.queue.give_back(jobs);
                return false;
            }
        }
        true
    }

    /// Captions a group, which fills the captioner's batch.
    fn speak(&self, captioner: &Captioner, group: &[Job]) -> Result<(), Error> {
        let metrics = &self.service.metrics;
        for job in group {
            metrics.stage("wait", job.arrived.elapsed());
        }
        let clock = Instant::now();
        let captions = match group {
            [job] if job.follow => vec![self.follow(captioner, job)?],
            _ => captioner.caption_fitted(&group.iter().map(|job| &job.input).collect::<Vec<_>>())?,
        };
        metrics.batch(group.len(), clock.elapsed());
        if let Some(caption) = captions.first() {
            metrics.stage("encode", caption.timings.encode);
            metrics.stage("generate", caption.timings.generate);
        }
        for (job, caption) in group.iter().zip(captions) {
            let (grid, adapter) = (captioner.attention_grid(), self.device.name.clone());
            // Whoever asked may have gone away.
            let _ = job.reply.send(Update::Done(Box::new(Spoken { caption, grid, adapter })));
        }
        Ok(())
    }

    /// Captions a photo and tells its words as they are found.
    fn follow(&self, captioner: &Captioner, job: &Job) -> Result<Caption, Error> {
        let Some(Gpu { device, queue, .. }) = &self.device.gpu else {
            let mut captions = captioner.caption_fitted(&[&job.input])?;
            return Ok(captions.swap_remove(0));
        };
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut ticket = captioner.encode(&mut encoder, Input::Fitted(&job.input), Budget::Word)?;
        let mut said = String::new();
        loop {
            queue.submit([encoder.finish()]);
            poll(device, wgpu::PollType::wait_indefinitely())?;
            if let Some(caption) = ticket.poll() {
                return caption;
            }
            if ticket.is_recorded() {
                return Err(lost("results did not come back"));
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
    fn captioner(&mut self, search: Search, photos: usize) -> Result<Rc<Captioner>, Error> {
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
                (search, photos, Rc::new(Captioner::new(model, self.device.backend(), &options)?))
            }
        };
        let captioner = Rc::clone(&entry.2);
        self.captioners.push(entry);
        Ok(captioner)
    }
}

fn lost(reason: impl Display) -> Error {
    Error::Gpu(GpuError::DeviceLost(reason.to_string()))
}

fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Gpu(GpuError::DeviceLost(_)))
}

fn fail(jobs: &[Job], problem: &Problem) {
    for job in jobs {
        let _ = job.reply.send(Update::Failed(problem.clone()));
    }
}
