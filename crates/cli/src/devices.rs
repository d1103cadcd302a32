//! `shadetell devices`: the available adapters.

use super::args::BackendName;
use super::failure::Failure;
use super::output::{self, binary_size};
use clap::Args;
use serde::Serialize;
use shadetell::engine::gpu::{AdapterChoice, AdapterReport, adapters};
use shadetell::wgpu::{self, Features};
use std::process::ExitCode;

/// Lists the GPU adapters, and marks the one that `caption` uses by default
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell devices                            all adapters, best first
  shadetell caption --adapter 1 dog.jpg        take the second one
  shadetell caption --adapter nvidia dog.jpg   the first one of that name
  shadetell devices --json                     for programs

Exits with 4 if there is no adapter. OpenGL adapters are listed only if there
are no others, or with --backend gl.")]
pub(crate) struct DevicesArgs {
    /// Print JSON: an array of objects
    #[arg(long)]
    json: bool,

    /// Use this graphics API only; WGPU_BACKEND does the same
    #[arg(long, value_name = "API")]
    backend: Option<BackendName>,
}

/// Prints the list.
pub(crate) fn run(args: &DevicesArgs) -> Result<ExitCode, Failure> {
    let choice =
        AdapterChoice { backends: args.backend.map(wgpu::Backends::from), ..AdapterChoice::default() };
    let found = adapters(&choice);
    let list: Vec<Device> = found.iter().flatten().enumerate().map(Device::of).collect();
    if args.json {
        output::print_json(&list)?;
    } else {
        output::print(&list.iter().map(Device::text).collect::<String>())?;
    }
    found?;
    Ok(ExitCode::SUCCESS)
}

/// An adapter in the list.
#[derive(Serialize)]
struct Device {
    index: usize,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    backend: &'static str,
    driver: String,
    driver_info: String,
    chosen: bool,
    limits: Limits,
    features: Supported,
}

/// The limits that decide how large a model may be, by their names in WebGPU.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
    max_storage_buffers_per_shader_stage: u32,
}

/// The features that make kernels faster or measurable, by their names in WebGPU.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Supported {
    #[serde(rename = "shader-f16")]
    shader_f16: bool,
    #[serde(rename = "shader-int64")]
    shader_int64: bool,
    subgroups: bool,
    timestamp_query: bool,
}

impl Device {
    fn of((index, report): (usize, &AdapterReport)) -> Device {
        let AdapterReport { info, limits, features, chosen } = report;
        Device {
            index,
            name: info.name.clone(),
            kind: kind(info.device_type),
            backend: backend(info.backend),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
            chosen: *chosen,
            limits: Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
                max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            },
            features: Supported {
                shader_f16: features.contains(Features::SHADER_F16),
                shader_int64: features.contains(Features::SHADER_INT64),
                subgroups: features.contains(Features::SUBGROUP),
                timestamp_query: features.contains(Features::TIMESTAMP_QUERY),
            },
        }
    }

    /// One line with the adapter and its driver, and two with limits and features.
    fn text(&self) -> String {
        let known = [&self.driver, &self.driver_info].map(String::as_str);
        let driver = known.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
        let driver = if driver.is_empty() { String::new() } else { format!(", driver {driver}") };
        let chosen = if self.chosen { "  <- taken by default" } else { "" };
        let Limits {
            max_buffer_size,
            max_storage_buffer_binding_size,
            max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup,
            max_storage_buffers_per_shader_stage,
        } = &self.limits;
        let has = |supported| if supported { "yes" } else { "no" };
        format!(
            "{}  {}: {}, {}{driver}{chosen}\n   \
             maxBufferSize {}, maxStorageBufferBindingSize {},\n   \
             maxComputeWorkgroupStorageSize {},\n   \
             maxComputeInvocationsPerWorkgroup {max_compute_invocations_per_workgroup}, \
             maxStorageBuffersPerShaderStage {max_storage_buffers_per_shader_stage}\n   \
             shader-f16 {}, shader-int64 {}, subgroups {}, timestamp-query {}\n",
            self.index,
            self.name,
            self.kind,
            self.backend,
            binary_size(*max_buffer_size),
            binary_size(*max_storage_buffer_binding_size),
            binary_size((*max_compute_workgroup_storage_size).into()),
            has(self.features.shader_f16),
            has(self.features.shader_int64),
            has(self.features.subgroups),
            has(self.features.timestamp_query),
        )
    }
}

/// The kind of an adapter in plain words.
pub(crate) fn kind(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Cpu => "software adapter",
        wgpu::DeviceType::Other => "adapter of unknown type",
    }
}

/// The usual spelling of a graphics API.
pub(crate) fn backend(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "Direct3D 12",
        wgpu::Backend::Gl => "OpenGL",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Noop => "no-op",
    }
}
