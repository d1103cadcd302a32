//! Encoders of torchvision and timm, converted from their own names, against what these libraries compute; and the features and
//! classes of models.
//!
//! `tools/encoders.py` writes names, shapes and results; the values of all tensors follow from their names.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::shared;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::Value;
use shadetell::checkpoint::{ConvertOptions, TensorFile, convert_encoder};
use shadetell::image::{Filter, Rgb8, resize};
use shadetell::weights::Model;
use shadetell::{Backend, EncoderOptions, Features, ImageEncoder};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/encoders.json")).unwrap()
}

/// As `values` in `tools/encoders.py` and in `tools/synth.py`: splitmix64 (Steele et al. 2014), from the FNV-1a hash of the name.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan: usize = shape.iter().skip(1).product();
    let last = name.rsplit('.').next().unwrap();
    let (middle, reach) = match (shape.len(), last) {
        (2, _) => (0.0, (0.5 * (3.0 / fan as f64).sqrt()) as f32),
        (3.., _) => (0.0, (6.0 / fan as f64).sqrt() as f32),
        (_, "running_var") => (1.0, 0.3),
        (_, "weight") => (0.5, 0.1),
        _ => (0.0, 0.1),
    };
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let start = hash.wrapping_add(STEP.wrapping_mul(7));
    let value = |index: u64| {
        let mut z = start.wrapping_add((index + 1).wrapping_mul(STEP));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f32 / 8_388_608.0 - 1.0) * reach + middle
    };
    (0..shape.iter().product::<usize>() as u64).map(value).collect()
}

/// The checkpoint of an entry; `rename` gives the names that it has.
fn checkpoint(entry: &Value, rename: impl Fn(&str) -> String) -> TensorFile {
    let tensor = |tensor: &Value| {
        let shape: Vec<usize> =
            tensor[1].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let name = tensor[0].as_str().unwrap();
        let bytes: Vec<u8> = values(name, &shape).iter().flat_map(|value| value.to_le_bytes()).collect();
        (rename(name), shape, bytes)
    };
    let tensors: Vec<_> = entry["tensors"].as_array().unwrap().iter().map(tensor).collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    TensorFile::from_bytes("encoder", serialize(views, None).unwrap()).unwrap()
}

