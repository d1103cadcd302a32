//! Resizes a picture on the device to the size of a network's input.

use super::input::{BufferInput, Input, TextureInput, Window};
use crate::engine::gpu::{GpuError, filled_buffer, scoped, source};
use crate::engine::plan::{Shader, params};
use crate::error::Error;
use crate::image::fit_windows;
use crate::weights::Preprocessing;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Mutex;

params! {
    left: u32, top: u32, width: u32, height: u32, stride: u32, out_width: u32, out_height: u32, weights: u32,
    flipped: u32, linear: u32, grey: u32, flattened: u32, background_r: f32, background_g: f32, background_b: f32,
}

const SHADER: Shader = Shader {
    name: "resample",
    source: include_str!("resample.wgsl"),
    params: Params::FIELDS,
    variants: &[&["TEXTURE"], &[]],
};

/// The two passes over one kind of source.
#[derive(Debug)]
struct Passes {
    layout: wgpu::BindGroupLayout,
    across: wgpu::ComputePipeline,
    down: wgpu::ComputePipeline,
}

/// Pipelines, and the buffers that are kept from picture to picture.
#[derive(Debug)]
pub(super) struct Resampler {
    device: wgpu::Device,
    preprocessing: Preprocessing,
    texture: Passes,
    buffer: Passes,
    /// The windows of all columns and rows, by width and height of the source.
    windows: Mutex<HashMap<[u32; 2], wgpu::Buffer>>,
    /// The result of the first pass, large enough for the largest source so far.
    narrow: Mutex<Option<wgpu::Buffer>>,
}

/// The number of source sizes whose windows are kept: a host has few cameras.
const KEPT: usize = 16;

