//! Captions on a device that belongs to somebody else.
#![cfg(all(feature = "bundled-model", feature = "image"))]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::shared;
use shadetell::embed::{Budget, BufferInput, Colour, Input, TextureInput, Ticket, Window};
use shadetell::gpu::{AdapterChoice, Gpu, GpuError};
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{Backend, Caption, CaptionOptions, Captioner, Error, required_limits, wgpu};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use wgpu::util::DeviceExt;

/// A host with a device of its own and a captioner on it.
struct Host {
    gpu: Gpu,
    captioner: Captioner,
}

impl Host {
    fn new(decoder: DecoderFamily) -> Host {
        let gpu = {
            let shared = shared();
            Gpu::from_host(&shared.gpu.device, &shared.gpu.queue)
        };
        Host { captioner: captioner(&gpu, decoder), gpu }
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.gpu.queue.submit([encoder.finish()]);
    }

    fn ticket(&self, input: Input<'_>, budget: Budget) -> Ticket {
        let mut encoder = self.encoder();
        let ticket = self.captioner.encode(&mut encoder, input, budget).unwrap();
        self.submit(encoder);
        ticket
    }

    fn caption(&self, input: Input<'_>) -> Caption {
        self.ticket(input, Budget::Whole).wait().unwrap()
    }

    /// A texture of this format with bytes as they lie in memory.
    fn texture(
        &self,
        format: wgpu::TextureFormat,
        [width, height]: [u32; 2],
        bytes: &[u8],
    ) -> wgpu::TextureView {
        let descriptor = wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        };
        let order = wgpu::util::TextureDataOrder::LayerMajor;
        let texture = self.gpu.device.create_texture_with_data(&self.gpu.queue, &descriptor, order, bytes);
        texture.create_view(&Default::default())
    }
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::bundled().unwrap())
}

fn captioner(gpu: &Gpu, decoder: DecoderFamily) -> Captioner {
    let options = CaptionOptions { decoder: Some(decoder), beam: Some(1), ..CaptionOptions::default() };
    Captioner::new(model(), Backend::Gpu(gpu), &options).unwrap()
}

fn photo(name: &str) -> Rgb8 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("photos").join(name);
    read(&path, &DecodeOptions::default()).unwrap()
}

/// The pixels of a part, with alpha.
fn rgba(photo: &Rgb8, alpha: u8) -> Vec<u8> {
    photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], alpha]).collect()
}

/// Equal to the last bit: what came in was.
#[track_caller]
fn same(found: &Caption, expected: &Caption) {
    assert_eq!(found.text, expected.text);
    assert_eq!(found.log_prob, expected.log_prob, "{}", found.text);
    assert_eq!(found.tokens.len(), expected.tokens.len());
}

