//! Which adapter to use, and a device on it.

use super::{BoundsChecks, DeviceCache, GpuError};
use crate::engine::graph::{Graph, GraphError};
use crate::engine::plan::{AdapterClass, Plan, Target, TuningTable};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a user may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterChoice {
    /// Part of a name, or a number in the order of [`adapters`].
    pub adapter: Option<String>,
    /// The only backends to look at.
    pub backends: Option<wgpu::Backends>,
}

/// An adapter with what can be known before a device is made.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Name, type and driver.
    pub info: wgpu::AdapterInfo,
    /// Its limits.
    pub limits: wgpu::Limits,
    /// Its features.
    pub features: wgpu::Features,
    /// Whether [`Gpu::open`] takes this one.
    pub chosen: bool,
}

/// Hardware first, the fastest kind first; native APIs before OpenGL.
fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, u8::from(info.backend == wgpu::Backend::Gl))
}

fn sorted_adapters(choice: &AdapterChoice) -> Vec<wgpu::Adapter> {
    let native = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let wanted = choice.backends.or_else(wgpu::Backends::from_env);
    // OpenGL is slow to open and seldom needed: it is looked at when nothing else is there.
    let rounds = match wanted {
        Some(backends) => vec![backends],
        None => vec![native, wgpu::Backends::GL],
    };
    for backends in rounds {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        descriptor.flags = wgpu::InstanceFlags::empty().with_env();
        let instance = wgpu::Instance::new(descriptor);
        let mut found = pollster::block_on(instance.enumerate_adapters(backends));
        found.sort_by_key(|a| rank(&a.get_info()));
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// All adapters, best first: the order in which their numbers count.
///
/// # Errors
/// No adapter was found.
pub fn adapters(choice: &AdapterChoice) -> Result<Vec<AdapterReport>, GpuError> {
    let found = sorted_adapters(choice);
    let chosen = match select(&found, choice) {
        Err(none @ GpuError::NoAdapter { .. }) => return Err(none),
        selected => selected.ok(),
    };
    let report = |(index, adapter): (usize, &wgpu::Adapter)| AdapterReport {
        info: adapter.get_info(),
        limits: adapter.limits(),
        features: adapter.features(),
        chosen: chosen == Some(index),
    };
    Ok(found.iter().enumerate().map(report).collect())
}

/// A device: our own, or that of a host. Captioners that are made on it, or on a clone of it, share kernels and weights.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// Name, type and driver of the adapter.
    pub info: wgpu::AdapterInfo,
    /// Kernels that were found to be the fastest here, such as [`tune`](super::tune) finds; none at first.
    pub choices: TuningTable,
    /// Where the driver may keep what it compiles, if it has such a place.
    pub pipeline_cache: Option<wgpu::PipelineCache>,
    pub(crate) cache: Arc<Mutex<DeviceCache>>,
    lost: Arc<OnceLock<String>>,
}

impl Gpu {
    /// Opens the adapter that fits the choice best.
    ///
    /// The device has the WebGPU default limits, with larger buffers and bindings where the adapter allows them,
    /// and subgroup operations, timestamps and mappable buffers where they help;
    /// what a model needs of them is checked when it is prepared.
    ///
    /// # Errors
    /// There is no such adapter, or it gives no device.
    pub fn open(choice: &AdapterChoice) -> Result<Gpu, GpuError> {
        let defaults = wgpu::Limits::default();
        Self::open_with(choice, |available| wgpu::Limits {
            max_buffer_size: available.max_buffer_size,
            max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
            ..defaults.or_worse_values_from(available)
        })
    }

    /// Opens an adapter with limits chosen from those that it has.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_with(
        choice: &AdapterChoice,
        limits: impl FnOnce(&wgpu::Limits) -> wgpu::Limits,
    ) -> Result<Gpu, GpuError> {
        let found = sorted_adapters(choice);
        let adapter = &found[select(&found, choice)?];
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("shadetell"),
            required_features: Self::helpful_features(adapter),
            required_limits: limits(&adapter.limits()),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| GpuError::NoDevice { adapter: info.name.clone(), reason: e.to_string() })?;
        let lost = Arc::new(OnceLock::new());
        let cell = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            // A second loss tells nothing new.
            let _ = cell.set(format!("{reason:?}: {message}"));
        });
        Ok(Gpu {
            device,
            queue,
            info,
            choices: TuningTable::default(),
            pipeline_cache: None,
            cache: Arc::default(),
            lost,
        })
    }

    /// A device that a host has: nothing is asked of it and no handler is installed on it. What is missing of its limits is
    /// told when an [`Executor`](super::Executor) is made, and
    /// [`helpful_features`](Gpu::helpful_features) what makes it faster.
    pub fn from_host(device: &wgpu::Device, queue: &wgpu::Queue) -> Gpu {
        Gpu {
            device: device.clone(),
            queue: queue.clone(),
            info: device.adapter_info(),
            choices: TuningTable::default(),
            pipeline_cache: None,
            cache: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// The same device with kernels of its own, compiled with these checks: nothing is shared with other clones.
    #[must_use]
    pub fn with_checks(&self, checks: BoundsChecks) -> Gpu {
        Gpu { cache: Arc::new(Mutex::new(DeviceCache::new(checks))), ..self.clone() }
    }

    /// Features that a device should have, where its adapter has them; none is needed.
    pub fn helpful_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        adapter.features() & wanted_features(&adapter.get_info())
    }

    /// Why the device went away, if it did. Nothing is known of a host's device.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// What the planner needs to know.
    pub fn target(&self) -> Target {
        target(&self.device, &self.info)
    }

    /// Compiles the kernels of a plan, as [`Executor::new`](super::Executor::new) does where they are missing.
    ///
    /// # Errors
    /// The driver refuses a kernel.
    pub fn compile(&self, plan: &Plan) -> Result<(), GpuError> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).prepare(&self.device, plan)
    }

    /// A graph made ready for this device.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn plan(&self, graph: &Graph) -> Result<Plan, GraphError> {
        Plan::tuned(graph, &self.target(), &self.choices)
    }
}

