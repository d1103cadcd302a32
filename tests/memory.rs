//! Many captions in a row do not increase memory. This test has a process of its own, because it measures resident memory.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::host::{Budget, BufferInput, Input, TextureInput, Window};
use shadetell::image::{DecodeOptions, read};
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{Backend, CaptionOptions, Captioner, wgpu};
use std::path::Path;
use wgpu::util::DeviceExt;

/// Number of captions of the quick test; `cargo test --test memory -- --ignored` makes 10,000.
const FEW: usize = 250;
const MANY: usize = 10_000;
/// Number of captions after which memory has to be stable.
const SETTLED: usize = 100;
/// Allowed variation due to allocators, in KiB.
const SLACK: usize = 4096;

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Captions a photo repeatedly: at once and in all kinds of slices; from bytes, from a texture and from a buffer; recorded to the
/// end or cancelled.
fn caption_many(count: usize) {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter, such as `cargo xtask test` brings");
    let options =
        CaptionOptions { decoder: Some(DecoderFamily::ShowTell), beam: Some(1), ..CaptionOptions::default() };
    let captioner = Captioner::new(
        &Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap(),
        Backend::Gpu(&gpu),
        &options,
    )
    .unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("photos/camera.jpg");
    let photo = read(&path, &DecodeOptions::default()).unwrap();
    let pixels: Vec<u8> = photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    let buffer = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &pixels,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let descriptor = wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: photo.width(), height: photo.height(), depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    };
    let order = wgpu::util::TextureDataOrder::LayerMajor;
    let view = gpu.device.create_texture_with_data(&gpu.queue, &descriptor, order, &pixels);
    let view = view.create_view(&Default::default());
    let expected = captioner.caption(&photo).unwrap().text;

    let budgets = [Budget::Whole, Budget::dispatches(30), Budget::micros(20_000), Budget::Word];
    let mut settled = 0;
    let mut most = 0;
    for index in 0..count {
        let input = match index % 3 {
            0 => Input::Photo(&photo),
            1 => Input::Texture(TextureInput::new(&view)),
            _ => Input::Buffer(BufferInput {
                buffer: &buffer,
                width: photo.width(),
                height: photo.height(),
                bytes_per_row: 4 * photo.width(),
                window: Window::default(),
            }),
        };
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut ticket = captioner.encode(&mut encoder, input, budgets[index % budgets.len()]).unwrap();
        let given_up = index % 7 == 6;
        let caption = loop {
            gpu.queue.submit([encoder.finish()]);
            // Submit and wait, as for a displayed frame.
            gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            if let Some(caption) = ticket.poll() {
                break Some(caption.unwrap().text);
            }
            if given_up {
                break None;
            }
            encoder = gpu.device.create_command_encoder(&Default::default());
            ticket.record(&mut encoder).unwrap();
        };
        assert!(caption.is_none_or(|caption| caption == expected));
        if index == SETTLED {
            settled = resident();
        }
        if index > SETTLED {
            most = most.max(resident());
        }
        if index % 500 == SETTLED {
            eprintln!("{index} captions: {} KiB", resident());
        }
    }
    eprintln!("{settled} KiB after {SETTLED} captions, at most {most} KiB until {count}");
    assert!(most <= settled + SLACK, "{settled} KiB after {SETTLED} captions, {most} KiB after {count}");
}

#[test]
fn many_captions_do_not_increase_memory() {
    caption_many(FEW);
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn ten_thousand_captions_do_not_increase_memory() {
    caption_many(MANY);
}
