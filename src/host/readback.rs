//! Reading buffers back without waiting.

use crate::engine::gpu::{GpuError, scoped};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// A word that is copied behind the results. It is missing if the encoder with the copies did not run.
pub(super) const MARKER: [u8; 4] = *b"done";

/// The state of a buffer's mapping, as last reported by the device.
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
        // Both locks are released here, because the task may poll at once.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A buffer that an encoder copies into. It is mapped after the encoder was submitted.
#[derive(Debug)]
pub(super) struct Readback {
    buffer: wgpu::Buffer,
    state: Arc<MapState>,
}

impl Readback {
    /// Records the copies of ranges, one after another. Each binding has an explicit size.
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

    /// The bytes, or `None` if they are not ready yet.
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

    /// Waits, at most this long, for the mapping report. Another thread may be about to deliver it.
    pub(super) fn wait_for_report(&self, most: Duration) {
        let result = self.state.result.lock().unwrap_or_else(PoisonError::into_inner);
        // The caller finds out by `bytes` whether the report came in time.
        drop(self.state.reported.wait_timeout_while(result, most, |result| result.is_none()));
    }

    /// Wakes a task when the bytes are ready.
    pub(super) fn wake_with(&self, waker: &Waker) {
        *self.state.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}