/// What is used where an adapter has it: subgroup operations, a clock, 16-bit arithmetic (to measure), and, where a driver runs
/// on the CPU, reads of 64 bits and buffers that are mapped where they are used.
fn wanted_features(info: &wgpu::AdapterInfo) -> wgpu::Features {
    let any = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16;
    match info.device_type {
        wgpu::DeviceType::Cpu => {
            any | wgpu::Features::SHADER_INT64 | wgpu::Features::MAPPABLE_PRIMARY_BUFFERS
        }
        _ => any,
    }
}

/// What the planner needs to know of any device.
pub(crate) fn target(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Target {
    let class = match info.device_type {
        wgpu::DeviceType::Cpu => AdapterClass::Software,
        _ => AdapterClass::Hardware,
    };
    let lanes = info.subgroup_min_size;
    let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP);
    let is_fixed = has_subgroups && lanes == info.subgroup_max_size;
    Target {
        class,
        max_workgroups: device.limits().max_compute_workgroups_per_dimension,
        subgroup: if is_fixed { lanes } else { 0 },
        has_subgroups,
        int64: device.features().contains(wgpu::Features::SHADER_INT64),
        many_registers: class == AdapterClass::Software && many_registers(),
    }
}

/// Whether this machine's CPU has 32 vector registers.
fn many_registers() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    cfg!(target_arch = "aarch64")
}

/// The place of the adapter that fits the choice best.
fn select(found: &[wgpu::Adapter], choice: &AdapterChoice) -> Result<usize, GpuError> {
    if found.is_empty() {
        let backends = choice.backends.or_else(wgpu::Backends::from_env).unwrap_or(wgpu::Backends::all());
        let names: Vec<&str> = backends.iter_names().map(|(name, _)| name).collect();
        let backends = match names.as_slice() {
            [] => "WGPU_BACKEND names no backend that exists; it takes vulkan, metal, dx12 and gl".to_owned(),
            names => format!("looked at {}", names.join(", ")),
        };
        return Err(GpuError::NoAdapter { backends });
    }
    let environment = || std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let Some(wanted) = choice.adapter.clone().or_else(environment) else {
        return Ok(0);
    };
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    let by_number = wanted.parse::<usize>().ok().filter(|&number| number < found.len());
    let by_name = || names.iter().position(|name| name.to_lowercase().contains(&wanted.to_lowercase()));
    let place = by_number.or_else(by_name);
    place.ok_or_else(|| GpuError::AdapterNotFound { wanted, found: names.join(", ") })
}
