//! Runs a plan: everything is allocated and bound once, a run only writes inputs, records dispatches and reads back.

use super::arena_lock::{ArenaGuard, ArenaLock};
use super::weights::DeviceWeights;
use super::{Gpu, GpuError, Pipelines, check_alive, filled_buffer, poll, scoped};
use crate::engine::graph::Data;
use crate::engine::plan::{ALIGNMENT, Binding, Plan, Port, Target};
use std::ops::Range;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A plan on a device, ready to run.
#[derive(Debug)]
pub struct Executor {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    plan: Plan,
    arena: wgpu::Buffer,
    readback: wgpu::Buffer,
    weights: Arc<DeviceWeights>,
    pub(super) steps: Vec<BoundStep>,
    pub(super) lock: ArenaLock,
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

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Run {
    /// The results, in the order in which the graph declares them.
    pub outputs: Vec<Data>,
    /// Wall-clock time from the end of the previous phase to the end of each.
    pub phases: Vec<Duration>,
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
        let mut pipelines = gpu.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.cache = gpu.pipeline_cache.clone();
        Executor::prepared(gpu, &mut pipelines, plan)
    }

    pub(crate) fn prepared(gpu: &Gpu, pipelines: &mut Pipelines, plan: Plan) -> Result<Executor, GpuError> {
        let Gpu { device, queue, .. } = gpu;
        check_target(plan.target(), &gpu.target())?;
        check_limits(&device.limits(), &plan)?;
        pipelines.progress.add_steps(plan.weights().len());
        pipelines.prepare(device, &plan)?;
        let others = pipelines.weights();
        let weights =
            DeviceWeights::upload(device, queue, &plan, &pipelines.progress, &others).map(Arc::new)?;
        pipelines.share(&weights);
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
                let Some(compiled) = pipelines.get(&dispatch.kernel) else {
                    return Err(GpuError::Refused(format!("{} was not compiled", dispatch.kernel.label())));
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
            weights,
            steps,
            lock: ArenaLock::default(),
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
    /// readback at the end.
    ///
    /// Any number of threads may call this: each waits for its turn.
    ///
    /// # Errors
    /// The inputs are not those of the graph, the device was lost, or the arena is in use by a recording that is not finished.
    pub fn run(&self, inputs: &[Data]) -> Result<Run, GpuError> {
        self.check_inputs(inputs)?;
        let _guard = self.lock.for_run()?;
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
        Ok(Run { outputs, phases })
    }

    /// The arena, for work that is recorded into a host's encoders. Never waits.
    ///
    /// # Errors
    /// A run or another recording has it.
    pub(crate) fn take_arena(&self) -> Result<ArenaGuard, GpuError> {
        self.lock.for_recording()
    }

    /// Where an input lies on the device.
    pub(crate) fn input_binding(&self, index: usize) -> wgpu::BufferBinding<'_> {
        let range = &self.plan.inputs()[index].range;
        wgpu::BufferBinding {
            buffer: &self.arena,
            offset: range.start as u64,
            size: std::num::NonZeroU64::new(range.len().next_multiple_of(4) as u64),
        }
    }

    /// Where a result lies on the device.
    pub(crate) fn output_binding(&self, index: usize) -> wgpu::BufferBinding<'_> {
        let range = &self.plan.outputs()[index].range;
        wgpu::BufferBinding {
            buffer: &self.arena,
            offset: range.start as u64,
            size: std::num::NonZeroU64::new(range.len() as u64),
        }
    }

