//! One run of an executor, recorded over several frames of a host.

use super::Recorder;
use super::readback::{MARKER, Readback};
use super::scheduler::{Budget, FrameScheduler};
use crate::engine::gpu::{ArenaGuard, Clock, Executor, GpuError, check_alive, poll, scoped};
use crate::engine::graph::Data;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The longest time from one thread's poll until a report reaches its receiver.
const REPORT_TIME: Duration = Duration::from_secs(1);

/// Two timestamps of the device, and the steps between them.
#[derive(Debug)]
struct SliceTimes {
    slice: Range<usize>,
    readback: Readback,
}

/// A run that is recorded slice by slice. It locks the executor's arena until the last slice is recorded.
#[derive(Debug)]
pub(crate) struct FrameRun {
    executor: Arc<Executor>,
    scheduler: Arc<FrameScheduler>,
    marker: wgpu::Buffer,
    group: usize,
    budget: Budget,
    /// The first step that is not recorded.
    next: usize,
    arena: Option<ArenaGuard>,
    results: Option<Readback>,
    times: Vec<SliceTimes>,
    is_followed: bool,
    /// Number of results in the last partial readback.
    seen: usize,
    partials: Vec<Readback>,
    /// The latest partial results.
    partial: Option<Vec<Data>>,
    is_over: bool,
}

impl FrameRun {
    pub(super) fn new(recorder: &Recorder, budget: Budget, arena: ArenaGuard) -> FrameRun {
        FrameRun {
            executor: Arc::clone(&recorder.executor),
            scheduler: Arc::clone(&recorder.scheduler),
            marker: recorder.marker.clone(),
            group: recorder.group,
            budget,
            next: 0,
            arena: Some(arena),
            results: None,
            times: Vec::new(),
            is_followed: budget == Budget::Word,
            seen: 0,
            partials: Vec::new(),
            partial: None,
            is_over: false,
        }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.results.is_some()
    }

    /// From now on, reads back the groups of results that are complete after a slice.
    pub(crate) fn follow(&mut self) {
        self.is_followed = true;
    }

