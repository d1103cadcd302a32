//! Runs a plan: everything is allocated and bound once, a run only writes inputs, records dispatches and reads back.

use super::arena_lock::{ArenaGuard, ArenaLock};
use super::progress::Progress;
use super::weights::DeviceWeights;
use super::{DeviceCache, Gpu, GpuError, check_alive, poll, scoped};
use crate::engine::graph::{Data, check_inputs};
use crate::engine::plan::{ALIGNMENT, Binding, Plan, Target};
use std::ops::Range;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A plan on a device, ready to run.
#[derive(Debug)]
pub struct Executor {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    plan: Plan,
    pub(super) arena: wgpu::Buffer,
    readback: wgpu::Buffer,
    /// Over `arena` and `readback`.
    lock: Arc<ArenaLock>,
    weights: Arc<DeviceWeights>,
    pub(super) steps: Vec<BoundStep>,
}

/// A dispatch with everything resolved.
#[derive(Debug)]
pub(super) struct BoundStep {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

impl BoundStep {
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The results of a run and its times.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The results, in the order in which the graph declares them.
    pub outputs: Vec<Data>,
    /// Wall-clock time from the end of the previous phase to the end of each.
    pub phases: Vec<Duration>,
    /// Wall-clock time from the upload of the inputs to the end of the readback, without waiting for other threads.
    pub elapsed: Duration,
}

/// Memory on a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Weights.
    pub weights: u64,
    /// Those of them that were there already for others.
    pub shared_weights: u64,
    /// What is computed from them.
    pub activations: u64,
}

impl Executor {
    /// Allocates memory, uploads the weights, compiles kernels and makes all bind groups. Kernels and weights that are on the device
    /// for another executor on the same [`Gpu`], or on a clone of it, are shared.
    ///
    /// # Errors
    /// The plan is for another kind of device, the device's limits are too low, it is out of memory, or the driver refuses a
    /// kernel.
    pub fn new(gpu: &Gpu, plan: Plan) -> Result<Executor, GpuError> {
        let mut cache = gpu.cache.lock().unwrap_or_else(PoisonError::into_inner);
        Executor::prepared(gpu, &mut cache, plan)
    }

    /// The same, with progress that other threads may read.
    pub(crate) fn with_progress(
        gpu: &Gpu,
        plan: Plan,
        progress: Arc<Progress>,
    ) -> Result<Executor, GpuError> {
        let mut cache = gpu.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.progress = progress;
        Executor::prepared(gpu, &mut cache, plan)
    }

