//! Converted checkpoints against PyTorch: the encoders stage by stage, the captions token by token.
//!
//! `tools/parity.py` makes the checkpoints, the expected captions and the expected values of the stages.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::shared;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;
use shadetell::checkpoint::{ConvertOptions, Tensor, TensorFile, Vocabulary, convert};
use shadetell::engine::graph::{Data, TensorId};
use shadetell::engine::plan::{AdapterClass, Target};
use shadetell::engine::reference;
use shadetell::image::{Filter, Rgb8, resize};
use shadetell::weights::{DecoderFamily, EncoderFamily, Model, Preset, SynthOptions, synth};
use shadetell::{Backend, CaptionOptions, Captioner, caption_graph};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name)
}

/// 64x48 pixels in blocks of 8, from a linear congruential generator, as `tools/parity.py` makes them.
fn photo(number: u32) -> Rgb8 {
    let mut state = number + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let cells: Vec<[u8; 3]> = (0..8 * 6).map(|_| [next(), next(), next()]).collect();
    let pixel = |at: usize| cells[at / 64 / 8 * 8 + at % 64 / 8];
    Rgb8::new(64, 48, (0..64 * 48).flat_map(pixel).collect()).unwrap()
}

/// A converted model, and PyTorch's captions with it.
struct Case {
    model: Model,
    expected: Value,
    _folder: TempDir,
}

impl Case {
    fn new(name: &str, half: bool) -> Case {
        let open = |file: &str| TensorFile::open(&fixture(&format!("{name}{file}"))).unwrap();
        let (encoder, decoder, vocabulary) = if name.ends_with("whole") {
            (open(".pth.tar"), open(".pth.tar"), fixture(&format!("{name}-wordmap.json")))
        } else {
            (open("-encoder.pkl"), open("-decoder.pkl"), fixture(&format!("{name}-vocab.pkl")))
        };
        let words = Vocabulary::open(&vocabulary).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let options = ConvertOptions { half, ..ConvertOptions::default() };
        convert(&encoder, &decoder, ("vocabulary", &words), &options)
            .unwrap()
            .model
            .write(&path, false)
            .unwrap();
        let expected: Value =
            serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
        Case { model: Model::open(&path).unwrap(), expected: expected[name].clone(), _folder: folder }
    }

    /// The ids of all captions, and whether they ended.
    fn captions(&self, backend: Backend<'_>, beam: usize, batch: usize) -> Vec<(Vec<u32>, bool)> {
        let options = CaptionOptions {
            beam: Some(beam),
            batch: Some(batch),
            keep_special: true,
            ..CaptionOptions::default()
        };
        let captioner = Captioner::new(&self.model, backend, &options).unwrap();
        let photos: Vec<Rgb8> = (0..20).map(photo).collect();
        let captions = captioner.caption_all(&photos.iter().collect::<Vec<_>>()).unwrap();
        captions.iter().map(|c| (c.tokens.iter().map(|t| t.id).collect(), c.finished)).collect()
    }