    /// Records the copying of an input out of a host's buffer.
    ///
    /// # Errors
    /// The buffer cannot be copied from, is too short, or the offset is no multiple of four. Nothing is recorded then.
    pub(crate) fn record_input_from(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        index: usize,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<(), GpuError> {
        let range = &self.plan.inputs()[index].range;
        let size = range.len().next_multiple_of(4) as u64;
        let is_readable = buffer.usage().contains(wgpu::BufferUsages::COPY_SRC);
        if !is_readable || !offset.is_multiple_of(4) || offset.saturating_add(size) > buffer.size() {
            return Err(GpuError::Refused(format!(
                "expected a buffer with COPY_SRC and {size} bytes from an offset that is a multiple of 4, found {:?}, {} bytes \
                 and offset {offset}",
                buffer.usage(),
                buffer.size()
            )));
        }
        encoder.copy_buffer_to_buffer(buffer, offset, &self.arena, range.start as u64, size);
        Ok(())
    }

    /// A buffer with the values of some inputs, for [`Executor::record_inputs`].
    pub(crate) fn staged(&self, inputs: &[Data]) -> Result<wgpu::Buffer, GpuError> {
        let mut bytes = Vec::new();
        for data in inputs {
            bytes.extend_from_slice(data.bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        filled_buffer(&self.device, "inputs", &bytes, wgpu::BufferUsages::COPY_SRC)
    }

    /// Records the copying of inputs, from the given one on, out of a buffer that [`Executor::staged`] made.
    pub(crate) fn record_inputs(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        first: usize,
        staged: &wgpu::Buffer,
    ) {
        let mut offset = 0;
        for port in self.plan.inputs().iter().skip(first) {
            let size = port.range.len().next_multiple_of(4) as u64;
            if offset + size > staged.size() {
                break;
            }
            encoder.copy_buffer_to_buffer(staged, offset, &self.arena, port.range.start as u64, size);
            offset += size;
        }
    }

    /// Records some of the steps as one compute pass.
    pub(crate) fn record_steps(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        steps: Range<usize>,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let descriptor = wgpu::ComputePassDescriptor { label: Some("shadetell"), timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for step in &self.steps[steps] {
            step.record(&mut pass);
        }
    }

    /// Records the copying of the first so many results, and asks for `arrived` to be called when they can be read.
    pub(crate) fn record_outputs(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        count: usize,
        arrived: impl FnOnce(Result<(), wgpu::BufferAsyncError>) + Send + 'static,
    ) -> Result<wgpu::Buffer, GpuError> {
        let start = self.plan.output_range().start;
        let end = self.plan.outputs()[..count].iter().map(|port| port.range.end).max().unwrap_or(start);
        let size = (end - start) as u64;
        let readback = scoped(&self.device, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("results"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        encoder.copy_buffer_to_buffer(&self.arena, start as u64, &readback, 0, size);
        encoder.map_buffer_on_submit(&readback, wgpu::MapMode::Read, .., arrived);
        Ok(readback)
    }

    /// The results of a run as far as their bytes were copied.
    pub(crate) fn outputs(&self, bytes: &[u8]) -> Vec<Data> {
        let base = self.plan.output_range().start;
        let read = |port: &Port| {
            Data::from_bytes(port.dtype, &bytes[port.range.start - base..port.range.end - base])
        };
        let is_there = |port: &&Port| port.range.end - base <= bytes.len();
        self.plan.outputs().iter().take_while(is_there).map(read).collect()
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
        let expected: Vec<_> = self.plan.inputs().iter().map(|p| (p.dtype, p.shape.elements())).collect();
        let found: Vec<_> = inputs.iter().map(|d| (d.dtype(), d.len())).collect();
        if expected == found {
            Ok(())
        } else {
            Err(GpuError::Refused(format!("expected inputs {expected:?}, found {found:?}")))
        }
    }
}

/// Waits for all work on a buffer that can be mapped, and reads it.
pub(super) fn read_back<T>(
    device: &wgpu::Device,
    buffer: &wgpu::Buffer,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T, GpuError> {
    let lost = |e: &dyn std::fmt::Display| GpuError::DeviceLost(e.to_string());
    let (sender, receiver) = mpsc::channel();
    scoped(device, || {
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver lives until this function returns.
            let _ = sender.send(result);
        });
    })?;
    poll(device, wgpu::PollType::wait_indefinitely())?;
    receiver.recv().map_err(|e| lost(&e))?.map_err(|e| lost(&e))?;
    let result = read(&buffer.get_mapped_range(..).map_err(|e| lost(&e))?);
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
        false => Err(GpuError::Refused(format!(
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
