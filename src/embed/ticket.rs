//! A caption on its way.

use super::pace::{Budget, Pace};
use crate::captioner::{Caption, Speaker, Timings};
use crate::engine::gpu::{ArenaGuard, Clock, Executor, GpuError, check_alive, poll, scoped};
use crate::error::Error;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What the device has told so far.
#[derive(Debug, Default)]
struct Arrival {
    /// Whether results can be read, or why not.
    state: Mutex<Option<Result<(), String>>>,
    waker: Mutex<Option<Waker>>,
}

impl Arrival {
    fn tell(&self, result: Result<(), wgpu::BufferAsyncError>) {
        let result = result.map_err(|error| error.to_string());
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        // Not while it is locked: whoever is woken may poll at once.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> Option<Result<(), String>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Two times of the device's clock, and the steps between them.
#[derive(Debug)]
struct Times {
    slice: Range<usize>,
    readback: wgpu::Buffer,
    arrival: Arc<Arrival>,
}

/// The results as they were between two slices.
#[derive(Debug)]
struct Glimpse {
    readback: wgpu::Buffer,
    arrival: Arc<Arrival>,
}

/// A caption on its way: to be polled once a frame, awaited, or waited for. Dropping it cancels what is not recorded yet;
/// what was submitted runs to its end unheard.
#[derive(Debug)]
pub struct Ticket {
    executor: Arc<Executor>,
    speaker: Arc<Speaker>,
    pace: Arc<Pace>,
    budget: Budget,
    /// The first step that is not recorded.
    next: usize,
    /// The memory of the activations, until all work is recorded.
    guard: Option<ArenaGuard>,
    results: Option<wgpu::Buffer>,
    arrival: Arc<Arrival>,
    times: Vec<Times>,
    is_followed: bool,
    /// How many results were there at the last glimpse.
    seen: usize,
    glimpses: Vec<Glimpse>,
    so_far: Option<Caption>,
    started: Instant,
    is_over: bool,
}

impl Ticket {
    pub(super) fn new(
        executor: Arc<Executor>,
        speaker: Arc<Speaker>,
        pace: Arc<Pace>,
        budget: Budget,
        guard: ArenaGuard,
    ) -> Ticket {
        Ticket {
            executor,
            speaker,
            pace,
            budget,
            next: 0,
            guard: Some(guard),
            results: None,
            arrival: Arc::default(),
            times: Vec::new(),
            is_followed: budget == Budget::Word,
            seen: 0,
            glimpses: Vec::new(),
            so_far: None,
            started: Instant::now(),
            is_over: false,
        }
    }

    /// Whether all work is recorded: then [`Ticket::record`] has nothing more to do.
    pub fn is_recorded(&self) -> bool {
        self.results.is_some()
    }

    /// Records as much as the budget allows into a frame's encoder. To be called once a frame, with encoders that are
    /// submitted in this order, until [`Ticket::is_recorded`].
    ///
    /// # Errors
    /// The device is out of memory or lost. The ticket is over then; the encoder can be used on.
    pub fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if self.is_recorded() {
            return Ok(());
        }
        if self.is_over {
            return Err(Error::refused("expected a ticket that goes on, found one that ended with an error"));
        }
        let recorded = self.record_slice(encoder);
        if recorded.is_err() {
            // What is not in this encoder would be missing from the caption.
            self.is_over = true;
            self.guard = None;
        }
        recorded
    }

    fn record_slice(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.learn();
        // What is recorded for a device that is gone makes the host's next submission fail.
        check_alive(&self.executor.device)?;
        let word = self.speaker.next_word(self.executor.plan(), self.next);
        let slice = self.pace.slice(self.next, self.budget, word);
        let device = &self.executor.device;
        let is_timed = matches!(self.budget, Budget::Micros(_)) && Clock::of(device) == Clock::Device;
        if is_timed {
            let times = timed(&self.executor, encoder, slice.clone())?;
            self.times.push(times);
        } else {
            self.executor.record_steps(encoder, slice.clone(), None);
        }
        self.next = slice.end;
        if self.next == self.executor.plan().steps().len() {
            let arrival = Arc::clone(&self.arrival);
            let count = self.executor.plan().outputs().len();
            let told = move |result| arrival.tell(result);
            self.results = Some(self.executor.record_outputs(encoder, count, told)?);
            self.guard = None;
        } else if self.is_followed {
            self.record_glimpse(encoder)?;
        }
        Ok(())
    }

    /// From now on brings back what the search has found, after each slice that found a word: [`Ticket::so_far`] gives it.
    pub fn follow(&mut self) {
        self.is_followed = true;
    }

    /// The sentence as far as it has come back at the last poll, the best of those that are searched; `None` before the first
    /// word, and for a ticket that nobody follows.
    pub fn so_far(&self) -> Option<&Caption> {
        self.so_far.as_ref()
    }

    fn record_glimpse(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let ready = self.executor.plan().outputs().iter().take_while(|port| port.ready <= self.next).count();
        let outputs = self.speaker.whole_steps(ready);
        if outputs > self.seen {
            self.seen = outputs;
            let arrival: Arc<Arrival> = Arc::default();
            let told = Arc::clone(&arrival);
            let readback = self.executor.record_outputs(encoder, outputs, move |result| told.tell(result))?;
            self.glimpses.push(Glimpse { readback, arrival });
        }
        Ok(())
    }

    /// Takes in what has come back.
    fn look(&mut self) {
        let Ticket { glimpses, executor, speaker, so_far, started, .. } = self;
        glimpses.retain(|Glimpse { readback, arrival }| {
            let Some(state) = arrival.state() else { return true };
            if let Some(bytes) = state.ok().and_then(|()| readback.get_mapped_range(..).ok()) {
                let timings = Timings { generate: started.elapsed(), ..Timings::default() };
                // What is wrong with the results is told at their end.
                *so_far = speaker.speak(&executor.outputs(&bytes), 0, timings).ok();
            }
            false
        });
    }

    /// The caption, if it is there; never waits. After it was given there is nothing more.
    ///
    /// # Errors
    /// The device was lost, or what was recorded did not run.
    pub fn poll(&mut self) -> Option<Result<Caption, Error>> {
        if self.is_over {
            return None;
        }
        let outcome = self.outcome().transpose();
        if outcome.is_some() {
            self.is_over = true;
            self.guard = None;
        }
        outcome
    }

    /// The caption, or `None` while it is on its way.
    fn outcome(&mut self) -> Result<Option<Caption>, Error> {
        poll(&self.executor.device, wgpu::PollType::Poll)?;
        self.learn();
        self.look();
        let Some((results, state)) = self.results.as_ref().zip(self.arrival.state()) else {
            // Nobody calls back for a device that is gone.
            check_alive(&self.executor.device)?;
            return Ok(None);
        };
        let lost = |reason| Error::Gpu(GpuError::DeviceLost(reason));
        state.map_err(lost)?;
        let bytes = results.get_mapped_range(..).map_err(|error| lost(error.to_string()))?;
        // Every sentence has a probability below 1, and so a logarithm that is not zero.
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(Error::refused(
                "expected results, found none: was the encoder that they were recorded into valid?",
            ));
        }
        // The parts of the time are not told apart here.
        let timings = Timings { generate: self.started.elapsed(), ..Timings::default() };
        self.speaker.speak(&self.executor.outputs(&bytes), 0, timings).map(Some)
    }

