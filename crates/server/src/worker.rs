//! The thread that owns the device. It captions the queue in batches, and opens the device again when it is lost.

use crate::config::Limits;
use crate::device::{Device, Reopen};
use crate::models::{Models, Search, Work};
use crate::problem::Problem;
use crate::queue::{CaptionResult, EncodeResult, Job, Update};
use crate::service::Service;
use shadetell::engine::gpu::{Gpu, GpuError, poll};
use shadetell::host::{Budget, Input};
use shadetell::{Caption, CaptionOptions, Captioner, EncoderOptions, Error, ImageEncoder, wgpu};
use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Most captioners that are kept, each for one search and one batch size.
const KEPT: usize = 16;
/// Time between two attempts to open a device.
const PAUSE: Duration = Duration::from_secs(1);

/// State of the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Open; nothing is compiled on it.
    Fresh,
    Ready,
    /// No longer usable.
    Lost,
}

/// Starts the thread that owns the device. It prepares the default search first.
///
/// # Errors
/// The system cannot start a thread.
pub(crate) fn start(
    models: Models,
    captioner: Captioner,
    device: Device,
    reopen: Reopen,
    limits: Limits,
) -> io::Result<Arc<Service>> {
    let service = Arc::new(Service::new(models, device.clone(), limits));
    let shared = Arc::clone(&service);
    let work = move || Worker::new(&shared, captioner, device, reopen).run();
    service.set_worker(thread::Builder::new().name("engine".to_owned()).spawn(work)?);
    Ok(service)
}

struct Worker<'a> {
    service: &'a Service,
    device: Device,
    state: State,
    reopen: Reopen,
    /// Whether the device was opened again and is not ready yet.
    is_retry: bool,
    /// Ordered by last use, the most recent last.
    captioners: Vec<(Search, usize, Rc<Captioner>)>,
    /// Encoders with their models, and whether they give grids.
    encoders: Vec<(usize, bool, ImageEncoder)>,
    /// The largest batch of a search, if the device has no memory for a larger one.
    most: HashMap<Search, usize>,
}

/// Answers all waiting photos when the thread ends, even by a panic.
impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.service.set_ready(false);
        self.service.queue.close();
        self.service.queue.fail_all(&Problem::internal());
    }
}

