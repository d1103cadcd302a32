//! The bundled model on the sample photos, compared with PyTorch: `tests/golden/everyday.json` is what `tools/train/evaluate.py` says of them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use serde::Deserialize;
use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::{DecoderFamily, EncoderFamily, Model, SynthOptions, synth};
use shadetell::{Backend, Caption, CaptionOptions, Captioner};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What PyTorch says of a photo.
#[derive(Deserialize)]
struct Said {
    caption: String,
    ids: Vec<u32>,
    /// Names and scores, best first; more than the decoder reads.
    tags: Vec<(String, f32)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn model() -> Model {
    Model::from_static("bundled model", shadetell_everyday::MODEL).unwrap()
}

fn said() -> BTreeMap<String, Said> {
    let said = fs::read_to_string(root().join("tests/golden/everyday.json")).unwrap();
    serde_json::from_str(&said).unwrap()
}

fn photo(name: &str) -> Rgb8 {
    read(&root().join("photos").join(name), &DecodeOptions::default()).unwrap()
}

fn check(name: &str, said: &Said, found: &Caption) {
    assert_eq!(found.text, said.caption, "{name}");
    assert_eq!(found.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), said.ids, "{name}");
    assert!(found.confidence.is_some_and(|confidence| (0.0..=1.0).contains(&confidence)), "{name}");
    assert_eq!(found.tags.len(), 6);
    for (tag, (expected, score)) in found.tags.iter().zip(&said.tags) {
        assert_eq!(tag.name, *expected, "{name}");
        assert!((tag.score - score).abs() < 2e-3, "{name}: {tag:?}, not {score}");
    }
}

#[test]
fn captions_and_tags_are_those_of_pytorch() {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter, such as `cargo xtask test` installs");
    let said = said();
    assert!(said.len() >= 5);
    for backend in [Backend::Gpu(&gpu), Backend::Cpu] {
        let captioner = Captioner::new(&model(), backend, &CaptionOptions::default()).unwrap();
        for (name, said) in &said {
            check(name, said, &captioner.caption(&photo(name)).unwrap());
        }
    }
}

#[test]
fn a_batch_gives_the_same_captions_and_tags() {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter, such as `cargo xtask test` installs");
    let said = said();
    let photos: Vec<Rgb8> = said.keys().map(|name| photo(name)).collect();
    let options = CaptionOptions { batch: Some(4), ..CaptionOptions::default() };
    let captioner = Captioner::new(&model(), Backend::Gpu(&gpu), &options).unwrap();
    let captions = captioner.caption_all(&photos.iter().collect::<Vec<_>>()).unwrap();
    for ((name, said), caption) in said.iter().zip(&captions) {
        check(name, said, caption);
    }
}

/// Whatever the photo, and even without a beam that could choose between sentences.
#[test]
fn sentences_keep_the_rules_of_the_model() {
    let model = model();
    let rules = model.manifest().decoders[0].rules.as_ref().unwrap();
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter, such as `cargo xtask test` installs");
    for beam in [1, 4] {
        let options = CaptionOptions { beam: Some(beam), ..CaptionOptions::default() };
        let captioner = Captioner::new(&model, Backend::Gpu(&gpu), &options).unwrap();
        for shade in [0, 60, 120, 180, 240] {
            let caption =
                captioner.caption(&Rgb8::filled(40, 30, [shade, 255 - shade, shade / 2]).unwrap()).unwrap();
            let ids: Vec<u32> = caption.tokens.iter().map(|token| token.id).collect();
            assert!(!ids.is_empty());
            for (place, id) in ids.iter().enumerate() {
                assert!(rules.often.contains(id) || !ids[..place].contains(id), "{}", caption.text);
            }
            assert!(!caption.finished || !rules.unfinished.contains(ids.last().unwrap()), "{}", caption.text);
        }
    }
}

/// Other encoders with a classifier, with random weights: the CPU and the device say the same.
#[test]
fn semantic_attention_runs_on_other_encoders() {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter, such as `cargo xtask test` installs");
    let folder = tempfile::tempdir().unwrap();
    for encoder in [EncoderFamily::Resnet18, EncoderFamily::EfficientnetLite1] {
        let path = folder.path().join(format!("{encoder}.safetensors"));
        let options = SynthOptions {
            words: 100,
            half: true,
            ..SynthOptions::new(encoder, DecoderFamily::SemanticAttention)
        };
        synth(&options).write(&path, false).unwrap();
        let model = Model::open(&path).unwrap();
        let options = CaptionOptions { beam: Some(2), max_length: Some(6), ..CaptionOptions::default() };
        let [on_gpu, on_cpu] = [Backend::Gpu(&gpu), Backend::Cpu].map(|backend| {
            Captioner::new(&model, backend, &options).unwrap().caption(&photo("cat.jpg")).unwrap()
        });
        assert_eq!(on_gpu.text, on_cpu.text, "{encoder}");
        assert!((on_gpu.log_prob - on_cpu.log_prob).abs() < 1e-2, "{encoder}");
        let names = |caption: &Caption| caption.tags.iter().map(|tag| tag.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&on_gpu), names(&on_cpu), "{encoder}");
        assert_eq!((on_gpu.confidence, on_gpu.is_sure), (None, true), "its sentences were not judged");
    }
}