    /// Waits for the caption, which has to be recorded to its end and submitted. For programs that have no frames to draw.
    ///
    /// # Errors
    /// The work is not recorded to its end, or not submitted; or the device was lost.
    pub fn wait(mut self) -> Result<Caption, Error> {
        if !self.is_recorded() {
            return Err(unrecorded());
        }
        poll(&self.executor.device, wgpu::PollType::wait_indefinitely())?;
        let unsubmitted =
            || Err(Error::refused("expected an encoder that was submitted, found that it was not"));
        self.poll().unwrap_or_else(unsubmitted)
    }

    /// Learns from the slices whose times have come back.
    fn learn(&mut self) {
        let Ticket { times, executor, pace, .. } = self;
        let period = f64::from(executor.queue.get_timestamp_period());
        times.retain(|times| {
            match times.arrival.state() {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(())) => {}
            }
            if let Ok(bytes) = times.readback.get_mapped_range(..) {
                let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
                if let [start, end] = ticks[..] {
                    let nanoseconds = end.saturating_sub(start) as f64 * period;
                    pace.learn(times.slice.clone(), Duration::from_nanos(nanoseconds as u64));
                }
            }
            false
        });
    }
}

fn unrecorded() -> Error {
    Error::refused("expected a ticket that is recorded to its end: call `record` until `is_recorded`")
}

/// Records a slice between two times.
fn timed(
    executor: &Executor,
    encoder: &mut wgpu::CommandEncoder,
    slice: Range<usize>,
) -> Result<Times, GpuError> {
    let device = &executor.device;
    let bytes = 2 * u64::from(wgpu::QUERY_SIZE);
    let (set, resolved, readback) = scoped(device, || {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("times"),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usage;
        let set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("times"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        (set, buffer(Usage::QUERY_RESOLVE | Usage::COPY_SRC), buffer(Usage::MAP_READ | Usage::COPY_DST))
    })?;
    let writes = wgpu::ComputePassTimestampWrites {
        query_set: &set,
        beginning_of_pass_write_index: Some(0),
        end_of_pass_write_index: Some(1),
    };
    executor.record_steps(encoder, slice.clone(), Some(writes));
    encoder.resolve_query_set(&set, 0..2, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &readback, 0, bytes);
    let arrival: Arc<Arrival> = Arc::default();
    let told = Arc::clone(&arrival);
    encoder.map_buffer_on_submit(&readback, wgpu::MapMode::Read, .., move |result| told.tell(result));
    Ok(Times { slice, readback, arrival })
}

/// Of a ticket that is recorded to its end; somebody has to poll the device meanwhile, as a host does that draws frames.
impl Future for Ticket {
    type Output = Result<Caption, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_recorded() {
            return Poll::Ready(Err(unrecorded()));
        }
        *self.arrival.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        Ticket::poll(&mut self).map_or(Poll::Pending, Poll::Ready)
    }
}
