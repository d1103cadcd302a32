//! What a device has for all executors on it: each kernel compiled once, each weight uploaded once.

use super::progress::Progress;
use super::weights::DeviceWeights;
use super::{GpuError, scoped, source};
use crate::engine::plan::{Binding, Dispatch, Kernel, Plan};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// A compiled kernel with the layout of its bindings.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// Shaders that are compiled with checks of every index and loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundsChecks {
    /// Only user-supplied shaders; built-in kernels stay within bounds by construction.
    #[default]
    UserShadersOnly,
    /// All.
    All,
}

/// The kernels compiled on one device so far, and the weights that are there.
#[derive(Debug, Default)]
pub(crate) struct DeviceCache {
    compiled: HashMap<Kernel, Pipeline>,
    checks: BoundsChecks,
    /// Where the driver may keep what it compiles.
    pub(super) driver_cache: Option<wgpu::PipelineCache>,
    /// Kernels and weights of the plans that are made ready.
    pub(super) progress: Arc<Progress>,
    /// Of executors that were made with these kernels; those that are gone leave nothing.
    weights: Vec<Weak<DeviceWeights>>,
}

impl DeviceCache {
    /// None compiled yet.
    pub(super) fn new(checks: BoundsChecks) -> DeviceCache {
        DeviceCache { checks, ..DeviceCache::default() }
    }

    /// Compiles the kernels of a plan that are not there yet, on all cores.
    ///
    /// # Errors
    /// The driver refuses a kernel.
    pub(super) fn prepare(&mut self, device: &wgpu::Device, plan: &Plan) -> Result<(), GpuError> {
        let mut missing: Vec<&Dispatch> = Vec::new();
        for step in plan.steps() {
            let kernel = &step.dispatch.kernel;
            if !self.compiled.contains_key(kernel) && missing.iter().all(|d| d.kernel != *kernel) {
                missing.push(&step.dispatch);
            }
        }
        let (checks, cache, progress) = (self.checks, self.driver_cache.as_ref(), &*self.progress);
        progress.add_steps(missing.len());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len().max(1));
        let compiled: Result<Vec<Vec<_>>, GpuError> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    let share: Vec<_> = missing.iter().skip(worker).step_by(threads).copied().collect();
                    scope.spawn(move || {
                        let compiled = |d: &Dispatch| {
                            let pipeline = compile(device, d, checks, cache)?;
                            progress.step();
                            Ok((d.kernel.clone(), pipeline))
                        };
                        share.into_iter().map(compiled).collect()
                    })
                })
                .collect();
            let crashed = |_| Err(GpuError::Internal("the shader compiler crashed".to_owned()));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(crashed)).collect()
        });
        self.compiled.extend(compiled?.into_iter().flatten());
        Ok(())
    }

    /// The weights that executors have on the device.
    pub(super) fn weights(&self) -> Vec<Arc<DeviceWeights>> {
        self.weights.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets later executors use these weights too, as long as they are there.
    pub(super) fn share(&mut self, weights: &Arc<DeviceWeights>) {
        self.weights.retain(|weights| weights.strong_count() > 0);
        self.weights.push(Arc::downgrade(weights));
    }

    pub(super) fn get(&self, kernel: &Kernel) -> Option<&Pipeline> {
        self.compiled.get(kernel)
    }
}

fn compile(
    device: &wgpu::Device,
    dispatch: &Dispatch,
    checks: BoundsChecks,
    cache: Option<&wgpu::PipelineCache>,
) -> Result<Pipeline, GpuError> {
    let kernel = &dispatch.kernel;
    let label = kernel.label();
    let text = source::assemble(kernel.name(), kernel.source(), kernel.defines())
        .map_err(|error| blamed(GpuError::Internal(error), kernel.is_built_in()))?;
    let storage = |binding: &Binding| wgpu::BufferBindingType::Storage {
        read_only: matches!(binding, Binding::Weight(_)),
    };
    let kinds =
        std::iter::once(wgpu::BufferBindingType::Uniform).chain(dispatch.bindings.iter().map(storage));
    let entries: Vec<_> = (0..)
        .zip(kinds)
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
        .collect();
    let constants: Vec<(&str, f64)> =
        kernel.constants().iter().map(|&(name, v)| (name, f64::from(v))).collect();
    scoped(device, || {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name()),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        let runtime_checks = match checks == BoundsChecks::UserShadersOnly && kernel.is_built_in() {
            true => wgpu::ShaderRuntimeChecks::unchecked(),
            false => wgpu::ShaderRuntimeChecks::checked(),
        };
        // SAFETY: only built-in shaders are unchecked, and a kernel of one comes only from an operation's `lower`: `Kernel::new` is
        // private to the crate, and nothing outside can change a `Plan`. Indices stay within bindings, loops end and divisors are
        // not zero for the sizes in `Params`, which `lower` derives from operands that `Graph::add_node` has checked; `plan::check`
        // asserts that the bound ranges are as large as these tensors. Each shader is compared with its reference at the edges of
        // its tensors, with guards behind them (tests/kernels).
        let module = unsafe { device.create_shader_module_trusted(descriptor, runtime_checks) };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // No shader reads workgroup memory that it has not written.
                zero_initialize_workgroup_memory: false,
            },
            cache,
        });
        Pipeline { pipeline, layout }
    })
    .map_err(|error| blamed(error, kernel.is_built_in()))
}

/// A user's shader that does not compile is invalid input.
fn blamed(error: GpuError, is_built_in: bool) -> GpuError {
    if is_built_in { error } else { error.of_input("a shader with the bindings and constants of its kernel") }
}
