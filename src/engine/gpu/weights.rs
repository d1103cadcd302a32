//! Weights on the device: packed for their kernels straight into mapped memory, spread over a few buffers.

use super::progress::Progress;
use super::{GpuError, poll, scoped};
use crate::engine::graph::Source;
use crate::engine::plan::{ALIGNMENT, PackedWeight, Packing, Plan};
use half::f16;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A buffer is closed once it holds this much, so that no binding and no allocation grows with the model. Where the
/// device's memory cannot be mapped, wgpu keeps a copy of each buffer that is being filled.
const BUFFER_BYTES: usize = 16 << 20;
/// Values that are read and packed at a time, where the layout allows it: they stay in the processor's cache.
const PART_VALUES: usize = 1 << 16;
/// Most buffers that are filled at a time, one by each processor.
const MAX_WORKERS: usize = 4;

/// Weights that lie in the same buffer, and where.
#[derive(Default)]
struct Shelf {
    weights: Vec<(PackedWeight, Range<usize>)>,
    bytes: usize,
}

/// What a part of a buffer holds, whatever graph it is for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Content {
    source: Source,
    packing: Packing,
    half: bool,
}

impl Content {
    fn of(weight: &PackedWeight, plan: &Plan) -> Option<Content> {
        let source = plan.constant(weight.tensor)?.constant.as_ref()?.source();
        Some(Content { source, packing: weight.packing, half: weight.half })
    }
}

/// A part of a buffer.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) buffer: wgpu::Buffer,
    pub(super) range: Range<usize>,
}

/// Where the weights of a plan lie.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    places: HashMap<PackedWeight, Place>,
    /// Those that others may use too.
    contents: HashMap<Content, Place>,
    /// Bytes of those that others had put there before.
    shared: usize,
}

impl DeviceWeights {
    /// Puts the weights of a plan on the device, except for those that are there already for `others`.
    pub(super) fn upload(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        plan: &Plan,
        progress: &Progress,
        others: &[Arc<DeviceWeights>],
    ) -> Result<DeviceWeights, GpuError> {
        let mut weights = DeviceWeights { places: HashMap::new(), contents: HashMap::new(), shared: 0 };
        let mut shelves: Vec<Shelf> = Vec::new();
        for &weight in plan.weights() {
            let content = Content::of(&weight, plan);
            let there =
                content.as_ref().and_then(|content| others.iter().find_map(|o| o.contents.get(content)));
            if let Some(place) = there.cloned() {
                progress.step();
                weights.shared += place.range.len();
                weights.add(weight, content, place);
                continue;
            }
            let bytes = plan.packed_bytes(&weight);
            if shelves.last().is_none_or(|shelf| shelf.bytes + bytes > BUFFER_BYTES) {
                shelves.push(Shelf::default());
            }
            if let Some(shelf) = shelves.last_mut() {
                shelf.weights.push((weight, shelf.bytes..shelf.bytes + bytes));
                shelf.bytes = (shelf.bytes + bytes).next_multiple_of(ALIGNMENT);
            }
        }
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS));
        for group in shelves.chunks(workers) {
            let filled: Result<Vec<_>, GpuError> = std::thread::scope(|scope| {
                let mut started = Vec::with_capacity(group.len());
                for shelf in group {
                    started.push(scope.spawn(|| shelf.filled_buffer(device, plan, progress)));
                }
                let stopped = |_| GpuError::Internal("a thread that fills buffers stopped".to_owned());
                started.into_iter().map(|thread| thread.join().map_err(stopped)?).collect()
            });
            for (shelf, buffer) in group.iter().zip(filled?) {
                for (weight, range) in &shelf.weights {
                    let place = Place { buffer: buffer.clone(), range: range.clone() };
                    weights.add(*weight, Content::of(weight, plan), place);
                }
            }
            // Frees the copies.
            let submission_index = Some(queue.submit([]));
            poll(device, wgpu::PollType::Wait { submission_index, timeout: None })?;
        }
        Ok(weights)
    }

    fn add(&mut self, weight: PackedWeight, content: Option<Content>, place: Place) {
        self.contents.extend(content.map(|content| (content, place.clone())));
        self.places.insert(weight, place);
    }

    pub(super) fn place(&self, weight: &PackedWeight) -> &Place {
        &self.places[weight]
    }

    /// Bytes on the device, and how many of them were there before.
    pub(super) fn bytes(&self) -> [u64; 2] {
        let all: usize = self.places.values().map(|place| place.range.len()).sum();
        [all, self.shared].map(|bytes| bytes as u64)
    }
}

impl Shelf {
    /// A buffer with the weights in it.
    fn filled_buffer(
        &self,
        device: &wgpu::Device,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<wgpu::Buffer, GpuError> {
        let mut usage = wgpu::BufferUsages::STORAGE;
        // A driver that runs on the CPU has the device's memory and ours in the same place.
        if device.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
            && device.adapter_info().device_type == wgpu::DeviceType::Cpu
        {
            usage |= wgpu::BufferUsages::MAP_WRITE;
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("weights"),
            size: self.bytes.max(ALIGNMENT) as u64,
            usage,
            mapped_at_creation: true,
        };
        let buffer = scoped(device, || device.create_buffer(&descriptor))?;
        self.fill(&buffer, plan, progress)?;
        scoped(device, || buffer.unmap())?;
        Ok(buffer)
    }

    /// Reads, packs and writes the weights, a part at a time.
    fn fill(&self, buffer: &wgpu::Buffer, plan: &Plan, progress: &Progress) -> Result<(), GpuError> {
        // What was allocated without an error has memory, unless the device is gone.
        let lost = |error: wgpu::MapRangeError| GpuError::DeviceLost(error.to_string());
        let mut view = buffer.get_mapped_range_mut(..).map_err(lost)?;
        for (weight, range) in &self.weights {
            progress.step();
            let found =
                plan.constant(weight.tensor).and_then(|tensor| Some((tensor, tensor.constant.as_ref()?)));
            let Some((tensor, constant)) = found else {
                return Err(GpuError::Internal(format!("expected a constant for {weight:?}, found none")));
            };
            let unscaled;
            let constant = if weight.half {
                unscaled = constant.unscaled();
                &unscaled
            } else {
                constant
            };
            let mut shape = tensor.shape.to_vec();
            let count = shape.first().copied().unwrap_or(1);
            let step = weight.packing.slices(&shape, PART_VALUES).max(1);
            let mut offset = range.start;
            for first in (0..count).step_by(step) {
                let slices = first..count.min(first + step);
                if let Some(outermost) = shape.first_mut() {
                    *outermost = slices.len();
                }
                let values = match weight.packing.is_scale() {
                    true => constant.scale(count),
                    false => constant.read_slices(slices, count),
                };
                let packed = weight.packing.pack(&shape, &values);
                let halves: Vec<f16>;
                let bytes: &[u8] = if weight.half {
                    halves = packed.iter().map(|&value| f16::from_f32(value)).collect();
                    bytemuck::cast_slice(&halves)
                } else {
                    bytemuck::cast_slice(&packed)
                };
                view.slice(offset..offset + bytes.len()).copy_from_slice(bytes);
                offset += bytes.len();
            }
        }
        Ok(())
    }
}
