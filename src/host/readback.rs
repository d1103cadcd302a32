//! Reading buffers back without waiting.

use crate::engine::gpu::{GpuError, scoped};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// The word that is copied behind results: it is missing where the encoder with their copies did not run.
pub(super) const MARKER: [u8; 4] = *b"done";

/// Whether a buffer is mapped, as far as the device has reported.
#[derive(Debug, Default)]
struct MapState {
    result: Mutex<Option<Result<(), String>>>,
    reported: Condvar,
    waker: Mutex<Option<Waker>>,
}

impl MapState {
    fn report(&self, result: Result<(), wgpu::BufferAsyncError>) {
        let result = result.map_err(|error| error.to_string());
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.reported.notify_all();
        // Both locks are free by now: the task may poll at once.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A buffer that an encoder copies into, and that is mapped after the encoder was submitted.
#[derive(Debug)]
pub(super) struct Readback {
    buffer: wgpu::Buffer,
    state: Arc<MapState>,
}

impl Readback {
    /// Records the copying of ranges, one behind the other. Bindings have their size.
    pub(super) fn record(
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        label: &str,
        ranges: &[wgpu::BufferBinding<'_>],
    ) -> Result<Readback, GpuError> {
        let size = |range: &wgpu::BufferBinding<'_>| range.size.map_or(0, u64::from);
        let buffer = scoped(device, || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: ranges.iter().map(size).sum(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        let mut offset = 0;
        for range in ranges {
            encoder.copy_buffer_to_buffer(range.buffer, range.offset, &buffer, offset, size(range));
            offset += size(range);
        }
        let state: Arc<MapState> = Arc::default();
        let reported = Arc::clone(&state);
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| reported.report(result));
        Ok(Readback { buffer, state })
    }

    /// The bytes, or `None` while they are on their way.
    ///
    /// # Errors
    /// The device was lost.
    pub(super) fn bytes(&self) -> Result<Option<wgpu::BufferView>, GpuError> {
        let Some(result) = self.state.result.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Ok(None);
        };
        result.map_err(GpuError::DeviceLost)?;
        self.buffer.get_mapped_range(..).map(Some).map_err(|error| GpuError::DeviceLost(error.to_string()))
    }

    /// Waits for a report of the device that another thread may be about to deliver, at most for this time.
    pub(super) fn wait_for_report(&self, most: Duration) {
        let result = self.state.result.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it came in time is seen by asking for the bytes.
        drop(self.state.reported.wait_timeout_while(result, most, |result| result.is_none()));
    }

    /// Wakes a task when the bytes are there.
    pub(super) fn wake_with(&self, waker: &Waker) {
        *self.state.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}
