//! The device that captions are computed on.

use shadetell::Backend;
use shadetell::engine::gpu::{Gpu, GpuError};

/// The device that captions are computed on: a GPU, or the CPU.
#[derive(Clone)]
pub struct Device(Option<Gpu>);

/// Opens a device to replace a lost one. It is called on the thread that owns the device, repeatedly until it succeeds.
pub type Reopen = Box<dyn Fn() -> Result<Device, GpuError> + Send>;

impl Device {
    /// The CPU.
    pub const CPU: Device = Device(None);

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.0.as_ref()
    }

    /// The device as a backend for captioners.
    pub fn backend(&self) -> Backend<'_> {
        self.gpu().map_or(Backend::Cpu, Backend::Gpu)
    }

    /// Its name: that of the adapter, or `cpu`.
    pub fn name(&self) -> &str {
        self.gpu().map_or("cpu", |gpu| &gpu.info.name)
    }
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Device {
        Device(Some(gpu))
    }
}
