//! Any bytes as a model file, whose graph is built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::engine::plan::AdapterClass;
use shadetell::weights::Model;
use shadetell::{CaptionOptions, caption_plan};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes("fuzz", bytes.to_vec()) {
        let options = CaptionOptions { max_length: Some(2), ..CaptionOptions::default() };
        let _ = caption_plan(&model, &options, AdapterClass::Software);
    }
});
