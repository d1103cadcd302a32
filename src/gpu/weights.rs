//! Weights on the device: packed for their kernels, uploaded in bounded chunks, spread over a few buffers.

use super::{GpuError, scoped};
use crate::graph::Graph;
use crate::graph::plan::{ALIGNMENT, PackedWeight, Plan};
use std::collections::HashMap;
use std::ops::Range;

/// A buffer is closed once it holds this much, so that no binding and no allocation grows with the model.
const BUFFER_BYTES: usize = 64 << 20;
/// wgpu keeps a copy of what was written until it is submitted: about this much at a time.
const PENDING_BYTES: usize = 8 << 20;
/// Values that are read and packed at a time, where the layout allows it: they stay in the processor's cache.
const PART_VALUES: usize = 1 << 17;

/// Where the weights of a plan lie.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    buffers: Vec<wgpu::Buffer>,
    places: HashMap<PackedWeight, (usize, Range<usize>)>,
}

impl DeviceWeights {
    pub(super) fn upload(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        graph: &Graph,
        plan: &Plan,
    ) -> Result<DeviceWeights, GpuError> {
        let mut places = HashMap::new();
        let mut sizes: Vec<usize> = Vec::new();
        for &weight in &plan.weights {
            let bytes = 4 * weight.packing.len(&graph.get(weight.tensor).shape);
            if sizes.last().is_none_or(|size| size + bytes > BUFFER_BYTES) {
                sizes.push(0);
            }
            let buffer = sizes.len() - 1;
            let start = sizes[buffer];
            places.insert(weight, (buffer, start..start + bytes));
            sizes[buffer] = (start + bytes).next_multiple_of(ALIGNMENT);
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffers = scoped(device, || {
            let create = |&size: &usize| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("weights"),
                    size: size as u64,
                    usage,
                    mapped_at_creation: false,
                })
            };
            sizes.iter().map(create).collect::<Vec<_>>()
        })?;
        let weights = DeviceWeights { buffers, places };
        let mut pending = 0;
        for weight in &plan.weights {
            let tensor = graph.get(weight.tensor);
            let Some(constant) = &tensor.constant else { continue };
            let (buffer, range) = &weights.places[weight];
            let mut offset = range.start as u64;
            let mut shape = tensor.shape.to_vec();
            let count = shape.first().copied().unwrap_or(1);
            let step = weight.packing.slices(&shape, PART_VALUES);
            for first in (0..count).step_by(step.max(1)) {
                let slices = first..count.min(first + step);
                if let Some(outermost) = shape.first_mut() {
                    *outermost = slices.len();
                }
                let packed = weight.packing.pack(&shape, &constant.read_slices(slices, count));
                for chunk in bytemuck::cast_slice::<f32, u8>(&packed).chunks(PENDING_BYTES) {
                    scoped(device, || queue.write_buffer(&weights.buffers[*buffer], offset, chunk))?;
                    offset += chunk.len() as u64;
                    pending += chunk.len();
                    if pending >= PENDING_BYTES {
                        flush(device, queue)?;
                        pending = 0;
                    }
                }
            }
        }
        flush(device, queue)?;
        Ok(weights)
    }

    pub(super) fn binding(&self, weight: &PackedWeight) -> (&wgpu::Buffer, Range<usize>) {
        let (buffer, range) = &self.places[weight];
        (&self.buffers[*buffer], range.clone())
    }

    /// Bytes on the device.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().map(wgpu::Buffer::size).sum()
    }
}

fn flush(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), GpuError> {
    let index = queue.submit([]);
    let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
    device.poll(wait).map(|_| ()).map_err(|e| GpuError::DeviceLost(e.to_string()))
}
