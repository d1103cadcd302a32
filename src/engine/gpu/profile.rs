//! How long each step of a plan takes.

use super::executor::{BoundStep, Executor, read_back};
use super::{GpuError, poll, scoped};
use crate::engine::graph::Data;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Whose clock tells the time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The device's: it writes down when it begins and ends each step of one submission.
    Device,
    /// Ours: each step is submitted and waited for, which is longer than the step itself.
    Wall,
}

impl Clock {
    /// The best clock of a device.
    pub fn of(device: &wgpu::Device) -> Clock {
        match device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => Clock::Device,
            false => Clock::Wall,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Device => "device",
            Clock::Wall => "wall",
        }
    }
}

/// Steps whose times fit into one query set.
const STEPS: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
/// Bytes of the two times of a step.
const BYTES: usize = 2 * wgpu::QUERY_SIZE as usize;

impl Executor {
    /// Runs the plan once and tells from when to when each step ran, since the first one began.
    ///
    /// Steps that are timed do not overlap: their sum may be more than what [`Executor::run`] takes. Those of the first
    /// run show what a driver spends on compiling.
    ///
    /// # Errors
    /// As [`Executor::run`]; or the device has no clock and is asked for it.
    pub fn profile(&self, inputs: &[Data], clock: Clock) -> Result<Vec<Range<Duration>>, GpuError> {
        self.check_inputs(inputs)?;
        let _arena = self.lock_arena()?;
        scoped(&self.device, || self.write_inputs(inputs))?;
        match clock {
            Clock::Device => self.profile_on_device(),
            Clock::Wall => self.profile_from_outside(),
        }
    }

    /// The time of all steps of [`Executor::profile`].
    ///
    /// # Errors
    /// As [`Executor::profile`].
    pub fn time(&self, inputs: &[Data], clock: Clock) -> Result<Duration, GpuError> {
        Ok(self.profile(inputs, clock)?.into_iter().map(|span| span.end - span.start).sum())
    }

    fn profile_on_device(&self) -> Result<Vec<Range<Duration>>, GpuError> {
        let size = (self.steps.len() * BYTES).max(BYTES) as u64;
        let readback = scoped(&self.device, || {
            let buffer = |usage| {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("times"),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            use wgpu::BufferUsages as Usage;
            let times = buffer(Usage::QUERY_RESOLVE | Usage::COPY_SRC);
            let readback = buffer(Usage::MAP_READ | Usage::COPY_DST);
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for (chunk, steps) in self.steps.chunks(STEPS).enumerate() {
                let queries = 2 * steps.len() as u32;
                let set = self.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("times"),
                    ty: wgpu::QueryType::Timestamp,
                    count: queries,
                });
                for (number, step) in (0..).zip(steps) {
                    let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                        query_set: &set,
                        beginning_of_pass_write_index: Some(2 * number),
                        end_of_pass_write_index: Some(2 * number + 1),
                    });
                    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                    step.record(&mut encoder.begin_compute_pass(&descriptor));
                }
                encoder.resolve_query_set(&set, 0..queries, &times, (chunk * STEPS * BYTES) as u64);
            }
            encoder.copy_buffer_to_buffer(&times, 0, &readback, 0, size);
            self.queue.submit([encoder.finish()]);
            readback
        })?;
        let ticks: Vec<u64> = read_back(&self.device, &readback, bytemuck::pod_collect_to_vec)?;
        let period = f64::from(self.queue.get_timestamp_period());
        let first = ticks.first().copied().unwrap_or(0);
        let since = |tick: u64| Duration::from_nanos((tick.saturating_sub(first) as f64 * period) as u64);
        let spans = ticks.chunks_exact(2).take(self.steps.len());
        Ok(spans.map(|span| since(span[0])..since(span[1].max(span[0]))).collect())
    }

    fn profile_from_outside(&self) -> Result<Vec<Range<Duration>>, GpuError> {
        let clock = Instant::now();
        let time = |step: &BoundStep| {
            let start = clock.elapsed();
            let index = scoped(&self.device, || {
                let mut encoder = self.device.create_command_encoder(&Default::default());
                step.record(&mut encoder.begin_compute_pass(&Default::default()));
                self.queue.submit([encoder.finish()])
            })?;
            poll(&self.device, wgpu::PollType::Wait { submission_index: Some(index), timeout: None })?;
            Ok(start..clock.elapsed())
        };
        self.steps.iter().map(time).collect()
    }
}
