//! Recording a run into encoders that belong to a host.

use super::executor::Executor;
use super::{GpuError, filled_buffer};
use crate::engine::graph::Data;
use crate::engine::plan::Port;
use std::num::NonZeroU64;
use std::ops::Range;

impl Executor {
    /// The place of an input on the device, in whole words.
    pub(crate) fn input_binding(&self, index: usize) -> wgpu::BufferBinding<'_> {
        self.binding(&self.plan().inputs()[index].range)
    }

    /// The place of a result on the device.
    pub(crate) fn output_binding(&self, index: usize) -> wgpu::BufferBinding<'_> {
        self.binding(&self.plan().outputs()[index].range)
    }

    fn binding(&self, range: &Range<usize>) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.arena,
            offset: range.start as u64,
            size: NonZeroU64::new(range.len().next_multiple_of(4) as u64),
        }
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
        for port in self.plan().inputs().iter().skip(first) {
            let size = port.range.len().next_multiple_of(4) as u64;
            if offset + size > staged.size() {
                break;
            }
            encoder.copy_buffer_to_buffer(staged, offset, &self.arena, port.range.start as u64, size);
            offset += size;
        }
    }

    /// Checks that [`Executor::record_input_from`] can copy an input out of a buffer.
    ///
    /// # Errors
    /// The buffer cannot be copied from, is too short, or the offset is no multiple of four.
    pub(crate) fn check_input_source(
        &self,
        index: usize,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<(), GpuError> {
        let size = self.plan().inputs()[index].range.len().next_multiple_of(4) as u64;
        let is_readable = buffer.usage().contains(wgpu::BufferUsages::COPY_SRC);
        if !is_readable || !offset.is_multiple_of(4) || offset.saturating_add(size) > buffer.size() {
            return Err(GpuError::InvalidInput(format!(
                "expected a buffer with COPY_SRC and {size} bytes from an offset that is a multiple of 4, found {:?}, {} bytes \
                 and offset {offset}",
                buffer.usage(),
                buffer.size()
            )));
        }
        Ok(())
    }

    /// Records the copying of an input out of a buffer that [`Executor::check_input_source`] has checked.
    pub(crate) fn record_input_from(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        index: usize,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) {
        let range = &self.plan().inputs()[index].range;
        let size = range.len().next_multiple_of(4) as u64;
        encoder.copy_buffer_to_buffer(buffer, offset, &self.arena, range.start as u64, size);
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

    /// The place of the first `count` results on the device.
    pub(crate) fn results_binding(&self, count: usize) -> wgpu::BufferBinding<'_> {
        let start = self.plan().output_range().start;
        let end = self.plan().outputs()[..count].iter().map(|port| port.range.end).max().unwrap_or(start);
        self.binding(&(start..end))
    }

    /// The results of a run as far as their bytes were copied.
    pub(crate) fn outputs(&self, bytes: &[u8]) -> Vec<Data> {
        let base = self.plan().output_range().start;
        let read = |port: &Port| {
            Data::from_bytes(port.dtype, &bytes[port.range.start - base..port.range.end - base])
        };
        let is_there = |port: &&Port| port.range.end - base <= bytes.len();
        self.plan().outputs().iter().take_while(is_there).map(read).collect()
    }
}
