//! Pictures of hosts: the same pixels give the same caption in any form.

use super::*;
use half::f16;
use shadetell::weights::Preset;

#[test]
fn texture_buffer_and_bytes_give_the_same_caption() {
    let host = Host::new(DecoderFamily::SemanticAttention);
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
    let halves = floats(true)
        .chunks_exact(4)
        .flat_map(|v| f16::from_f32(f32::from_ne_bytes([v[0], v[1], v[2], v[3]])).to_ne_bytes())
        .collect();
    assert!(photo.data().chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]), "the photo is grey");
    let grey = photo.data().iter().step_by(3).copied().collect();
    use wgpu::TextureFormat as Format;
    let views = [
        (Format::Rgba8Unorm, pixels.clone(), Colour::ByFormat),
        (Format::Rgba8UnormSrgb, pixels.clone(), Colour::ByFormat),
        (Format::Bgra8UnormSrgb, bgra, Colour::ByFormat),
        (Format::Rgba32Float, floats(true), Colour::ByFormat),
        (Format::Rgba32Float, floats(false), Colour::Encoded),
        (Format::Rgba16Float, halves, Colour::ByFormat),
        (Format::R8Unorm, grey, Colour::ByFormat),
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
fn a_part_of_a_flipped_picture_is_composited_over_a_background() {
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
    // A value halfway between two levels may be rounded up or down.
    assert!((found.log_prob - expected.log_prob).abs() < 0.05, "{} {}", found.log_prob, expected.log_prob);
}

#[test]
fn unusable_inputs_are_reported() {
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
    let on_cpu =
        Captioner::new(model(DecoderFamily::ShowTell), Backend::Cpu, &CaptionOptions::default()).unwrap();
    let said = on_cpu.encode(&mut encoder, Input::Photo(&photo("camera.jpg")), Budget::Whole).unwrap_err();
    assert!(said.to_string().contains("CPU"), "{said}");
}

#[test]
fn every_way_of_resizing_gives_the_same_result_as_on_the_cpu() {
    let gpu = Host::new(DecoderFamily::ShowTell).gpu;
    let whole = photo("astronaut.jpg");
    let buffer = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &rgba(&whole, 255),
        usage: wgpu::BufferUsages::STORAGE,
    });
    for preset in [Preset::Bundled, Preset::SquashLanczos224, Preset::Resize256Crop224] {
        let options = CaptionOptions {
            decoder: Some(DecoderFamily::ShowTell),
            beam: Some(1),
            preprocessing: Some(preset.preprocessing()),
            ..CaptionOptions::default()
        };
        let captioner = Captioner::new(model(DecoderFamily::ShowTell), Backend::Gpu(&gpu), &options).unwrap();
        let host = Host { gpu: gpu.clone(), captioner };
        // Smaller, larger, and nearly as large in one direction alone.
        for [left, top, width, height] in
            [[0, 0, whole.width(), whole.height()], [50, 70, 60, 40], [9, 3, 225, 400]]
        {
            let mut part = Vec::new();
            for y in top..top + height {
                (left..left + width).for_each(|x| part.extend(whole.pixel(x, y).unwrap()));
            }
            let expected = host.captioner.caption(&Rgb8::new(width, height, part).unwrap()).unwrap();
            let input = BufferInput {
                buffer: &buffer,
                width: whole.width(),
                height: whole.height(),
                bytes_per_row: 4 * whole.width(),
                window: Window { part: Some([left, top, width, height]), ..Window::default() },
            };
            same(&host.caption(Input::Buffer(input)), &expected);
        }
    }
}

#[test]
fn a_refused_input_leaves_the_frame_of_the_host_unchanged() {
    let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
    let heard = heard(&gpu.device);
    let host = Host { captioner: captioner(&gpu, DecoderFamily::ShowTell), gpu };
    let device = &host.gpu.device;
    let texture = |format, sample_count, layers| {
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::RENDER_ATTACHMENT;
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 8, height: 8, depth_or_array_layers: layers },
            mip_level_count: 1,
            sample_count,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        });
        texture.create_view(&Default::default())
    };
    use wgpu::TextureFormat as Format;
    let views = [
        texture(Format::Rgba8Unorm, 4, 1),
        texture(Format::Rgba8Unorm, 1, 2),
        texture(Format::Rgba8Uint, 1, 1),
        texture(Format::Depth32Float, 1, 1),
    ];
    let bytes = |usage| {
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: &[7; 1024],
            usage,
        })
    };
    use wgpu::BufferUsages as Usage;
    let (no_storage, tall) = (bytes(Usage::COPY_SRC), bytes(Usage::STORAGE));
    let buffer = |buffer, width, height| BufferInput {
        buffer,
        width,
        height,
        bytes_per_row: 4 * width,
        window: Window::default(),
    };
    let mut inputs: Vec<Input<'_>> =
        views.iter().map(|view| Input::Texture(TextureInput::new(view))).collect();
    inputs.push(Input::Texture(TextureInput { size: Some([5, 5]), ..TextureInput::new(&views[0]) }));
    inputs.push(Input::Buffer(buffer(&no_storage, 4, 4)));
    inputs.push(Input::Buffer(buffer(&tall, 1, 300)));
    for input in inputs {
        // The host records its own work into the same encoder, before and after.
        let [first, second] = [(); 2].map(|()| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 8,
                usage: Usage::MAP_READ | Usage::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let mut encoder = host.encoder();
        encoder.copy_buffer_to_buffer(&no_storage, 0, &first, 0, 8);
        let refused = host.captioner.encode(&mut encoder, input, Budget::Whole);
        assert!(matches!(refused, Err(Error::Gpu(GpuError::InvalidInput(_)))), "{refused:?} for {input:?}");
        encoder.copy_buffer_to_buffer(&no_storage, 0, &second, 0, 8);
        host.submit(encoder);
        for copy in [first, second] {
            copy.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
            device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            assert_eq!(copy.get_mapped_range(..).unwrap()[..], [7; 8]);
        }
    }
    assert_eq!(*heard.lock().unwrap(), [""; 0], "the host's error handler is not called");
    let photo = photo("camera.jpg");
    same(&host.caption(Input::Photo(&photo)), &host.captioner.caption(&photo).unwrap());
}