/// The source of the pixels.
enum Source<'a> {
    View(&'a wgpu::TextureView),
    Buffer(wgpu::BufferBinding<'a>),
}

impl Resampler {
    pub(super) fn new(
        device: &wgpu::Device,
        preprocessing: Preprocessing,
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<Resampler, GpuError> {
        Ok(Resampler {
            device: device.clone(),
            preprocessing,
            texture: passes(device, true, cache)?,
            buffer: passes(device, false, cache)?,
            windows: Mutex::default(),
            narrow: Mutex::default(),
        })
    }

    /// Records both passes: from the input to bytes at `photo`.
    pub(super) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Input<'_>,
        photo: wgpu::BufferBinding<'_>,
    ) -> Result<(), Error> {
        // Pixels, size, row length of a buffer, whether values are linear, whether they are grey, window.
        let (source, size, stride, kind, window) = match input {
            Input::Texture(texture) => {
                let size = texture.checked_size().map_err(Error::invalid)?;
                let TextureInput { view, colour, window, .. } = texture;
                let format = view.texture().format();
                let kind = [colour.is_linear(format), format.components() == 1];
                (Source::View(view), size, 0, kind, window)
            }
            Input::Buffer(BufferInput { buffer, width, height, bytes_per_row, window }) => {
                let rows = u64::from(height.max(1)) - 1;
                let needed = u64::from(bytes_per_row) * rows + 4 * u64::from(width);
                if bytes_per_row % 4 != 0 || bytes_per_row / 4 < width || buffer.size() < needed {
                    return Err(Error::invalid(format!(
                        "expected a buffer of {height} rows of {width} pixels, found {} bytes, {bytes_per_row} a row",
                        buffer.size()
                    )));
                }
                let binding = wgpu::BufferBinding { buffer, offset: 0, size: NonZeroU64::new(needed) };
                (Source::Buffer(binding), [width, height], bytes_per_row / 4, [false; 2], window)
            }
            Input::Photo(_) | Input::Preprocessed(_) => {
                return Err(Error::invalid("expected a texture or a buffer, found a photo in memory"));
            }
        };
        let part = window.within(size).map_err(Error::invalid)?;
        let most = self.device.limits().max_compute_workgroups_per_dimension.saturating_mul(8);
        if part[3] > most {
            return Err(Error::invalid(format!(
                "expected at most {most} rows, found {}: give a part of them",
                part[3]
            )));
        }
        let words = self.params(part, stride, kind, window).words();
        let windows = self.windows([part[2], part[3]])?;
        let (out_width, out_height) = (self.preprocessing.width, self.preprocessing.height);
        let rows = u64::from(part[3]);
        let words = bytemuck::cast_slice(&words);
        let params = filled_buffer(&self.device, "resample", words, wgpu::BufferUsages::UNIFORM)?;
        let narrow = self.narrow(4 * rows * u64::from(out_width))?;
        let (passes, source) = match source {
            Source::View(view) => (&self.texture, wgpu::BindingResource::TextureView(view)),
            Source::Buffer(binding) => (&self.buffer, wgpu::BindingResource::Buffer(binding)),
        };
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        // The host's encoder is used only when nothing can fail any more: an error in it would invalidate the host's whole frame.
        let group = scoped(&self.device, || {
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("resample"),
                layout: &passes.layout,
                entries: &[
                    entry(0, params.as_entire_binding()),
                    entry(1, windows.as_entire_binding()),
                    entry(2, narrow.as_entire_binding()),
                    entry(3, wgpu::BindingResource::Buffer(photo)),
                    entry(4, source),
                ],
            })
        })
        .map_err(|error| error.of_input("a picture on the captioner's device that shaders can read"))?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("resample"),
            timestamp_writes: None,
        });
        pass.set_bind_group(0, &group, &[]);
        pass.set_pipeline(&passes.across);
        pass.dispatch_workgroups(out_width.div_ceil(8), part[3].div_ceil(8), 1);
        pass.set_pipeline(&passes.down);
        pass.dispatch_workgroups((3 * out_width * out_height).div_ceil(4).div_ceil(64), 1, 1);
        Ok(())
    }

    fn params(
        &self,
        [left, top, width, height]: [u32; 4],
        stride: u32,
        [linear, grey]: [bool; 2],
        window: Window,
    ) -> Params {
        let Preprocessing { width: out_width, height: out_height, .. } = self.preprocessing;
        let [background_r, background_g, background_b] = window.background.unwrap_or_default();
        Params {
            left,
            top,
            width,
            height,
            stride,
            out_width,
            out_height,
            weights: 3 * (out_width + out_height),
            flipped: u32::from(window.flipped),
            linear: u32::from(linear),
            grey: u32::from(grey),
            flattened: u32::from(window.background.is_some()),
            background_r,
            background_g,
            background_b,
        }
    }

    fn windows(&self, size: [u32; 2]) -> Result<wgpu::Buffer, Error> {
        let mut kept = self.windows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(windows) = kept.get(&size) {
            return Ok(windows.clone());
        }
        let Preprocessing { width, height, resize, filter, .. } = self.preprocessing;
        let words = fit_windows(size, [width, height], resize, filter)?;
        let words = bytemuck::cast_slice(&words);
        let buffer = filled_buffer(&self.device, "windows", words, wgpu::BufferUsages::STORAGE)?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(size, buffer.clone());
        Ok(buffer)
    }

    /// A buffer of at least `bytes` bytes. If the current one is too small, a larger one replaces it; the device keeps the old
    /// one for as long as it needs it.
    fn narrow(&self, bytes: u64) -> Result<wgpu::Buffer, GpuError> {
        let mut narrow = self.narrow.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(buffer) = narrow.as_ref().filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer.clone());
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("narrow"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        let buffer = scoped(&self.device, || self.device.create_buffer(&descriptor))?;
        Ok(narrow.insert(buffer).clone())
    }
}

fn passes(
    device: &wgpu::Device,
    texture: bool,
    cache: Option<&wgpu::PipelineCache>,
) -> Result<Passes, GpuError> {
    let defines = SHADER.variants[usize::from(!texture)];
    let text = source::assemble(SHADER.name, SHADER.source, defines).map_err(GpuError::Internal)?;
    let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    let storage = |read_only| buffer(wgpu::BufferBindingType::Storage { read_only });
    let source = match texture {
        true => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: false },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        },
        false => storage(true),
    };
    let kinds =
        [buffer(wgpu::BufferBindingType::Uniform), storage(true), storage(false), storage(false), source];
    let entries: Vec<_> = (0..)
        .zip(kinds)
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        })
        .collect();
    scoped(device, || {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(SHADER.name),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(SHADER.name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(SHADER.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = |entry| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache,
            })
        };
        let (across, down) = (pipeline("across"), pipeline("down"));
        Passes { layout, across, down }
    })
}
