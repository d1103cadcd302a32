//! The device that computes captions: a GPU, a software adapter, or the CPU.

use super::args::AdapterArgs;
use super::devices::{backend, kind};
use super::failure::Failure;
use super::output::note;
use clap::ValueEnum;
use shadetell::engine::gpu::{Gpu, GpuError};
use shadetell::weights::Model;
use shadetell::wgpu::AdapterInfo;
use shadetell::{Backend, CaptionOptions, Captioner, Error};

/// The choice of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// A GPU, or else the CPU
    Auto,
    /// Any adapter, even a software one, or an error
    Gpu,
    /// The CPU, all cores of it: several times faster than a software adapter
    Cpu,
}

/// A model that is prepared on a device.
pub(crate) struct Engine {
    /// The model.
    pub(crate) captioner: Captioner,
    /// The device it runs on.
    pub(crate) device: Device,
}

impl Engine {
    /// Prepares the model on the requested device, or on the best one.
    pub(crate) fn prepare(
        model: &Model,
        options: &CaptionOptions,
        choice: DeviceChoice,
        adapter: &AdapterArgs,
    ) -> Result<Engine, Failure> {
        let device = Device::open(choice, adapter)?;
        match Captioner::new(model, device.backend(), options) {
            Err(Error::Gpu(error)) if choice == DeviceChoice::Auto => {
                let device = Device::cpu(&format!("as no GPU can be used: {error}"), true);
                let captioner = Captioner::new(model, device.backend(), options)?;
                Ok(Engine { captioner, device })
            }
            captioner => Ok(Engine { captioner: captioner?, device }),
        }
    }
}

/// The device that computes captions.
#[derive(Clone)]
pub(crate) struct Device {
    /// A GPU; `None` for the CPU.
    pub(crate) gpu: Option<Gpu>,
    /// Its name.
    pub(crate) name: String,
    /// Its name and kind, and why it was chosen.
    reason: String,
    /// Whether it takes the place of a GPU that cannot be used.
    pub(crate) is_fallback: bool,
}

impl Device {
    /// Opens the requested device, or the best one.
    pub(crate) fn open(choice: DeviceChoice, adapter: &AdapterArgs) -> Result<Device, GpuError> {
        if choice == DeviceChoice::Cpu {
            return Ok(Device::cpu("as asked for", false));
        }
        let opened = if choice == DeviceChoice::Auto { adapter.open_hardware() } else { adapter.open() };
        let gpu = match opened {
            Ok(gpu) => gpu,
            Err(GpuError::NoHardware { found }) if choice == DeviceChoice::Auto => {
                return Ok(Device::cpu(&format!("as there is no hardware GPU: found {found}"), false));
            }
            // What was asked for by name and is not there is an error, even if another device is available.
            Err(
                error @ (GpuError::AdapterNotFound { .. }
                | GpuError::BackendNotFound { .. }
                | GpuError::UnknownBackend { .. }),
            ) => return Err(error),
            Err(GpuError::NoAdapter { .. }) if choice == DeviceChoice::Auto => {
                return Ok(Device::cpu(
                    "as there is no GPU adapter (`shadetell devices` says how to get one)",
                    true,
                ));
            }
            Err(error) if choice == DeviceChoice::Auto => {
                return Ok(Device::cpu(&format!("as no GPU can be used: {error}"), true));
            }
            Err(error) => return Err(error),
        };
        let AdapterInfo { name, device_type, .. } = &gpu.info;
        let why = if adapter.choice().is_specific() { ", as asked for" } else { "" };
        let reason = format!("{name} ({}, {}){why}", kind(*device_type), backend(gpu.info.backend));
        Ok(Device { name: name.clone(), reason, gpu: Some(gpu), is_fallback: false })
    }

    fn cpu(why: &str, is_fallback: bool) -> Device {
        let reason = format!("the CPU, {why}");
        Device { gpu: None, name: "cpu".to_owned(), reason, is_fallback }
    }

    /// The same device as a type of the library.
    pub(crate) fn backend(&self) -> Backend<'_> {
        self.gpu.as_ref().map_or(Backend::Cpu, Backend::Gpu)
    }

    /// Prints to standard error which device is used, and why.
    pub(crate) fn introduce(&self) {
        note(&format!("using {}", self.reason));
    }
}