    /// Records as much as the budget allows.
    ///
    /// # Errors
    /// The device is out of memory or lost. The run has failed then; the encoder remains usable.
    pub(crate) fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), GpuError> {
        if self.is_recorded() {
            return Ok(());
        }
        if self.is_over {
            let message = "expected an active ticket, found one that ended with an error";
            return Err(GpuError::InvalidInput(message.to_owned()));
        }
        let recorded = self.record_slice(encoder);
        if recorded.is_err() {
            // The steps that are not in this encoder would be missing from the results.
            self.end();
        }
        recorded
    }

    fn record_slice(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), GpuError> {
        self.learn();
        let device = &self.executor.device;
        // Work for a lost device would make the host's next submission fail.
        check_alive(device)?;
        let slice = self.scheduler.slice(self.next, self.budget, self.next_group());
        let is_timed = matches!(self.budget, Budget::Micros(_)) && Clock::of(device) == Clock::Device;
        if is_timed {
            let times = timed(&self.executor, encoder, slice.clone())?;
            self.times.push(times);
        } else {
            self.executor.record_steps(encoder, slice.clone(), None);
        }
        self.next = slice.end;
        if self.next == self.executor.plan().steps().len() {
            let results = self.executor.results_binding(self.executor.plan().outputs().len());
            let marker = whole(&self.marker);
            self.results = Some(Readback::record(device, encoder, "results", &[results, marker])?);
            self.arena = None;
        } else if self.is_followed && self.complete() > self.seen {
            self.seen = self.complete();
            let results = self.executor.results_binding(self.seen);
            self.partials.push(Readback::record(device, encoder, "partial results", &[results])?);
        }
        Ok(())
    }

    /// Number of results, in whole groups, that the recorded steps compute.
    fn complete(&self) -> usize {
        let outputs = self.executor.plan().outputs();
        let ready = outputs.iter().take_while(|port| port.ready <= self.next).count();
        ready / self.group * self.group
    }

    /// Number of steps up to and including those of the next group of results; the total if no group is left.
    fn next_group(&self) -> usize {
        let (plan, complete) = (self.executor.plan(), self.complete());
        let group = plan.outputs().get(complete..complete + self.group).unwrap_or_default();
        group.iter().map(|port| port.ready).max().unwrap_or(plan.steps().len())
    }

    /// The results, once they are ready; never blocks. Later calls return `None`.
    ///
    /// # Errors
    /// The device was lost, or the encoder with the results was invalid.
    pub(crate) fn poll(&mut self) -> Option<Result<Vec<Data>, GpuError>> {
        if self.is_over {
            return None;
        }
        let outcome = self.outcome().transpose();
        if outcome.is_some() {
            self.end();
        }
        outcome
    }

    fn outcome(&mut self) -> Result<Option<Vec<Data>>, GpuError> {
        poll(&self.executor.device, wgpu::PollType::Poll)?;
        self.learn();
        self.poll_partials();
        let Some(bytes) = self.results.as_ref().map_or(Ok(None), Readback::bytes)? else {
            // A lost device reports nothing.
            check_alive(&self.executor.device)?;
            return Ok(None);
        };
        let Some(results) = bytes.strip_suffix(&MARKER) else {
            let message = "expected results, found none: was the encoder that they were recorded into valid?";
            return Err(GpuError::InvalidInput(message.to_owned()));
        };
        Ok(Some(self.executor.outputs(results)))
    }

    /// Takes the partial results that are ready.
    fn poll_partials(&mut self) {
        let FrameRun { partials, partial, executor, .. } = self;
        partials.retain(|readback| match readback.bytes() {
            Ok(None) => true,
            Ok(Some(bytes)) => {
                *partial = Some(executor.outputs(&bytes));
                false
            }
            // The loss is reported at the end of the run.
            Err(_) => false,
        });
    }

    /// The latest partial results, returned once.
    pub(crate) fn take_partial(&mut self) -> Option<Vec<Data>> {
        self.partial.take()
    }

    /// Waits for the results.
    ///
    /// # Errors
    /// The run is not recorded to its end, or not submitted; or the device was lost.
    pub(crate) fn wait(&mut self) -> Result<Vec<Data>, GpuError> {
        let readback = self.check_recorded()?;
        poll(&self.executor.device, wgpu::PollType::wait_indefinitely())?;
        // Another thread's poll may have received the report without delivering it yet.
        readback.wait_for_report(REPORT_TIME);
        self.poll().unwrap_or_else(|| {
            let message = "expected an encoder that was submitted, found that it was not";
            Err(GpuError::InvalidInput(message.to_owned()))
        })
    }

    /// Wakes a task when the results are ready.
    ///
    /// # Errors
    /// The run is not recorded to its end.
    pub(crate) fn wake_with(&self, waker: &Waker) -> Result<(), GpuError> {
        self.check_recorded()?.wake_with(waker);
        Ok(())
    }

    fn check_recorded(&self) -> Result<&Readback, GpuError> {
        self.results.as_ref().ok_or_else(|| {
            let message = "expected a ticket that is recorded to its end: call `record` until `is_recorded`";
            GpuError::InvalidInput(message.to_owned())
        })
    }

    /// Updates the scheduler with the measured times of slices.
    fn learn(&mut self) {
        let FrameRun { times, executor, scheduler, .. } = self;
        let period = f64::from(executor.queue.get_timestamp_period());
        times.retain(|SliceTimes { slice, readback }| match readback.bytes() {
            Ok(None) => true,
            Ok(Some(bytes)) => {
                let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
                if let [start, end] = ticks[..] {
                    let nanoseconds = end.saturating_sub(start) as f64 * period;
                    scheduler.learn(slice.clone(), Duration::from_nanos(nanoseconds as u64));
                }
                false
            }
            Err(_) => false,
        });
    }

    fn end(&mut self) {
        self.is_over = true;
        self.arena = None;
    }
}

fn whole(buffer: &wgpu::Buffer) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset: 0, size: NonZeroU64::new(buffer.size()) }
}

/// Records a slice between two timestamps.
fn timed(
    executor: &Executor,
    encoder: &mut wgpu::CommandEncoder,
    slice: Range<usize>,
) -> Result<SliceTimes, GpuError> {
    let device = &executor.device;
    let (set, resolved) = scoped(device, || {
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("times"),
            size: 2 * u64::from(wgpu::QUERY_SIZE),
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("times"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        (set, resolved)
    })?;
    let writes = wgpu::ComputePassTimestampWrites {
        query_set: &set,
        beginning_of_pass_write_index: Some(0),
        end_of_pass_write_index: Some(1),
    };
    executor.record_steps(encoder, slice.clone(), Some(writes));
    encoder.resolve_query_set(&set, 0..2, &resolved, 0);
    let readback = Readback::record(device, encoder, "times", &[whole(&resolved)])?;
    Ok(SliceTimes { slice, readback })
}
