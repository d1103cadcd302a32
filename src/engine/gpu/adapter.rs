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
    /// Whether a software adapter is an error, [`GpuError::NoHardware`]: the CPU computes faster without one
    /// ([`cpu::Executor`](crate::engine::cpu::Executor)). An adapter or a backend that is asked for, here or in the
    /// environment, is taken anyway.
    pub hardware_only: bool,
}

impl AdapterChoice {
    /// Whether an adapter or a backend is asked for, here or in the environment.
    pub fn is_specific(&self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let in_environment = ["WGPU_ADAPTER_NAME", "WGPU_BACKEND"].into_iter().any(is_set);
        self.adapter.is_some() || self.backends.is_some() || in_environment
    }
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

/// Graphics APIs: the names that `WGPU_BACKEND` may have for them, and the usual one.
const BACKENDS: [(wgpu::Backends, &[&str], &str); 4] = [
    (wgpu::Backends::VULKAN, &["vulkan", "vk"], "Vulkan"),
    (wgpu::Backends::METAL, &["metal", "mtl"], "Metal"),
    (wgpu::Backends::DX12, &["dx12", "d3d12"], "Direct3D 12"),
    (wgpu::Backends::GL, &["gl", "gles", "opengl"], "OpenGL"),
];

/// The usual names of graphics APIs.
fn backend_names(backends: wgpu::Backends, separator: &str) -> String {
    let named = BACKENDS.iter().filter(|(backend, ..)| backends.contains(*backend));
    named.map(|(_, _, name)| *name).collect::<Vec<_>>().join(separator)
}

/// The graphics APIs that a value of `WGPU_BACKEND` lists, with commas between them; `None` if it is empty.
fn parse_backends(list: &str) -> Result<Option<wgpu::Backends>, GpuError> {
    let mut backends = wgpu::Backends::empty();
    for wanted in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let wanted = wanted.to_lowercase();
        let (backend, ..) = BACKENDS
            .iter()
            .find(|(_, names, _)| names.contains(&wanted.as_str()))
            .ok_or_else(|| GpuError::UnknownBackend { wanted: wanted.clone() })?;
        backends |= *backend;
    }
    Ok(Some(backends).filter(|backends| !backends.is_empty()))
}

/// Adapters with their graphics API, for messages.
fn adapter_names(found: &[wgpu::Adapter]) -> String {
    let name = |(number, adapter): (usize, &wgpu::Adapter)| {
        let info = adapter.get_info();
        format!("{number}: {} ({})", info.name, backend_names(info.backend.into(), ""))
    };
    found.iter().enumerate().map(name).collect::<Vec<_>>().join(", ")
}

/// Address space that drivers and their compilers need: some end the process where they find less.
#[cfg(target_os = "linux")]
const ADDRESS_SPACE: u64 = 2 << 30;

/// Refuses to load drivers into a process with too little address space.
fn check_address_space() -> Result<(), GpuError> {
    #[cfg(target_os = "linux")]
    if let Ok(limits) = std::fs::read_to_string("/proc/self/limits")
        && let Some(limit) = address_space(&limits)
        && limit < ADDRESS_SPACE
    {
        return Err(GpuError::AddressSpace { limit, need: ADDRESS_SPACE });
    }
    Ok(())
}