    fn prepared(gpu: &Gpu, cache: &mut DeviceCache, plan: Plan) -> Result<Executor, GpuError> {
        let Gpu { device, queue, .. } = gpu;
        cache.driver_cache = gpu.pipeline_cache.clone();
        check_target(plan.target(), &gpu.target())?;
        check_limits(&device.limits(), &plan)?;
        cache.progress.add_steps(plan.weights().len());
        cache.prepare(device, &plan)?;
        let others = cache.weights();
        let weights = DeviceWeights::upload(device, queue, &plan, &cache.progress, &others).map(Arc::new)?;
        cache.share(&weights);
        let buffer = |label, size: usize, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usage;
        let (arena, readback, params) = scoped(device, || {
            (
                buffer("arena", plan.arena_bytes(), Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC),
                buffer("readback", plan.output_range().len(), Usage::MAP_READ | Usage::COPY_DST),
                buffer("params", plan.steps().len().max(1) * ALIGNMENT, Usage::UNIFORM | Usage::COPY_DST),
            )
        })?;
        let mut words = vec![0u32; plan.steps().len() * ALIGNMENT / 4];
        for (slot, step) in words.chunks_exact_mut(ALIGNMENT / 4).zip(plan.steps()) {
            slot[..step.dispatch.params.len()].copy_from_slice(&step.dispatch.params);
        }
        let steps = scoped(device, || {
            queue.write_buffer(&params, 0, bytemuck::cast_slice(&words));
            for (range, values) in plan.arena_constants() {
                queue.write_buffer(&arena, range.start as u64, values.bytes());
            }
            let mut bound = Vec::with_capacity(plan.steps().len());
            for (index, step) in plan.steps().iter().enumerate() {
                let dispatch = &step.dispatch;
                let Some(compiled) = cache.get(&dispatch.kernel) else {
                    return Err(GpuError::Internal(format!("{} was not compiled", dispatch.kernel.label())));
                };
                let params_range = index * ALIGNMENT..index * ALIGNMENT + 4 * dispatch.params.len();
                let mut entries = vec![entry(0, &params, &params_range)];
                for (number, binding) in (1..).zip(&dispatch.bindings) {
                    entries.push(match binding {
                        Binding::Activation(id) => entry(number, &arena, &plan.ranges()[id]),
                        Binding::Scratch(index) => entry(number, &arena, &plan.scratch()[*index]),
                        Binding::Absent => entry(number, &arena, &(0..ALIGNMENT)),
                        Binding::Weight(weight) => {
                            let place = weights.place(weight);
                            entry(number, &place.buffer, &place.range)
                        }
                    });
                }
                let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&step.node),
                    layout: &compiled.layout,
                    entries: &entries,
                });
                let pipeline = compiled.pipeline.clone();
                bound.push(BoundStep { pipeline, bind_group, workgroups: dispatch.workgroups });
            }
            Ok(bound)
        })??;
        check_alive(device)?;
        Ok(Executor {
            device: device.clone(),
            queue: queue.clone(),
            plan,
            arena,
            readback,
            lock: Arc::default(),
            weights,
            steps,
        })
    }

    /// The plan that it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it takes of the device's memory.
    pub fn memory(&self) -> DeviceMemory {
        let [weights, shared_weights] = self.weights.bytes();
        DeviceMemory { weights, shared_weights, activations: self.plan.arena_bytes() as u64 }
    }

    /// Runs the plan once and waits for its results: one compute pass and one submission for each phase, and one
    /// readback at the end. Several threads may call: one waits for another.
    ///
    /// # Errors
    /// The inputs are not those of the graph; a host's frames have the memory of the activations ([`GpuError::Busy`]); the device
    /// was lost.
    pub fn run(&self, inputs: &[Data]) -> Result<Run, GpuError> {
        self.check_inputs(inputs)?;
        let _arena = self.lock_arena()?;
        let clock = Instant::now();
        let submissions = scoped(&self.device, || self.submit(inputs))?;
        let mut ends = Vec::with_capacity(submissions.len());
        for index in submissions {
            poll(&self.device, wgpu::PollType::Wait { submission_index: Some(index), timeout: None })?;
            ends.push(clock.elapsed());
        }
        let outputs = read_back(&self.device, &self.readback, |bytes| self.outputs(bytes))?;
        let starts = std::iter::once(Duration::ZERO).chain(ends.iter().copied());
        let phases = ends.iter().zip(starts).map(|(&end, start)| end - start).collect();
        Ok(Run { outputs, phases, elapsed: clock.elapsed() })
    }

    /// Takes the memory of the activations for a run, and waits for other runs.
    ///
    /// # Errors
    /// A host's frames have it.
    pub(super) fn lock_arena(&self) -> Result<ArenaGuard, GpuError> {
        self.lock.lock()
    }

    /// Takes the memory of the activations for a host's frames; never waits.
    ///
    /// # Errors
    /// The memory is in use.
    pub(crate) fn try_lock_arena(&self) -> Result<ArenaGuard, GpuError> {
        self.lock.try_lock()
    }

    pub(super) fn write_inputs(&self, inputs: &[Data]) {
        for (port, data) in self.plan.inputs().iter().zip(inputs) {
            // Copies are of whole words: bytes are filled up.
            let bytes = data.bytes();
            let whole = bytes.len() / 4 * 4;
            self.queue.write_buffer(&self.arena, port.range.start as u64, &bytes[..whole]);
            if whole < bytes.len() {
                let mut word = [0; 4];
                word[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                self.queue.write_buffer(&self.arena, (port.range.start + whole) as u64, &word);
            }
        }
    }

    fn submit(&self, inputs: &[Data]) -> Vec<wgpu::SubmissionIndex> {
        self.write_inputs(inputs);
        let phases = self.plan.phases();
        let last = phases.len().saturating_sub(1);
        let submit_phase = |(number, (name, steps)): (usize, &(String, Range<usize>))| {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some(name) };
            let mut encoder = self.device.create_command_encoder(&descriptor);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(name),
                timestamp_writes: None,
            });
            for step in &self.steps[steps.clone()] {
                step.record(&mut pass);
            }
            drop(pass);
            if number == last {
                let range = self.plan.output_range();
                let size = range.len() as u64;
                encoder.copy_buffer_to_buffer(&self.arena, range.start as u64, &self.readback, 0, size);
            }
            self.queue.submit([encoder.finish()])
        };
        phases.iter().enumerate().map(submit_phase).collect()
    }

    pub(super) fn check_inputs(&self, inputs: &[Data]) -> Result<(), GpuError> {
        check_inputs(self.plan.inputs().iter().map(|port| (&*port.name, port.dtype, &port.shape)), inputs)
            .map_err(|error| GpuError::InvalidInput(error.to_string()))
    }
}

