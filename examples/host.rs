//! A program that draws with wgpu captions the picture of its camera, on the same device, within its frames.
//!
//! It renders a moving scene off screen: a photo that drifts past the camera. At a fixed interval the camera's texture goes to a
//! captioner, which uses at most a budget of each frame. The program prints captions as they are ready, and frame times without
//! and with captioning.
//!
//! ```sh
//! cargo run --release --example host -- [FRAMES] [BUDGET IN MICROSECONDS] [FRAMES BETWEEN TWO LOOKS]
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use shadetell::engine::gpu::Gpu;
use shadetell::host::{Budget, Input, TextureInput};
use shadetell::image::{DecodeOptions, read};
use shadetell::weights::Model;
use shadetell::{Backend, CaptionOptions, Captioner, Ticket, required_limits, wgpu};
use std::error::Error;
use std::time::{Duration, Instant};
use wgpu::util::DeviceExt;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;

const SCENE: &str = "
struct Scene { drift: vec2<f32> }
@group(0) @binding(0) var<uniform> scene: Scene;
@group(0) @binding(1) var photo: texture_2d<f32>;
@group(0) @binding(2) var smooth_: sampler;

struct Vertex { @builtin(position) position: vec4<f32>, @location(0) at: vec2<f32> }

@vertex fn vertex(@builtin(vertex_index) index: u32) -> Vertex {
    let corner = vec2(f32((index << 1u) & 2u), f32(index & 2u));
    return Vertex(vec4(2.0 * corner - 1.0, 0.0, 1.0), vec2(corner.x, 1.0 - corner.y));
}

@fragment fn fragment(v: Vertex) -> @location(0) vec4<f32> {
    return textureSample(photo, smooth_, v.at + scene.drift);
}
";

/// The host: a device, and a scene to draw.
struct Host {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::RenderPipeline,
    group: wgpu::BindGroup,
    scene: wgpu::Buffer,
    camera: wgpu::TextureView,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let frames: usize = arguments.next().map_or(Ok(240), |text| text.parse())?;
    let micros: u64 = arguments.next().map_or(Ok(8000), |text| text.parse())?;
    let every = arguments.next().map_or(Ok(30), |text| text.parse::<usize>())?.max(1);

    let model = Model::from_static("bundled model", shadetell_everyday::MODEL)?;
    let options = CaptionOptions { beam: Some(1), ..CaptionOptions::default() };
    let host = Host::new(&model, &options)?;
    let gpu = Gpu::from_host(&host.device, &host.queue);
    let captioner = Captioner::new(&model, Backend::Gpu(&gpu), &options)?;
    println!("{}, {WIDTH}x{HEIGHT}, budget {micros} us a frame", gpu.info.name);

    let alone = (0..frames).map(|frame| host.frame(frame, |_| Ok(()))).collect::<Result<Vec<_>, _>>()?;
    report("frames without captioning", &alone);

    let budget = Budget::micros(micros);
    let mut ticket: Option<Ticket> = None;
    let (mut carrying, mut others) = (Vec::new(), Vec::new());
    let mut captions = 0;
    for frame in 0..frames {
        let mut carries = false;
        let time = host.frame(frame, |encoder| {
            match &mut ticket {
                Some(ticket) if !ticket.is_recorded() => {
                    carries = true;
                    ticket.record(encoder)?;
                }
                Some(_) => {}
                None if frame % every == 0 => {
                    carries = true;
                    let input = Input::Texture(TextureInput::new(&host.camera));
                    ticket = Some(captioner.encode(encoder, input, budget)?);
                }
                None => {}
            }
            Ok(())
        })?;
        // During the first caption, the captioner measures the times of its steps.
        match carries {
            true if captions > 0 => carrying.push(time),
            true => {}
            false => others.push(time),
        }
        if let Some(caption) = ticket.as_mut().and_then(Ticket::poll) {
            println!("frame {frame}: {}", caption?.text);
            captions += 1;
            ticket = None;
        }
    }
    report("frames with a slice of a caption", &carrying);
    report("the others meanwhile", &others);
    let extra = percentile(&carrying, 0.95).saturating_sub(percentile(&alone, 0.5));
    println!("slices, 95th percentile: {:.2} ms over a frame without", extra.as_secs_f64() * 1e3);
    Ok(())
}

impl Host {
    fn new(model: &Model, options: &CaptionOptions) -> Result<Host, Box<dyn Error>> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        // A host would merge its own limits here.
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("host"),
            required_features: Gpu::helpful_features(&adapter),
            required_limits: required_limits(model, options, &Default::default())?,
            ..Default::default()
        }))?;
        let photo = read("photos/camera.jpg".as_ref(), &DecodeOptions::default())?;
        let pixels: Vec<u8> = photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let texture = |width, height, usage| wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8UnormSrgb,
            usage: usage | wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        };
        let descriptor = texture(photo.width(), photo.height(), wgpu::TextureUsages::COPY_DST);
        let order = wgpu::util::TextureDataOrder::LayerMajor;
        let picture = device.create_texture_with_data(&queue, &descriptor, order, &pixels);
        let camera = device.create_texture(&texture(WIDTH, HEIGHT, wgpu::TextureUsages::RENDER_ATTACHMENT));
        let scene = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 8,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(SCENE.into()),
        });
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: None,
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                buffers: &[],
            },
            primitive: Default::default(),
            depth_stencil: None,
            multisample: Default::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                targets: &[Some(wgpu::TextureFormat::Rgba8UnormSrgb.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
            address_mode_u: wgpu::AddressMode::MirrorRepeat,
            address_mode_v: wgpu::AddressMode::MirrorRepeat,
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                entry(0, scene.as_entire_binding()),
                entry(1, wgpu::BindingResource::TextureView(&picture.create_view(&Default::default()))),
                entry(2, wgpu::BindingResource::Sampler(&sampler)),
            ],
        });
        let camera = camera.create_view(&Default::default());
        Ok(Host { device, queue, pipeline, group, scene, camera })
    }

    /// Draws a frame, lets `more` record into its encoder, and waits for the frame, as a display would. Returns the time.
    fn frame(
        &self,
        number: usize,
        more: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<(), shadetell::Error>,
    ) -> Result<Duration, Box<dyn Error>> {
        let clock = Instant::now();
        let angle = number as f32 * 0.02;
        let drift = [0.1 * angle.sin(), 0.05 * angle.cos()];
        let bytes: Vec<u8> = drift.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.queue.write_buffer(&self.scene, 0, &bytes);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: None,
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &self.camera,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..Default::default()
            });
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.draw(0..3, 0..1);
        }
        more(&mut encoder)?;
        let index = self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None })?;
        Ok(clock.elapsed())
    }
}

fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let at = (share * times.len().saturating_sub(1) as f64).round() as usize;
    times.get(at).copied().unwrap_or_default()
}

fn report(name: &str, times: &[Duration]) {
    let ms = |share| percentile(times, share).as_secs_f64() * 1e3;
    println!("{:>5} {name}: median {:.2} ms, 95th percentile {:.2} ms", times.len(), ms(0.5), ms(0.95));
}