    fn expected(&self, beam: usize) -> Vec<(Vec<u32>, bool)> {
        let end = self.model.manifest().special.end;
        let ids = |caption: &Value| -> Vec<u32> {
            caption.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let captions = self.expected[beam.to_string()].as_array().unwrap();
        captions.iter().map(ids).map(|ids| (ids.clone(), ids.last() == Some(&end))).collect()
    }
}

/// Greedy search and beams of 3 and 5, single photos and batches, on the reference kernels and on the adapter.
fn captions_are_those_of_pytorch(name: &str) {
    let case = Case::new(name, false);
    let distinct: std::collections::HashSet<_> = case.expected(1).into_iter().collect();
    assert!(distinct.len() > 8, "the photos have different captions");
    let shared = shared();
    for beam in [1, 3, 5] {
        let expected = case.expected(beam);
        assert_eq!(case.captions(Backend::Cpu, beam, 1), expected, "{name}, references, beam {beam}");
        for batch in [1, 7] {
            let found = case.captions(Backend::Gpu(&shared.gpu), beam, batch);
            assert_eq!(found, expected, "{name}, adapter, beam {beam}, batch {batch}");
        }
    }
}

#[test]
fn show_tell_pair() {
    captions_are_those_of_pytorch("pair");
}

#[test]
fn show_tell_with_two_layers() {
    captions_are_those_of_pytorch("layers");
}

#[test]
fn show_attend_tell_of_whole_modules() {
    captions_are_those_of_pytorch("whole");
}

#[test]
fn show_tell_with_two_gru_layers() {
    captions_are_those_of_pytorch("gru");
}

#[test]
fn show_attend_tell_with_a_gru_cell() {
    captions_are_those_of_pytorch("gru-whole");
}

#[test]
fn weights_of_16_bits_give_nearly_the_same_captions() {
    let case = Case::new("pair", true);
    let (found, expected) = (case.captions(Backend::Gpu(&shared().gpu), 1, 20), case.expected(1));
    let equal = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
    assert!(equal >= 16, "{equal} of 20 captions are equal");
}

/// Every stage differs from PyTorch's by at most 1e-3 of its largest magnitude (1e-2 with f16 weights), and the features by at
/// most 1e-4 in cosine distance.
fn stages_are_those_of_pytorch(family: EncoderFamily, side: u32, half: bool) {
    let golden: Value = serde_json::from_str(include_str!("golden/resnet.json")).unwrap();
    let depth: u64 = family.name()["resnet".len()..].parse().unwrap();
    let mut entries = golden.as_array().unwrap().iter();
    let entry = entries.find(|e| e["depth"] == depth && e["side"] == u64::from(side)).unwrap();

    // The decoder does not matter, so it is as small as possible.
    let attends = side == 256;
    let decoder = if attends { DecoderFamily::ShowAttendTell } else { DecoderFamily::ShowTell };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    synth(&SynthOptions { words: 8, half, ..SynthOptions::new(family, decoder) })
        .write(&path, false)
        .unwrap();
    let model = Model::open(&path).unwrap();
    let preset = if attends { Preset::SquashBilinear256 } else { Preset::SquashLanczos224 };
    assert_eq!(model.manifest().preprocess, preset.preprocessing());
    let options = CaptionOptions { max_length: Some(1), ..CaptionOptions::default() };
    let (mut graph, constants) = caption_graph(&model, &options).unwrap();
    let before = graph.outputs().len();
    let stages = entry["stages"].as_array().unwrap();
    for stage in stages {
        let name = stage["stage"].as_str().unwrap();
        let id = stage_of(&graph, name);
        graph.output(id).unwrap();
    }
    let pixels = Rgb8::new(224, 224, include_bytes!("golden/photo.rgb").to_vec()).unwrap();
    let pixels = resize(&pixels, side, side, Filter::Bilinear).unwrap();
    let inputs: Vec<Data> = [Data::U8(pixels.into_data())].into_iter().chain(constants).collect();
    let references = reference::run(&graph, &inputs).unwrap();
    let adapter = shared().run(&graph, &Target::baseline(AdapterClass::Software), &inputs);
    let allowed = if half { 1e-2 } else { 1e-3 };
    for (who, outputs) in [("references", references), ("adapter", adapter)] {
        for (stage, found) in stages.iter().zip(&outputs[before..]) {
            let sizes: Vec<usize> =
                stage["shape"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap() as usize).collect();
            let [channels, height, width] = sizes[..] else { panic!("{sizes:?}") };
            assert_eq!(found.len(), channels * height * width, "{}", stage["stage"]);
            let largest = stage["largest"].as_f64().unwrap();
            for sample in stage["samples"].as_array().unwrap() {
                let at = |i: usize| sample[i].as_u64().unwrap() as usize;
                let value = f64::from(found.f32()[(at(1) * width + at(2)) * channels + at(0)]);
                let difference = (value - sample[3].as_f64().unwrap()).abs() / largest;
                assert!(difference <= allowed, "{who}, {} {sample}: found {value}", stage["stage"]);
            }
        }
        let features: Vec<f64> =
            entry["features"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let found: Vec<f64> = outputs.last().unwrap().f32().iter().map(|&v| f64::from(v)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(&features, &found) / (dot(&features, &features) * dot(&found, &found)).sqrt();
        assert_eq!(features.len(), found.len());
        assert!(1.0 - cosine <= if half { 1e-2 } else { 1e-4 }, "{who}: cosine {cosine}");
    }
}

/// The result of a stage is that of the last convolution of its last block.
fn stage_of(graph: &shadetell::engine::graph::Graph, stage: &str) -> TensorId {
    let is_it = |name: &str| match stage {
        "grid" | "pooled" => name == stage,
        "maxpool" => name == "encoder.maxpool",
        _ => name.starts_with(&format!("encoder.{stage}.")) && !name.contains("downsample"),
    };
    graph.nodes().iter().rfind(|node| is_it(&node.name)).unwrap().outputs[0]
}

#[test]
fn resnet18() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet18, 224, false);
}

#[test]
fn resnet50() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet50, 224, false);
}