/// The converted model.
fn model(entry: &Value, rename: impl Fn(&str) -> String) -> Model {
    let file = checkpoint(entry, rename);
    let converted = convert_encoder(&file, &ConvertOptions::default()).unwrap();
    assert_eq!(converted.model.manifest().encoder.family.name(), entry["family"].as_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    converted.model.write(&path, false).unwrap();
    Model::open(&path).unwrap()
}

fn photo(entry: &Value) -> Rgb8 {
    let side = entry["side"].as_u64().unwrap() as u32;
    let photo = Rgb8::new(224, 224, include_bytes!("golden/photo.rgb").to_vec()).unwrap();
    resize(&photo, side, side, Filter::Bilinear).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The grid differs by at most 1e-4 of its largest value, embedding and probabilities by at most 1e-4 of theirs.
fn agrees(entry: &Value, who: &str, found: &Features) {
    let name = format!("{} of {}, {who}", entry["family"], entry["library"]);
    let shape: Vec<usize> = numbers(&entry["grid"]).into_iter().map(|size| size as usize).collect();
    let (grid, largest) = (found.grid.as_ref().unwrap(), entry["largest"].as_f64().unwrap());
    assert_eq!(grid.len(), shape.iter().product::<usize>(), "{name}");
    for sample in entry["samples"].as_array().unwrap() {
        let sample = numbers(sample);
        let at = |axis: usize| sample[axis] as usize;
        let value = f64::from(grid[(at(0) * shape[1] + at(1)) * shape[2] + at(2)]);
        assert!((value - sample[3]).abs() <= 1e-4 * largest, "{name}: {sample:?}, found {value}");
    }
    for (part, found) in
        [("embedding", &found.embedding), ("probabilities", found.probabilities.as_ref().unwrap())]
    {
        let expected = numbers(&entry[part]);
        let largest = expected.iter().fold(0f64, |largest, v| largest.max(v.abs()));
        for (place, (&expected, &found)) in expected.iter().zip(found).enumerate() {
            let difference = (f64::from(found) - expected).abs();
            assert!(difference <= 1e-4 * largest, "{name}: {part} {place} is {found}, expected {expected}");
        }
    }
}

#[test]
fn encoders_are_those_of_torchvision_and_timm() {
    let golden = golden();
    let entries = golden.as_array().unwrap();
    assert_eq!(entries.len(), 9);
    for entry in entries {
        let (model, photo) = (model(entry, str::to_owned), photo(entry));
        let options = EncoderOptions { grid: true, ..EncoderOptions::default() };
        let on_cpu = ImageEncoder::new(&model, Backend::Cpu, &options).unwrap();
        agrees(entry, "references", &on_cpu.encode_preprocessed(&[&photo]).unwrap()[0]);
        let options = EncoderOptions { batch: 2, grid: true, ..EncoderOptions::default() };
        let on_adapter = ImageEncoder::new(&model, Backend::Gpu(&shared().gpu), &options).unwrap();
        let found = on_adapter.encode_preprocessed(&[&photo; 3]).unwrap();
        found.iter().for_each(|features| agrees(entry, "adapter", features));
    }
}

/// Wrapped, as in captioners, and without a classifier.
#[test]
fn encoders_are_found_inside_of_other_modules() {
    let golden = golden();
    let find = |family: &str| golden.as_array().unwrap().iter().find(|e| e["family"] == family).unwrap();
    type Rename = fn(&str) -> String;
    let cases: [(&str, Rename); 3] = [
        ("mobilenet-v2", |n| format!("encoder.cnn.0.{}", n.trim_start_matches("features."))),
        ("vgg16", |n| format!("vgg.{}", n.trim_start_matches("features."))),
        ("efficientnet-lite1", |n| format!("module.backbone.{n}")),
    ];
    for (family, rename) in cases {
        let mut entry = find(family).clone();
        let tensors = entry["tensors"].as_array_mut().unwrap();
        tensors.retain(|tensor| !tensor[0].as_str().unwrap().starts_with("classifier"));
        let model = model(&entry, rename);
        let encoder = ImageEncoder::new(&model, Backend::Cpu, &EncoderOptions::default()).unwrap();
        let found = &encoder.encode_preprocessed(&[&photo(&entry)]).unwrap()[0];
        assert!(
            found.probabilities.is_none()
                && !encoder.has_classifier()
                && encoder.classes(found, 5).is_empty()
        );
        let expected = numbers(&entry["embedding"]);
        let largest = expected.iter().fold(0f64, |largest, v| largest.max(v.abs()));
        let close =
            expected.iter().zip(&found.embedding).all(|(e, f)| (f64::from(*f) - e).abs() <= 1e-4 * largest);
        assert!(close, "{family}");
    }
}

#[test]
fn classes_have_names_and_come_in_order() {
    let golden = golden();
    let entry = golden.as_array().unwrap().iter().find(|e| e["family"] == "mobilenet-v2").unwrap();
    let model = model(entry, str::to_owned);
    let encoder = ImageEncoder::new(&model, Backend::Cpu, &EncoderOptions::default()).unwrap();
    let features = &encoder.encode_preprocessed(&[&photo(entry)]).unwrap()[0];
    let classes = encoder.classes(features, 1000);
    assert!(
        classes.len() == 1000 && classes.windows(2).all(|pair| pair[0].probability >= pair[1].probability)
    );
    let name = |index: usize| &classes.iter().find(|class| class.index == index).unwrap().name;
    assert_eq!([name(0), name(281), name(504), name(999)], ["tench", "tabby", "coffee mug", "toilet tissue"]);
    let sum: f32 = classes.iter().map(|class| class.probability).sum();
    assert!((sum - 1.0).abs() < 1e-5 && encoder.classes(features, 3).len() == 3);
    // An encoder alone makes no sentences.
    let error = shadetell::Captioner::new(&model, Backend::Cpu, &Default::default()).unwrap_err().to_string();
    assert!(error.contains("an encoder alone"), "{error}");
}
