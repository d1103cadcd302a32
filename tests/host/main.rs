//! Captions on a host's device.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod device;
mod pictures;
mod tickets;

use common::shared;
use shadetell::engine::gpu::{AdapterChoice, Gpu, GpuError};
use shadetell::engine::plan::TuningTable;
use shadetell::host::{Budget, BufferInput, Colour, Input, TextureInput, Window};
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{Backend, Caption, CaptionOptions, Captioner, Cause, Error, Ticket, required_limits, wgpu};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
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

/// The model that has the decoder.
fn model(decoder: DecoderFamily) -> &'static Model {
    static EVERYDAY: OnceLock<Model> = OnceLock::new();
    static CLASSIC: OnceLock<Model> = OnceLock::new();
    let (model, bytes) = match decoder {
        DecoderFamily::SemanticAttention => (&EVERYDAY, shadetell_everyday::MODEL),
        DecoderFamily::ShowTell | DecoderFamily::ShowAttendTell => (&CLASSIC, shadetell_flickr8k::MODEL),
    };
    model.get_or_init(|| Model::from_static("model", bytes).unwrap())
}

fn captioner(gpu: &Gpu, decoder: DecoderFamily) -> Captioner {
    let options = CaptionOptions { decoder: Some(decoder), beam: Some(1), ..CaptionOptions::default() };
    Captioner::new(model(decoder), Backend::Gpu(gpu), &options).unwrap()
}

/// The errors that reach a host's error handler from now on.
fn heard(device: &wgpu::Device) -> Arc<Mutex<Vec<String>>> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let errors = Arc::clone(&heard);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        errors.lock().unwrap().push(error.to_string())
    }));
    heard
}

fn photo(name: &str) -> Rgb8 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("photos").join(name);
    read(&path, &DecodeOptions::default()).unwrap()
}

/// The pixels of a part, with alpha.
fn rgba(photo: &Rgb8, alpha: u8) -> Vec<u8> {
    photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], alpha]).collect()
}

/// Checks that captions are equal to the last bit, so the inputs were equal.
#[track_caller]
fn same(found: &Caption, expected: &Caption) {
    assert_eq!(found.text, expected.text);
    assert_eq!(found.log_prob, expected.log_prob, "{}", found.text);
    assert_eq!(found.tokens.len(), expected.tokens.len());
}
