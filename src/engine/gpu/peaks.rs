//! What an adapter can do at best: multiply-adds, memory, latency.

use super::{GpuError, poll, scoped};
use std::time::{Duration, Instant};

/// Measured limits of an adapter.
#[derive(Clone, Debug)]
pub struct Peaks {
    /// Floating-point operations a second, of multiply-adds in registers; each counts as two.
    pub flops_per_second: f64,
    /// The same of 16-bit floats; `None` where shaders have none.
    pub half_flops_per_second: Option<f64>,
    /// Bytes that a copy in memory reads and writes a second: the driver's own, or a shader's if that is faster.
    pub bytes_per_second: f64,
    /// Times of an empty dispatch that is submitted and waited for.
    pub dispatch: Vec<Duration>,
    /// A dispatch among many of one submission.
    pub dispatch_in_pass: Duration,
    /// Times of such a dispatch whose result of four bytes is read back.
    pub readback: Vec<Duration>,
}

/// Workgroups of the measurement of arithmetic, and multiply-adds of each of their 64 invocations: 128 rounds of three
/// times eight `vec4`s.
const GROUPS: u32 = 1024;
const FMAS: u32 = 128 * 3 * 8 * 4;
/// Bytes that are copied.
const COPY: u64 = 32 << 20;
const LATENCIES: usize = 50;
const DISPATCHES: u32 = 1000;
/// Runs of which the best counts.
const RUNS: usize = 7;

const SHADER: &str = include_str!("peaks.wgsl");

impl Peaks {
    /// Measures a device, which should have nothing else to do. Takes about a second.
    ///
    /// # Errors
    /// The device is out of memory or lost.
    pub fn measure(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Peaks, GpuError> {
        let bench = Bench::new(device, queue)?;
        let best_of = |source: &str, entry: &str, groups: u32, times: u32| -> Result<Duration, GpuError> {
            let pipeline = bench.pipeline(source, entry)?;
            let mut best = Duration::MAX;
            for _ in 0..=RUNS {
                best = best.min(bench.run(&pipeline, groups, times, false)?);
            }
            Ok(best)
        };
        let best = |entry: &str, groups: u32, times: u32| best_of(SHADER, entry, groups, times);
        let idle = best("nothing", 1, 1)?;
        let arithmetic = best("multiply_add", GROUPS, 1)?;
        let half_arithmetic = match device.features().contains(wgpu::Features::SHADER_F16) {
            true => {
                let shader = SHADER.replace("alias Number = f32;", "alias Number = f16;");
                Some(best_of(&format!("enable f16;\n{shader}"), "multiply_add", GROUPS, 1)?)
            }
            false => None,
        };
        let mut copy = best("copy", (COPY / 16 / 64) as u32, 1)?;
        for _ in 0..RUNS {
            copy = copy.min(bench.copy()?);
        }
        let many = best("nothing", 1, DISPATCHES)?;
        let nothing = bench.pipeline(SHADER, "nothing")?;
        let latencies = |read: bool| -> Result<Vec<Duration>, GpuError> {
            (0..LATENCIES).map(|_| bench.run(&nothing, 1, 1, read)).collect()
        };
        let rate = |work: f64, time: Duration| work / time.saturating_sub(idle).as_secs_f64().max(1e-9);
        let flops = 2.0 * 64.0 * f64::from(GROUPS) * f64::from(FMAS);
        Ok(Peaks {
            flops_per_second: rate(flops, arithmetic),
            half_flops_per_second: half_arithmetic.map(|time| rate(flops, time)),
            bytes_per_second: rate(2.0 * COPY as f64, copy),
            dispatch: latencies(false)?,
            dispatch_in_pass: many.saturating_sub(idle) / DISPATCHES,
            readback: latencies(true)?,
        })
    }
}

/// A device with what the measurements share.
struct Bench<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    layout: wgpu::PipelineLayout,
    group: wgpu::BindGroup,
    source: wgpu::Buffer,
    target: wgpu::Buffer,
    readback: wgpu::Buffer,
}

impl<'a> Bench<'a> {
    fn new(device: &'a wgpu::Device, queue: &'a wgpu::Queue) -> Result<Bench<'a>, GpuError> {
        scoped(device, || {
            let buffer = |size, usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("peaks"),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            use wgpu::BufferUsages as Usage;
            let source = buffer(COPY, Usage::STORAGE | Usage::COPY_SRC);
            let target = buffer(COPY, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST);
            let readback = buffer(4, Usage::COPY_DST | Usage::MAP_READ);
            let entry = |binding, read_only| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            };
            let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("peaks"),
                entries: &[entry(0, true), entry(1, false)],
            });
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("peaks"),
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: 0,
            });
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("peaks"),
                layout: &bindings,
                entries: &[
                    wgpu::BindGroupEntry { binding: 0, resource: source.as_entire_binding() },
                    wgpu::BindGroupEntry { binding: 1, resource: target.as_entire_binding() },
                ],
            });
            Bench { device, queue, layout, group, source, target, readback }
        })
    }

    fn pipeline(&self, source: &str, entry: &str) -> Result<wgpu::ComputePipeline, GpuError> {
        scoped(self.device, || {
            let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("peaks"),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: Some(&self.layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            })
        })
    }

    /// Wall-clock time of the driver's own copy.
    fn copy(&self) -> Result<Duration, GpuError> {
        let clock = Instant::now();
        let index = scoped(self.device, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&self.source, 0, &self.target, 0, COPY);
            self.queue.submit([encoder.finish()])
        })?;
        self.wait(index)?;
        Ok(clock.elapsed())
    }

    fn wait(&self, index: wgpu::SubmissionIndex) -> Result<(), GpuError> {
        poll(self.device, wgpu::PollType::Wait { submission_index: Some(index), timeout: None })
    }

    /// Wall-clock time of `count` dispatches in one submission, from the submission to its end, with a readback if asked for.
    fn run(
        &self,
        pipeline: &wgpu::ComputePipeline,
        groups: u32,
        times: u32,
        read: bool,
    ) -> Result<Duration, GpuError> {
        let clock = Instant::now();
        let index = scoped(self.device, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &self.group, &[]);
                for _ in 0..times {
                    pass.dispatch_workgroups(groups.min(32_768), groups.div_ceil(32_768), 1);
                }
            }
            if read {
                encoder.copy_buffer_to_buffer(&self.target, 0, &self.readback, 0, 4);
            }
            let index = self.queue.submit([encoder.finish()]);
            if read {
                // The wait below tells whether it worked.
                self.readback.map_async(wgpu::MapMode::Read, .., |_| {});
            }
            index
        })?;
        self.wait(index)?;
        let time = clock.elapsed();
        if read {
            self.readback.unmap();
        }
        Ok(time)
    }
}
