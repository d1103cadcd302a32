//! Where captions are computed: a GPU, a driver that stands in for one, or the reference twins.

use super::args::AdapterArgs;
use super::devices::{backend, kind};
use super::failure::Failure;
use super::output::note;
use clap::ValueEnum;
use shadetell::gpu::GpuError;
use shadetell::weights::Model;
use shadetell::wgpu::{AdapterInfo, DeviceType};
use shadetell::{Backend, CaptionOptions, Captioner, Error};

/// What may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// A GPU, else a driver that runs shaders on the CPU, else the CPU without shaders
    Auto,
    /// Any adapter, or an error
    Gpu,
    /// The CPU without shaders: slow, and the reference for all others
    Cpu,
}

/// A model made ready on a device.
pub(crate) struct Engine {
    /// The model.
    pub(crate) captioner: Captioner,
    /// The device, by name.
    pub(crate) name: String,
    /// The device, and why it was taken.
    pub(crate) reason: String,
}

impl Engine {
    /// Prepares the model on the device that was asked for, or on the best there is.
    pub(crate) fn prepare(
        model: &Model,
        options: &CaptionOptions,
        device: DeviceChoice,
        adapter: &AdapterArgs,
    ) -> Result<Engine, Failure> {
        if device == DeviceChoice::Cpu {
            return Ok(Engine::on_cpu(model, options, "as asked for")?);
        }
        match Engine::on_gpu(model, options, adapter) {
            // A name that fits nothing is a mistake to be told, whatever else could compute.
            Err(Error::Gpu(error))
                if device == DeviceChoice::Auto && !matches!(error, GpuError::AdapterNotFound { .. }) =>
            {
                let why = match &error {
                    GpuError::NoAdapter { .. } => {
                        "as there is no GPU adapter (`shadetell devices` says how to get one)".to_owned()
                    }
                    other => format!("as no GPU can be used: {other}"),
                };
                Ok(Engine::on_cpu(model, options, &why)?)
            }
            prepared => Ok(prepared?),
        }
    }

    fn on_gpu(model: &Model, options: &CaptionOptions, adapter: &AdapterArgs) -> Result<Engine, Error> {
        let gpu = adapter.open()?;
        let captioner = Captioner::new(model, Backend::Gpu(&gpu), options)?;
        let AdapterInfo { name, device_type, .. } = &gpu.info;
        let named = adapter.adapter.is_some()
            || std::env::var_os("WGPU_ADAPTER_NAME").is_some_and(|name| !name.is_empty());
        let why = match device_type {
            _ if named => ", as asked for",
            DeviceType::Cpu => ", as there is no hardware GPU",
            _ => "",
        };
        let reason = format!("{name} ({}, {}){why}", kind(*device_type), backend(gpu.info.backend));
        Ok(Engine { captioner, name: name.clone(), reason })
    }

    fn on_cpu(model: &Model, options: &CaptionOptions, why: &str) -> Result<Engine, Error> {
        let captioner = Captioner::new(model, Backend::Cpu, options)?;
        Ok(Engine { captioner, name: "cpu".to_owned(), reason: format!("the CPU, without shaders, {why}") })
    }

    /// Tells on standard error what computes, and why.
    pub(crate) fn introduce(&self) {
        note(&format!("using {}", self.reason));
    }
}
