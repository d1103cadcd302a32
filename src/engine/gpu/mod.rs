//! Adapters, devices, compiled kernels, and the executor that records a plan into compute passes.

mod adapter;
mod arena_lock;
mod device_cache;
mod executor;
mod peaks;
mod profile;
mod progress;
mod recording;
pub mod source;
mod tune;
mod weights;

pub use adapter::{AdapterChoice, AdapterReport, Gpu, adapters};
pub(crate) use arena_lock::ArenaGuard;
pub use device_cache::BoundsChecks;
pub(crate) use device_cache::DeviceCache;
pub use executor::{DeviceMemory, Executor, Run};
pub use peaks::Peaks;
pub use profile::Clock;
pub(crate) use progress::Progress;
pub use tune::{Trial, Tuned, tune};

use crate::engine::Cause;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Something went wrong between us and a GPU.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The machine has no adapter at all.
    #[error(
        "no GPU adapter found ({backends}): install a Vulkan driver (on Debian and Ubuntu: \
         `apt-get install mesa-vulkan-drivers`, which brings a software one too)"
    )]
    NoAdapter {
        /// Where it was looked for.
        backends: String,
    },
    /// A hardware adapter was asked for, and there is none.
    #[error("expected a hardware adapter, found {found}")]
    NoHardware {
        /// What there is instead.
        found: String,
    },
    /// The environment variable names a graphics API that does not exist.
    #[error(
        "WGPU_BACKEND: expected vulkan, metal, dx12 or gl, found `{wanted}`; leave it empty for any of them"
    )]
    UnknownBackend {
        /// The name.
        wanted: String,
    },
    /// The graphics API asked for has no adapter here, and another one has.
    #[error("no {wanted} adapter; found: {found}")]
    BackendNotFound {
        /// The API asked for.
        wanted: String,
        /// The adapters of others.
        found: String,
    },
    /// The process may not have the address space that drivers need: some end it where they find less.
    #[error(
        "the limit of the address space (`ulimit -v`) is {limit} bytes, but drivers need {need}: raise it"
    )]
    AddressSpace {
        /// The limit in force.
        limit: u64,
        /// What drivers need.
        need: u64,
    },
    /// No adapter has the name or number that was asked for.
    #[error("no adapter matches `{wanted}`; found: {found}")]
    AdapterNotFound {
        /// The name or number asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// The adapter would not give a device.
    #[error("adapter `{adapter}` gives no device: {reason}")]
    NoDevice {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The device's limits are below what the model needs.
    #[error("the device allows {limit} = {have}, but this model needs {need}: {advice}")]
    LimitTooLow {
        /// The name of the limit in WebGPU.
        limit: &'static str,
        /// What the model needs.
        need: u64,
        /// What the device allows.
        have: u64,
        /// What to do about it.
        advice: &'static str,
    },
    /// A buffer could not be allocated.
    #[error("the GPU is out of memory ({0}): close other programs that use it")]
    OutOfMemory(String),
    /// The device went away.
    #[error("the GPU device was lost ({0}): try again on a new device")]
    DeviceLost(String),
    /// An argument of the caller cannot be used.
    #[error("{0}")]
    InvalidInput(String),
    /// The memory of activations is in use.
    #[error("{0}")]
    Busy(String),
    /// A mistake of this library, or a driver that refuses valid work.
    #[error("the engine made a mistake, or the driver refused valid work ({0}): please report it")]
    Internal(String),
}

impl GpuError {
    /// The kind of the error.
    pub fn cause(&self) -> Cause {
        match self {
            GpuError::NoAdapter { .. }
            | GpuError::NoHardware { .. }
            | GpuError::UnknownBackend { .. }
            | GpuError::BackendNotFound { .. }
            | GpuError::AddressSpace { .. }
            | GpuError::AdapterNotFound { .. }
            | GpuError::NoDevice { .. } => Cause::Unavailable,
            GpuError::LimitTooLow { .. } => Cause::Limit,
            GpuError::OutOfMemory(_) => Cause::OutOfMemory,
            GpuError::DeviceLost(_) => Cause::DeviceLost,
            GpuError::InvalidInput(_) => Cause::InvalidInput,
            GpuError::Busy(_) => Cause::Busy,
            GpuError::Internal(_) => Cause::Internal,
        }
    }

    /// The error of work on something of the caller's, such as a texture or a shader: what wgpu refuses there is the
    /// caller's mistake.
    pub(crate) fn of_input(self, expected: &str) -> GpuError {
        match self {
            GpuError::Internal(found) => GpuError::InvalidInput(format!("expected {expected}: {found}")),
            other => other,
        }
    }
}

impl From<wgpu::Error> for GpuError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory(error.to_string()),
            _ => GpuError::Internal(error.to_string()),
        }
    }
}

/// A buffer with these bytes, whose number is a multiple of four.
pub(crate) fn filled_buffer(
    device: &wgpu::Device,
    label: &str,
    bytes: &[u8],
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer, GpuError> {
    let descriptor = wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.len() as u64,
        usage,
        mapped_at_creation: true,
    };
    let buffer = scoped(device, || device.create_buffer(&descriptor))?;
    let mut view =
        buffer.get_mapped_range_mut(..).map_err(|error| GpuError::DeviceLost(error.to_string()))?;
    view.copy_from_slice(bytes);
    drop(view);
    buffer.unmap();
    Ok(buffer)
}

/// Polls a device, where [`wgpu::Device::poll`] panics if a driver says only then that it is lost.
///
/// # Errors
/// The device was lost.
pub fn poll(device: &wgpu::Device, how: wgpu::PollType) -> Result<(), GpuError> {
    match catch_unwind(AssertUnwindSafe(|| device.poll(how))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(GpuError::DeviceLost(error.to_string())),
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(message) if message.starts_with("Error in Device::poll") => {
                Err(GpuError::DeviceLost(message.clone()))
            }
            // A panic of other code that waited for this device.
            _ => resume_unwind(panic),
        },
    }
}

/// Fails if a device is gone. wgpu reports loss only to the device-lost callback, which belongs to the host; a buffer mapped at
/// creation fails on a lost device, so this probes with one.
pub(crate) fn check_alive(device: &wgpu::Device) -> Result<(), GpuError> {
    // Mappable usage, so that no staging copy is queued.
    let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
    match filled_buffer(device, "probe", &[0; 4], usage) {
        Err(lost @ GpuError::DeviceLost(_)) => Err(lost),
        _ => Ok(()),
    }
}

/// Runs `work` and turns what wgpu reports meanwhile into an error, so that no handler of the host hears of it. It reports
/// nothing where the device is gone: [`check_alive`] finds out.
pub(crate) fn scoped<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> Result<T, GpuError> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let result = work();
    // Innermost first; natively these futures are ready at once.
    let errors = [
        pollster::block_on(validation.pop()),
        pollster::block_on(internal.pop()),
        pollster::block_on(memory.pop()),
    ];
    // Running out of memory is the cause where several are reported.
    match errors.into_iter().flatten().next_back() {
        Some(error) => Err(error.into()),
        None => Ok(result),
    }
}
