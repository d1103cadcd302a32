//! Any bytes as a model file: its graph is built, planned, and run on the CPU, and on a GPU where there is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::engine::plan::AdapterClass;
use shadetell::image::Rgb8;
use shadetell::weights::Model;
use shadetell::{Backend, CaptionOptions, Captioner, caption_plan};
use std::sync::LazyLock;

static GPU: LazyLock<Option<Gpu>> = LazyLock::new(|| Gpu::open(&AdapterChoice::default()).ok());

/// The most pixels of an input that is run: larger ones take longer and run the same code.
const MAX_PIXELS: u32 = 64 * 64;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_bytes("fuzz", bytes.to_vec()) else { return };
    let options = CaptionOptions { beam: Some(2), max_length: Some(2), ..CaptionOptions::default() };
    for class in [AdapterClass::Software, AdapterClass::Hardware] {
        let _ = caption_plan(&model, &options, class);
    }
    let preprocess = &model.manifest().preprocess;
    if preprocess.width * preprocess.height > MAX_PIXELS {
        return;
    }
    let Ok(photo) = Rgb8::new(4, 4, (0..4 * 4 * 3).collect()) else { return };
    for backend in [Some(Backend::Cpu), GPU.as_ref().map(Backend::Gpu)].into_iter().flatten() {
        if let Ok(captioner) = Captioner::new(&model, backend, &options)
            && let Ok(caption) = captioner.caption(&photo)
        {
            assert!(!caption.log_prob.is_nan());
        }
    }
});