#[test]
fn a_photo_is_the_same_through_texture_buffer_and_bytes() {
    let host = Host::new(DecoderFamily::ShowAttendTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let size = [photo.width(), photo.height()];
    same(&host.caption(Input::Photo(&photo)), &expected);

    let pixels = rgba(&photo, 0);
    let bgra: Vec<u8> = pixels.chunks_exact(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect();
    let floats = |linear: bool| -> Vec<u8> {
        let value = |(i, &byte): (usize, &u8)| {
            let encoded = f32::from(byte) / 255.0;
            let is_colour = linear && i % 4 != 3;
            if !is_colour || encoded <= 0.04045 {
                encoded / if is_colour { 12.92 } else { 1.0 }
            } else {
                ((encoded + 0.055) / 1.055).powf(2.4)
            }
        };
        pixels.iter().enumerate().flat_map(|pair| value(pair).to_ne_bytes()).collect()
    };
    use wgpu::TextureFormat as Format;
    let views = [
        (Format::Rgba8Unorm, pixels.clone(), Colour::ByFormat),
        (Format::Rgba8UnormSrgb, pixels.clone(), Colour::ByFormat),
        (Format::Bgra8UnormSrgb, bgra, Colour::ByFormat),
        (Format::Rgba32Float, floats(true), Colour::ByFormat),
        (Format::Rgba32Float, floats(false), Colour::Encoded),
    ];
    for (format, bytes, colour) in views {
        let view = host.texture(format, size, &bytes);
        let input = TextureInput { colour, ..TextureInput::new(&view) };
        let found = host.caption(Input::Texture(input));
        assert_eq!(found.text, expected.text, "{format:?} {colour:?}");
        assert_eq!(found.log_prob, expected.log_prob, "{format:?} {colour:?}");
    }

    // Rows with a gap between them.
    let stride = 4 * size[0] + 64;
    let mut rows = Vec::new();
    for row in pixels.chunks_exact(4 * size[0] as usize) {
        rows.extend_from_slice(row);
        rows.extend_from_slice(&[99; 64]);
    }
    let buffer = host.gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &rows,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let input = BufferInput {
        buffer: &buffer,
        width: size[0],
        height: size[1],
        bytes_per_row: stride,
        window: Window::default(),
    };
    same(&host.caption(Input::Buffer(input)), &expected);
}

#[test]
fn a_part_of_a_flipped_picture_with_a_background() {
    let host = Host::new(DecoderFamily::ShowTell);
    let whole = photo("camera.jpg");
    // A part of 200x150 at (30, 20), half transparent over red.
    let [left, top, width, height] = [30u32, 20, 200, 150];
    let mut part = Vec::new();
    for y in top..top + height {
        for x in left..left + width {
            let [r, g, b] = whole.pixel(x, y).unwrap();
            // As the shader mixes: 0.2 of the picture, 0.8 of red.
            let mix = |value: u8, background: f32| {
                (background * 255.0 + (f32::from(value) - background * 255.0) * 0.2).round() as u8
            };
            part.extend([mix(r, 1.0), mix(g, 0.0), mix(b, 0.0)]);
        }
    }
    let expected = host.captioner.caption(&Rgb8::new(width, height, part).unwrap()).unwrap();
    let pixels = rgba(&whole, 51);
    let flipped: Vec<u8> = pixels.chunks_exact(4 * whole.width() as usize).rev().flatten().copied().collect();
    let view = host.texture(wgpu::TextureFormat::Rgba8Unorm, [whole.width(), whole.height()], &flipped);
    let window = Window {
        // Counted from the first row in memory, which is the lowest.
        part: Some([left, whole.height() - top - height, width, height]),
        flipped: true,
        background: Some([1.0, 0.0, 0.0]),
    };
    let found = host.caption(Input::Texture(TextureInput { window, ..TextureInput::new(&view) }));
    assert_eq!(found.text, expected.text);
    // A value that lies between two levels may be rounded either way.
    assert!((found.log_prob - expected.log_prob).abs() < 0.05, "{} {}", found.log_prob, expected.log_prob);
}

#[test]
fn slices_over_frames_change_nothing_and_two_captioners_do_not_meet() {
    let hosts = [DecoderFamily::ShowAttendTell, DecoderFamily::ShowTell].map(Host::new);
    let photo = photo("astronaut.jpg");
    let expected = [0, 1].map(|i| hosts[i].captioner.caption(&photo).unwrap());
    for budget in [Budget::dispatches(7), Budget::micros(20_000)] {
        let mut tickets = [0, 1].map(|i| hosts[i].ticket(Input::Photo(&photo), budget));
        let mut captions = [None, None];
        let mut frames = 0;
        while captions.iter().any(Option::is_none) {
            for ((host, ticket), caption) in hosts.iter().zip(&mut tickets).zip(&mut captions) {
                let mut encoder = host.encoder();
                ticket.record(&mut encoder).unwrap();
                host.submit(encoder);
                if let Some(found) = ticket.poll() {
                    *caption = Some(found.unwrap());
                }
            }
            frames += 1;
            assert!(frames < 100_000, "{budget:?} never ends");
        }
        assert!(frames > 3, "{budget:?} was cut into slices: {frames} frames");
        for (found, expected) in captions.iter().zip(&expected) {
            same(found.as_ref().unwrap(), expected);
        }
        assert!(tickets.iter_mut().all(|ticket| ticket.poll().is_none()), "a caption is given once");
    }
}

#[test]
fn one_caption_is_recorded_at_a_time_and_dropping_it_makes_room() {
    let host = Host::new(DecoderFamily::ShowTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let ticket = host.ticket(Input::Photo(&photo), Budget::dispatches(3));
    assert!(!ticket.is_recorded());
    let mut encoder = host.encoder();
    let busy = host.captioner.encode(&mut encoder, Input::Photo(&photo), Budget::Whole).unwrap_err();
    assert!(busy.to_string().contains("recorded to its end"), "{busy}");
    assert!(host.captioner.caption(&photo).is_err());
    assert!(ticket.wait().unwrap_err().to_string().contains("is_recorded"));
    // The ticket is gone: there is room again. Several that are recorded whole follow each other.
    let tickets = [(); 3].map(|()| host.ticket(Input::Photo(&photo), Budget::Whole));
    for ticket in tickets {
        same(&ticket.wait().unwrap(), &expected);
    }
}

#[test]
fn inputs_that_cannot_be_used_are_told() {
    let host = Host::new(DecoderFamily::ShowTell);
    let view = host.texture(wgpu::TextureFormat::Rgba8Unorm, [4, 4], &[0; 64]);
    let window = Window { part: Some([2, 2, 3, 1]), ..Window::default() };
    let mut encoder = host.encoder();
    let mut error =
        |input| host.captioner.encode(&mut encoder, input, Budget::Whole).unwrap_err().to_string();
    let said = error(Input::Texture(TextureInput { window, ..TextureInput::new(&view) }));
    assert!(said.contains("3x1 at (2, 2)") && said.contains("4x4"), "{said}");
    let buffer = host.gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &[0; 60],
        usage: wgpu::BufferUsages::STORAGE,
    });
    let window = Window::default();
    let input = BufferInput { buffer: &buffer, width: 4, height: 4, bytes_per_row: 16, window };
    let said = error(Input::Buffer(input));
    assert!(said.contains("4 rows of 4 pixels") && said.contains("60 bytes"), "{said}");
    let on_cpu = Captioner::new(model(), Backend::Cpu, &CaptionOptions::default()).unwrap();
    let said = on_cpu.encode(&mut encoder, Input::Photo(&photo("camera.jpg")), Budget::Whole).unwrap_err();
    assert!(said.to_string().contains("CPU"), "{said}");
}

#[test]
fn words_can_be_followed_as_they_are_found() {
    let host = Host::new(DecoderFamily::ShowAttendTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let mut ticket = host.ticket(Input::Photo(&photo), Budget::dispatches(1));
    ticket.follow();
    let mut seen: Vec<String> = Vec::new();
    let caption = loop {
        let mut encoder = host.encoder();
        ticket.record(&mut encoder).unwrap();
        host.submit(encoder);
        let caption = ticket.poll();
        if let Some(words) = ticket.so_far() {
            assert!(expected.text.starts_with(&words.text), "{:?} of {:?}", words.text, expected.text);
            let same_words = words.tokens.iter().zip(&expected.tokens);
            assert!(same_words.clone().all(|(a, b)| (a.id, a.log_prob) == (b.id, b.log_prob)));
            assert!(same_words.clone().all(|(a, b)| a.attention == b.attention));
            if seen.last() != Some(&words.text) {
                seen.push(words.text.clone());
            }
        }
        if let Some(caption) = caption {
            break caption.unwrap();
        }
    };
    same(&caption, &expected);
    assert!(seen.len() >= expected.tokens.len() / 2, "{seen:?}");
    let mut alone = host.ticket(Input::Photo(&photo), Budget::Whole);
    while alone.poll().is_none() {}
    assert!(alone.so_far().is_none(), "nobody follows it");
}

#[test]
fn a_ticket_can_be_awaited() {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let host = Host::new(DecoderFamily::ShowTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let mut ticket = std::pin::pin!(host.ticket(Input::Photo(&photo), Budget::Whole));
    let waker = Waker::from(Arc::new(Nobody));
    let caption = loop {
        match ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(caption) => break caption.unwrap(),
            // What a host's frame does.
            Poll::Pending => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    same(&caption, &expected);
}

#[test]
fn a_device_that_goes_away_is_an_error_of_the_ticket() {
    let own = Gpu::open(&AdapterChoice::default()).unwrap();
    let host = Host { captioner: captioner(&own, DecoderFamily::ShowTell), gpu: own };
    let photo = photo("camera.jpg");
    let mut ticket = host.ticket(Input::Photo(&photo), Budget::Whole);
    host.gpu.device.destroy();
    let found = ticket.poll().expect("it is told at once");
    match found {
        // It was done before the device went.
        Ok(caption) => assert!(!caption.text.is_empty()),
        Err(error) => assert!(matches!(error, Error::Gpu(GpuError::DeviceLost(_))), "{error}"),
    }
    // What is asked of it now is an error too.
    let mut encoder = host.encoder();
    let later = host.captioner.encode(&mut encoder, Input::Photo(&photo), Budget::Whole);
    assert!(later.is_err() || later.is_ok_and(|mut ticket| !matches!(ticket.poll(), Some(Ok(_)))));
    // The model is as it was: on another device it speaks again.
    let again = Host::new(DecoderFamily::ShowTell);
    assert!(!again.captioner.caption(&photo).unwrap().text.is_empty());
}

#[test]
fn a_captioner_is_made_ready_meanwhile() {
    let gpu = shared().gpu.clone();
    let mut prewarm =
        Captioner::prewarm(Arc::new(Model::bundled().unwrap()), gpu, CaptionOptions::default()).unwrap();
    let mut least = 0.0;
    let captioner = loop {
        let now = prewarm.progress();
        assert!((0.0..=1.0).contains(&now), "{now}");
        least = f32::min(least, now);
        match prewarm.poll() {
            Some(captioner) => break captioner.unwrap(),
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    assert_eq!((least, prewarm.progress()), (0.0, 1.0));
    assert!(prewarm.poll().is_none() && prewarm.wait().is_err(), "it is given once");
    assert!(!captioner.caption(&photo("camera.jpg")).unwrap().text.is_empty());
}

#[test]
fn captioners_on_one_device_share_the_weights_of_a_model() {
    let gpu = Host::new(DecoderFamily::ShowTell).gpu;
    let first = captioner(&gpu, DecoderFamily::ShowTell);
    let memory = first.memory().unwrap();
    assert_eq!(memory.shared_weights, 0, "{memory:?}");
    let (same_kind, other_kind) =
        (captioner(&gpu.clone(), DecoderFamily::ShowTell), captioner(&gpu, DecoderFamily::ShowAttendTell));
    let photo = photo("camera.jpg");
    let expected = first.caption(&photo).unwrap();
    // What is shared stays when the one that brought it goes.
    drop(first);
    let again = same_kind.memory().unwrap();
    assert_eq!((again.weights, again.activations), (memory.weights, memory.activations));
    assert!(again.shared_weights as f64 > 0.95 * memory.weights as f64, "{again:?}");
    same(&same_kind.caption(&photo).unwrap(), &expected);
    let other = other_kind.memory().unwrap();
    assert!(other.shared_weights > 2_000_000 && other.shared_weights < other.weights, "{other:?}");
    assert!(!other_kind.caption(&photo).unwrap().text.is_empty());
    // Through one that shared it itself.
    let third = captioner(&gpu, DecoderFamily::ShowTell);
    assert!(third.memory().unwrap().shared_weights >= again.shared_weights);
    same(&third.caption(&photo).unwrap(), &expected);
    // When nobody needs it, it is gone.
    drop((same_kind, other_kind, third));
    assert_eq!(captioner(&gpu, DecoderFamily::ShowTell).memory(), Some(memory));
}

#[test]
fn a_pipeline_cache_changes_no_caption() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let cached = adapter.features() & wgpu::Features::PIPELINE_CACHE;
    if cached.is_empty() {
        // Nothing but Vulkan has such caches; its drivers all do.
        assert_ne!(adapter.get_info().backend, wgpu::Backend::Vulkan);
        return;
    }
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: cached | Gpu::helpful_features(&adapter),
        ..Default::default()
    }))
    .unwrap();
    let gpu = Gpu::from_host(&device, &queue);
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
    // SAFETY: there is no data that could be wrong.
    let cache = unsafe { gpu.device.create_pipeline_cache(&descriptor) };
    let photo = photo("camera.jpg");
    let expected = captioner(&gpu, DecoderFamily::ShowTell).caption(&photo).unwrap();
    let before = cache.get_data().map_or(0, |data| data.len());
    // Another handle, so that kernels are compiled anew.
    let mut gpu = Gpu::from_host(&device, &queue);
    gpu.pipeline_cache = Some(cache.clone());
    same(&captioner(&gpu, DecoderFamily::ShowTell).caption(&photo).unwrap(), &expected);
    // Drivers on the CPU may keep theirs elsewhere.
    let after = cache.get_data().map_or(0, |data| data.len());
    assert!(before > 0 && after >= before, "{before} bytes before, {after} after");
    assert!(after > before || gpu.info.device_type == wgpu::DeviceType::Cpu, "{after} bytes");
}

#[test]
fn the_limits_that_a_model_needs_are_those_of_webgpu() {
    let limits = required_limits(model(), &CaptionOptions::default()).unwrap();
    assert_eq!(limits, wgpu::Limits::default());
    let large = CaptionOptions { batch: Some(64), ..CaptionOptions::default() };
    let limits = required_limits(model(), &large).unwrap();
    assert!(
        limits.max_storage_buffer_binding_size >= wgpu::Limits::default().max_storage_buffer_binding_size
    );
    assert!(limits.max_buffer_size > wgpu::Limits::default().max_buffer_size, "{limits:?}");
}