#[test]
fn resnet101() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet101, 224, false);
}

#[test]
fn resnet101_with_a_grid() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet101, 256, false);
}

#[test]
fn resnet152() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet152, 224, false);
}

#[test]
fn resnet152_with_half_the_bytes() {
    stages_are_those_of_pytorch(EncoderFamily::Resnet152, 224, true);
}

#[test]
fn files_that_do_not_fit_each_other_are_reported() {
    let message = |encoder: &str, decoder: &str, vocabulary: &str| {
        let open = |name: &str| TensorFile::open(&fixture(name)).unwrap();
        let words = Vocabulary::open(&fixture(vocabulary)).unwrap();
        let options = ConvertOptions::default();
        let converted = convert(&open(encoder), &open(decoder), (vocabulary, &words), &options).map(|_| ());
        converted.unwrap_err().to_string()
    };
    let swapped = message("pair-decoder.pkl", "pair-encoder.pkl", "pair-vocab.pkl");
    assert!(swapped.contains("expected an encoder, found show-tell decoder"), "{swapped}");
    let encoders = message("pair-encoder.pkl", "pair-encoder.pkl", "pair-vocab.pkl");
    assert!(encoders.contains("expected a decoder, found resnet18"), "{encoders}");
    let words = message("whole.pth.tar", "whole.pth.tar", "../checkpoints/words.txt");
    assert!(words.contains("6 words here, 60 rows in its embedding and 60 in its last layer"), "{words}");
    let channels = message("layers-encoder.pkl", "whole.pth.tar", "whole-wordmap.json");
    assert!(channels.contains("64 channels of the resnet50 encoder, found 32"), "{channels}");
    let projection = message("whole.pth.tar", "pair-decoder.pkl", "pair-vocab.pkl");
    assert!(projection.contains("a weight [12, 32] in one of the files"), "{projection}");
}

/// torchvision's own weights have no projection; it may be in the decoder's file.
#[test]
fn the_projection_may_be_in_the_decoders_file() {
    let folder = tempfile::tempdir().unwrap();
    let joined = folder.path().join("decoder.safetensors");
    let (encoder, decoder) = (
        TensorFile::open(&fixture("pair-encoder.pkl")).unwrap(),
        TensorFile::open(&fixture("pair-decoder.pkl")).unwrap(),
    );
    let (encoder, decoder) = (encoder.state_dicts().unwrap(), decoder.state_dicts().unwrap());
    let moved =
        encoder[0].tensors().iter().filter(|(name, _)| name.starts_with("linear") || name.starts_with("bn"));
    let moved = moved.map(|(name, tensor)| (name.replace("linear", "visual"), tensor));
    let all = decoder[0].tensors().iter().map(|(name, tensor)| (name.clone(), tensor)).chain(moved);
    write_tensors(&joined, all);
    let trunk = folder.path().join("trunk.safetensors");
    let names = [
        ("resnet.0.", "conv1."),
        ("resnet.1.", "bn1."),
        ("resnet.4", "layer1"),
        ("resnet.5", "layer2"),
        ("resnet.6", "layer3"),
        ("resnet.7", "layer4"),
    ];
    let renamed = encoder[0].tensors().iter().filter_map(|(name, tensor)| {
        let (from, to) = names.iter().find(|(from, _)| name.starts_with(from))?;
        Some((name.replacen(from, to, 1), tensor))
    });
    write_tensors(&trunk, renamed);

    let words = Vocabulary::open(&fixture("pair-vocab.pkl")).unwrap();
    let (trunk, joined) = (TensorFile::open(&trunk).unwrap(), TensorFile::open(&joined).unwrap());
    let path = folder.path().join("model.safetensors");
    convert(&trunk, &joined, ("v", &words), &ConvertOptions::default())
        .unwrap()
        .model
        .write(&path, false)
        .unwrap();
    let pair = Case::new("pair", false);
    let moved = Case { model: Model::open(&path).unwrap(), expected: pair.expected.clone(), _folder: folder };
    assert_eq!(moved.captions(Backend::Cpu, 1, 1), pair.expected(1));
}

/// Writes tensors as f32 into a safetensors file.
fn write_tensors<'a>(path: &Path, tensors: impl Iterator<Item = (String, &'a Tensor<'a>)>) {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, t)| {
            (name, t.shape().to_vec(), t.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}