impl<'a> Worker<'a> {
    /// A worker on a device, with a captioner for the default search and one photo.
    fn new(service: &'a Service, captioner: Captioner, device: Device, reopen: Reopen) -> Worker<'a> {
        let usual = service.models.search(None, None, None).ok();
        let captioners = usual.map(|search| (search, 1, Rc::new(captioner))).into_iter().collect();
        Worker {
            service,
            device,
            state: State::Fresh,
            reopen,
            is_retry: false,
            captioners,
            encoders: Vec::new(),
            most: HashMap::new(),
        }
    }

    /// Runs until the queue is closed and empty. After a panic, waiting photos fail and the device is opened again.
    fn run(mut self) {
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

    /// Prepares the device if needed, and answers a batch; `false` when the queue is closed and empty.
    fn step(&mut self) -> bool {
        let Service { queue, limits, .. } = self.service;
        if let Err(error) = self.make_ready() {
            tracing::error!(%error, "cannot open a device");
            self.lose();
            return queue.fail_all(&Problem::from(&lost(&error)));
        }
        let Some(jobs) = queue.next_batch(limits.max_batch, limits.max_wait) else { return false };
        // The device may have been lost while idle. Put the batch back and open the device again instead of failing.
        if self.is_lost() {
            queue.give_back(jobs);
            self.lose();
        } else if !self.answer(jobs) {
            self.lose();
        }
        true
    }

    /// Answers jobs of one kind of work; `false` if the device is lost.
    fn answer(&mut self, jobs: Vec<Job>) -> bool {
        match jobs.first().map(|job| job.work) {
            Some(Work::Caption(search)) => self.answer_search(search, jobs),
            Some(Work::Encode { model, grid }) => self.answer_encoding((model, grid), &jobs),
            None => true,
        }
    }

    /// Answers jobs that ask for features; `false` if the device is lost.
    fn answer_encoding(&mut self, (model, grid): (usize, bool), jobs: &[Job]) -> bool {
        match self.encode(model, grid, jobs) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, model, "a batch failed");
                fail(jobs, &Problem::from(&error));
                !is_loss(&error)
            }
        }
    }

    /// Sends the features of a group of photos.
    fn encode(&mut self, model: usize, grid: bool, group: &[Job]) -> Result<(), Error> {
        let known = self.encoders.iter().position(|(m, g, _)| (*m, *g) == (model, grid));
        let place = match known {
            Some(place) => place,
            None => {
                let options = EncoderOptions { grid, ..EncoderOptions::default() };
                let encoder =
                    ImageEncoder::new(self.service.models.get(model), self.device.backend(), &options)?;
                self.encoders.push((model, grid, encoder));
                self.encoders.len() - 1
            }
        };
        let encoder = &self.encoders[place].2;
        let clock = Instant::now();
        let inputs: Vec<_> = group.iter().map(|job| &job.input).collect();
        let all = encoder.encode_preprocessed(&inputs)?;
        let metrics = &self.service.metrics;
        metrics.batch(group.len(), clock.elapsed());
        metrics.stage("encode", clock.elapsed());
        for (job, features) in group.iter().zip(all) {
            let classes = encoder.classes(&features, usize::MAX);
            let (grid, adapter) = (encoder.grid_shape(), self.device.name().to_owned());
            let result = EncodeResult { features, classes, grid, adapter };
            // The client may have disconnected.
            let _ = job.reply.send(Update::Encoded(Box::new(result)));
        }
        Ok(())
    }

    /// Drops the device; the next step opens another one.
    fn lose(&mut self) {
        self.service.set_ready(false);
        self.state = State::Lost;
    }

    /// Whether the device was lost. wgpu notices it when the device is polled.
    fn is_lost(&self) -> bool {
        let Some(gpu) = self.device.gpu() else { return false };
        gpu.lost().is_some() || poll(&gpu.device, wgpu::PollType::Poll).is_err() || gpu.lost().is_some()
    }

    /// Opens a device to replace a lost one, and prepares the default search.
    fn make_ready(&mut self) -> Result<(), Error> {
        if self.state == State::Lost {
            self.captioners.clear();
            self.encoders.clear();
            self.most.clear();
            if std::mem::replace(&mut self.is_retry, true) {
                thread::sleep(PAUSE);
            }
            self.device = (self.reopen)()?;
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

    /// Prepares the default search for all batch sizes that the device has memory for.
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
                        tracing::warn!(%error, photos = size, "cannot prepare this batch size");
                        break;
                    }
                }
            }
        }
        tracing::info!(adapter = self.device.name(), ms = clock.elapsed().as_millis() as u64, "ready");
        Ok(())
    }

    /// Answers jobs of one search; `false` if the device is lost.
    fn answer_search(&mut self, search: Search, mut jobs: Vec<Job>) -> bool {
        while !jobs.is_empty() {
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
            if let Err(error) = captioner.and_then(|captioner| self.caption(&captioner, &group)) {
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

    /// Captions a group of photos that fills the captioner's batch.
    fn caption(&self, captioner: &Captioner, group: &[Job]) -> Result<(), Error> {
        let metrics = &self.service.metrics;
        for job in group {
            metrics.stage("wait", job.arrived.elapsed());
        }
        let clock = Instant::now();
        let captions = match group {
            [job] if job.follow => vec![self.follow(captioner, job)?],
            _ => captioner.caption_preprocessed(&group.iter().map(|job| &job.input).collect::<Vec<_>>())?,
        };
        metrics.batch(group.len(), clock.elapsed());
        if let Some(caption) = captions.first() {
            metrics.stage("encode", caption.timings.encode);
            metrics.stage("generate", caption.timings.generate);
        }
        for (job, caption) in group.iter().zip(captions) {
            let (grid, adapter) = (captioner.attention_grid(), self.device.name().to_owned());
            // The client may have disconnected.
            let _ = job.reply.send(Update::Done(Box::new(CaptionResult { caption, grid, adapter })));
        }
        Ok(())
    }

    /// Captions one photo and sends its words as they are found.
    fn follow(&self, captioner: &Captioner, job: &Job) -> Result<Caption, Error> {
        let Some(Gpu { device, queue, .. }) = self.device.gpu() else {
            let mut captions = captioner.caption_preprocessed(&[&job.input])?;
            return Ok(captions.swap_remove(0));
        };
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut ticket = captioner.encode(&mut encoder, Input::Preprocessed(&job.input), Budget::Word)?;
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

    /// The captioner for a search and a batch size; it becomes the last one in the order of use.
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