/// Waits for all work on a buffer that can be mapped, and reads it.
pub(super) fn read_back<T>(
    device: &wgpu::Device,
    buffer: &wgpu::Buffer,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T, GpuError> {
    let failed = |error: &dyn std::fmt::Display| match check_alive(device) {
        Err(lost) => lost,
        Ok(()) => GpuError::Internal(error.to_string()),
    };
    let (sender, receiver) = mpsc::channel();
    scoped(device, || {
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver lives until this function returns.
            let _ = sender.send(result);
        });
    })?;
    poll(device, wgpu::PollType::wait_indefinitely())?;
    receiver.recv().map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    let result = read(&buffer.get_mapped_range(..).map_err(|e| failed(&e))?);
    buffer.unmap();
    Ok(result)
}

fn entry<'a>(binding: u32, buffer: &'a wgpu::Buffer, range: &Range<usize>) -> wgpu::BindGroupEntry<'a> {
    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer,
        offset: range.start as u64,
        size: std::num::NonZeroU64::new(range.len() as u64),
    });
    wgpu::BindGroupEntry { binding, resource }
}

/// Kernels are written for the subgroups and types of the target; `check_limits` sees to its grids.
fn check_target(target: &Target, device: &Target) -> Result<(), GpuError> {
    let fits = (target.subgroup == 0 || target.subgroup == device.subgroup)
        && (device.has_subgroups || !target.has_subgroups)
        && (device.int64 || !target.int64);
    match fits {
        true => Ok(()),
        false => Err(GpuError::InvalidInput(format!(
            "expected a plan for this device, {device:?}, found one for {target:?}: plan with `Gpu::plan`"
        ))),
    }
}

fn check_limits(limits: &wgpu::Limits, plan: &Plan) -> Result<(), GpuError> {
    let check = |limit, need: u64, have: u64, advice| {
        if need <= have { Ok(()) } else { Err(GpuError::LimitTooLow { limit, need, have, advice }) }
    };
    let smaller = "use a smaller batch or a smaller beam";
    let device = "request the device with a higher limit, or choose another adapter";
    check("maxBufferSize", plan.arena_bytes() as u64, limits.max_buffer_size, smaller)?;
    let activations = plan.ranges().values().chain(plan.scratch()).map(Range::len).max().unwrap_or(0);
    check(
        "maxStorageBufferBindingSize",
        activations as u64,
        limits.max_storage_buffer_binding_size,
        smaller,
    )?;
    for weight in plan.weights() {
        let bytes = plan.packed_bytes(weight) as u64;
        check("maxStorageBufferBindingSize", bytes, limits.max_storage_buffer_binding_size, device)?;
        check("maxBufferSize", bytes, limits.max_buffer_size, device)?;
    }
    for step in plan.steps() {
        let bindings = step.dispatch.bindings.len() as u64;
        check(
            "maxStorageBuffersPerShaderStage",
            bindings,
            limits.max_storage_buffers_per_shader_stage.into(),
            device,
        )?;
        for count in step.dispatch.workgroups {
            let have = limits.max_compute_workgroups_per_dimension.into();
            check("maxComputeWorkgroupsPerDimension", count.into(), have, smaller)?;
        }
    }
    // The smaller the better, this time.
    let (have, need) = (limits.min_storage_buffer_offset_alignment, ALIGNMENT as u64);
    let have = u64::from(have.max(limits.min_uniform_buffer_offset_alignment));
    if have <= need {
        return Ok(());
    }
    let advice = "choose another adapter";
    Err(GpuError::LimitTooLow { limit: "minStorageBufferOffsetAlignment", need, have, advice })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gpu::AdapterChoice;
    use std::sync::Mutex;

    #[test]
    fn a_buffer_that_is_mapped_already_is_an_error_that_no_handler_hears_of() {
        let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&heard);
        gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            told.lock().unwrap().push(error.to_string())
        }));
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        buffer.map_async(wgpu::MapMode::Read, .., |_| {});
        let error = read_back(&gpu.device, &buffer, <[u8]>::to_vec).unwrap_err();
        assert!(matches!(error, GpuError::Internal(_)), "{error}");
        assert_eq!(*heard.lock().unwrap(), [""; 0]);
    }
}