/// The soft limit of the address space in bytes, from `/proc/self/limits`; `None` if there is none.
#[cfg(target_os = "linux")]
fn address_space(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether this may be a machine with a GPU. Without any of the files that drivers open, none has to be loaded, which takes tens
/// of milliseconds.
fn may_have_hardware() -> bool {
    /// Beginnings of their names: Mesa, WSL, AMD's compute driver, Qualcomm, ARM, NVIDIA's Tegra and others, Imagination.
    #[cfg(target_os = "linux")]
    const FILES: [&str; 10] =
        ["dri", "dxg", "kfd", "kgsl", "mali", "nvgpu", "nvhost", "nvidia", "nvmap", "pvr"];
    #[cfg(target_os = "linux")]
    if let Ok(files) = std::fs::read_dir("/dev") {
        let mut names = files.flatten().map(|file| file.file_name());
        return names.any(|name| FILES.iter().any(|&file| name.to_string_lossy().starts_with(file)));
    }
    true
}

fn enumerate(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut found = pollster::block_on(instance.enumerate_adapters(backends));
    found.sort_by_key(|a| rank(&a.get_info()));
    found
}

/// The adapters of the wanted graphics APIs, best first; at least one.
fn sorted_adapters(choice: &AdapterChoice) -> Result<Vec<wgpu::Adapter>, GpuError> {
    check_address_space()?;
    let native = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let wanted = match choice.backends {
        None => parse_backends(&std::env::var("WGPU_BACKEND").unwrap_or_default())?,
        backends => backends,
    };
    // OpenGL is slow to open and seldom needed: it is looked at when nothing else is there.
    let rounds = [native, wgpu::Backends::GL];
    let first_found = |rounds: &[wgpu::Backends]| {
        rounds.iter().map(|&backends| enumerate(backends)).find(|found| !found.is_empty()).unwrap_or_default()
    };
    let found = first_found(wanted.as_ref().map_or(&rounds, std::slice::from_ref));
    if !found.is_empty() {
        return Ok(found);
    }
    let looked_at = backend_names(wanted.unwrap_or(native | wgpu::Backends::GL), ", ");
    let others = match wanted {
        Some(wanted) => first_found(&rounds.map(|round| round - wanted)),
        None => Vec::new(),
    };
    Err(match (wanted, others.as_slice()) {
        (Some(wanted), [_, ..]) => {
            GpuError::BackendNotFound { wanted: backend_names(wanted, " or "), found: adapter_names(&others) }
        }
        _ => GpuError::NoAdapter { backends: format!("looked at {looked_at}") },
    })
}

/// All adapters, best first: the order in which their numbers count.
///
/// # Errors
/// No adapter was found, the graphics API asked for has none, or the address space is too small for drivers.
pub fn adapters(choice: &AdapterChoice) -> Result<Vec<AdapterReport>, GpuError> {
    let found = sorted_adapters(choice)?;
    let chosen = select(&found, choice).ok();
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
        let is_hardware_needed = choice.hardware_only && !choice.is_specific();
        if is_hardware_needed && !may_have_hardware() {
            return Err(GpuError::NoHardware { found: "no device file of a GPU in /dev".to_owned() });
        }
        let found = sorted_adapters(choice)?;
        let adapter = &found[select(&found, choice)?];
        let info = adapter.get_info();
        if is_hardware_needed && info.device_type == wgpu::DeviceType::Cpu {
            return Err(GpuError::NoHardware { found: format!("only the software adapter {}", info.name) });
        }
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
    let environment = || std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let Some(wanted) = choice.adapter.clone().or_else(environment) else {
        return Ok(0);
    };
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    place(&names, &wanted).ok_or_else(|| GpuError::AdapterNotFound { wanted, found: adapter_names(found) })
}

/// The place of an adapter: a number is a place and nothing else, other text is part of a name.
fn place(names: &[String], wanted: &str) -> Option<usize> {
    let wanted = wanted.trim().to_lowercase();
    if wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        return wanted.parse().ok().filter(|&place| place < names.len());
    }
    names.iter().position(|name| name.to_lowercase().contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_place_and_other_text_part_of_a_name() {
        let names = ["NVIDIA GeForce RTX 3090", "llvmpipe (LLVM 19.1.7, 256 bits)"].map(str::to_owned);
        for (wanted, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("2", None),
            ("3090", None),
            ("99999999999999999999", None),
            ("rtx 3090", Some(0)),
            ("LLVMpipe", Some(1)),
            ("+1", None),
            ("abacus", None),
            ("", None),
            (" ", None),
        ] {
            assert_eq!(place(&names, wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn graphics_apis_have_several_names() {
        let parse = |list| parse_backends(list).map_err(|error| error.to_string());
        for empty in ["", " ", ","] {
            assert_eq!(parse(empty), Ok(None));
        }
        assert_eq!(parse("VK, opengl"), Ok(Some(wgpu::Backends::VULKAN | wgpu::Backends::GL)));
        assert_eq!(parse("d3d12"), Ok(Some(wgpu::Backends::DX12)));
        assert!(parse("vulkan,glide").unwrap_err().contains("found `glide`"));
        assert_eq!(backend_names(wgpu::Backends::METAL | wgpu::Backends::GL, " or "), "Metal or OpenGL");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_limit_of_the_address_space_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max address space         716800000            unlimited            bytes\n";
        assert_eq!(address_space(limits), Some(716_800_000));
        assert_eq!(address_space(&limits.replace("716800000", "unlimited")), None);
        assert_eq!(address_space(""), None);
    }
}
