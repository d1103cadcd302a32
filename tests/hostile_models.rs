//! Model files with wrong tensors or a wrong description. Each is refused with an error that names the tensor, and none causes
//! a panic, on the CPU and on a GPU.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::shared;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use shadetell::checkpoint::{ConvertOptions, TensorFile, Vocabulary, convert};
use shadetell::image::Rgb8;
use shadetell::weights::{Model, ModelErrorKind};
use shadetell::{Backend, CaptionOptions, Captioner, Error};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A tensor of a file that a test writes.
#[derive(Clone)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// The parts of a model file.
struct Parts {
    description: Value,
    tensors: Vec<Stored>,
}

impl Parts {
    fn of(file: &[u8]) -> Parts {
        let (_, metadata) = SafeTensors::read_metadata(file).unwrap();
        let description = metadata.metadata().as_ref().unwrap()["shadetell"].clone();
        let tensors = SafeTensors::deserialize(file).unwrap();
        let stored = |name: &String| {
            let view = tensors.tensor(name).unwrap();
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            Stored { name: name.clone(), dtype, shape, data: view.data().to_vec() }
        };
        Parts {
            description: serde_json::from_str(&description).unwrap(),
            tensors: metadata.offset_keys().iter().map(stored).collect(),
        }
    }

    /// The file with this description and with `changed` instead of the tensor of this index.
    fn file(&self, description: &Value, index: Option<usize>, changed: &Option<Stored>) -> Vec<u8> {
        let tensors = self
            .tensors
            .iter()
            .enumerate()
            .filter_map(|(at, stored)| if index == Some(at) { changed.as_ref() } else { Some(stored) });
        let views = tensors.map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
        let metadata = HashMap::from([("shadetell".to_owned(), description.to_string())]);
        serialize(views, Some(metadata)).unwrap()
    }

    /// The description with another value at a JSON pointer, which may be new.
    fn described(&self, pointer: &str, value: Value) -> Value {
        let mut description = self.description.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match description.pointer_mut(parent).unwrap_or_else(|| panic!("the description has no {parent}")) {
            Value::Array(values) => values[key.parse::<usize>().unwrap()] = value,
            parent => parent[key] = value,
        }
        description
    }

    /// A model whose tensors all have the value of these bits.
    fn filled(&self, value: f32) -> Parts {
        let fill = |stored: &Stored| {
            let len = stored.shape.iter().product();
            Stored {
                dtype: Dtype::F32,
                data: vec![value; len].iter().flat_map(|v| v.to_le_bytes()).collect(),
                ..stored.clone()
            }
        };
        Parts { description: self.description.clone(), tensors: self.tensors.iter().map(fill).collect() }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name)
}

/// A small ResNet-18 with Show and Tell of this fixture, or with attention.
fn small(name: &str) -> Parts {
    let open = |file: &str| TensorFile::open(&fixture(&format!("{name}{file}"))).unwrap();
    let (encoder, decoder, words) = if name == "whole" {
        (open(".pth.tar"), open(".pth.tar"), fixture("whole-wordmap.json"))
    } else {
        (open("-encoder.pkl"), open("-decoder.pkl"), fixture(&format!("{name}-vocab.pkl")))
    };
    let words = Vocabulary::open(&words).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = convert(&encoder, &decoder, ("words", &words), &ConvertOptions::default()).unwrap().model;
    model.write(&path, false).unwrap();
    Parts::of(&std::fs::read(&path).unwrap())
}

/// A changed tensor, and the check of its error.
type Change = (&'static str, Option<Stored>, fn(&ModelErrorKind) -> bool);

fn has_wrong_shape(kind: &ModelErrorKind) -> bool {
    match kind {
        ModelErrorKind::Shape { .. } => true,
        // An embedding with more rows has more words than the description.
        ModelErrorKind::Inconsistent(message) => message.contains("embeddings"),
        // A block with more channels needs a convolution in its shortcut.
        ModelErrorKind::MissingTensor { name, .. } => name.contains("downsample"),
        _ => false,
    }
}

fn is_missing(kind: &ModelErrorKind) -> bool {
    matches!(kind, ModelErrorKind::MissingTensor { .. })
}

fn has_wrong_type(kind: &ModelErrorKind) -> bool {
    matches!(kind, ModelErrorKind::DType { .. })
}

fn is_not_finite(kind: &ModelErrorKind) -> bool {
    matches!(kind, ModelErrorKind::NotFinite { .. })
}

/// All changes of a tensor, with their errors.
fn changes(stored: &Stored) -> Vec<Change> {
    let shaped = |shape: Vec<usize>| {
        let len: usize = shape.iter().product();
        let data = vec![0; len * stored.dtype.bitsize() / 8];
        Some(Stored { shape, data, ..stored.clone() })
    };
    let typed = |dtype: Dtype| {
        let len = stored.shape.iter().product::<usize>() * dtype.bitsize() / 8;
        Some(Stored { dtype, data: vec![0; len], ..stored.clone() })
    };
    let valued = |value: f32| {
        let mut data = vec![0; 4 * stored.shape.iter().product::<usize>()];
        let last = data.len() - 4;
        data[last..].copy_from_slice(&value.to_le_bytes());
        Some(Stored { dtype: Dtype::F32, data, ..stored.clone() })
    };
    let with = |axis: usize, size: usize| {
        let mut shape = stored.shape.clone();
        shape[axis] = size;
        shaped(shape)
    };
    let last = stored.shape.len() - 1;
    vec![
        ("missing", None, is_missing),
        ("empty", shaped(vec![0; stored.shape.len()]), has_wrong_shape),
        ("without rows", with(0, 0), has_wrong_shape),
        ("without columns", with(last, 0), has_wrong_shape),
        ("a row too many", with(0, stored.shape[0] + 1), has_wrong_shape),
        ("a column too many", with(last, stored.shape[last] + 1), has_wrong_shape),
        ("a rank too many", shaped([&stored.shape[..], &[1]].concat()), has_wrong_shape),
        ("without a rank", shaped(Vec::new()), has_wrong_shape),
        ("integers", typed(Dtype::I32), has_wrong_type),
        ("doubles", typed(Dtype::F64), has_wrong_type),
        ("NaN", valued(f32::NAN), is_not_finite),
        ("infinite", valued(f32::NEG_INFINITY), is_not_finite),
    ]
}

/// Builds a captioner.
fn build(file: Vec<u8>, backend: Backend<'_>) -> Result<Captioner, Error> {
    let options = CaptionOptions { beam: Some(2), max_length: Some(2), ..CaptionOptions::default() };
    Captioner::new(&Model::from_bytes("hostile", file)?, backend, &options)
}

/// Tries all changes of the tensors that `chosen` selects.
fn refuses_changes(parts: &Parts, mut chosen: impl FnMut(&str) -> bool) {
    build(parts.file(&parts.description, None, &None), Backend::Cpu).expect("the model itself is right");
    for (index, stored) in parts.tensors.iter().enumerate().filter(|(_, stored)| chosen(&stored.name)) {
        for (what, changed, is_expected) in changes(stored) {
            let label = format!("{} {:?}, {what}", stored.name, stored.shape);
            let file = parts.file(&parts.description, Some(index), &changed);
            let error = build(file, Backend::Cpu).expect_err(&label);
            let Error::Model(error) = &error else { panic!("{label}: {error}") };
            assert!(is_expected(&error.kind), "{label}: {error}");
            let message = error.to_string();
            assert!(
                message.starts_with("hostile: ")
                    && message.contains("expected") | message.contains("missing"),
                "{label}: {message}"
            );
        }
    }
}

#[test]
fn every_tensor_of_show_and_tell_is_checked() {
    refuses_changes(&small("pair"), |_| true);
}

#[test]
fn every_tensor_of_an_lstm_of_several_layers_is_checked() {
    refuses_changes(&small("layers"), |name| !name.starts_with("encoder."));
}

#[test]
fn every_tensor_of_attention_is_checked() {
    refuses_changes(&small("whole"), |name| !name.starts_with("encoder."));
}

/// One tensor of each kind: the file is large.
#[test]
fn tensors_of_an_efficientnet_are_checked() {
    let parts = Parts::of(shadetell_flickr8k::MODEL);
    let mut seen = BTreeSet::new();
    // Only the encoder: the decoder is the same as in another test.
    let is_new = |name: &str| {
        name.starts_with("encoder.") && seen.insert(name.replace(|c: char| c.is_ascii_digit(), ""))
    };
    refuses_changes(&parts, is_new);
}

#[test]
fn every_tensor_of_semantic_attention_is_checked() {
    let is_read = |name: &str| name.starts_with("decoder.") || name.starts_with("encoder._fc");
    refuses_changes(&Parts::of(shadetell_everyday::MODEL), is_read);
}

#[test]
fn wrong_descriptions_of_tags_and_rules_are_refused() {
    let parts = Parts::of(shadetell_everyday::MODEL);
    let wrong = [
        ("/decoders/0/family", json!("show-tell")),
        ("/decoders/0/tags", json!(null)),
        ("/decoders/0/tags/given", json!(0)),
        ("/decoders/0/tags/given", json!(65)),
        ("/decoders/0/tags/given", json!(u32::MAX)),
        ("/decoders/0/tags/tail", json!(1e300)),
        ("/decoders/0/tags/window_share", json!(-1e300)),
        ("/decoders/0/tags/table", json!([])),
        ("/decoders/0/tags/table", json!([{"name": "one", "classes": [1]}])),
        ("/decoders/0/tags/table/0/classes", json!([])),
        ("/decoders/0/tags/table/0/classes", json!([1000])),
        ("/decoders/0/tags/table/0/words", json!([u32::MAX])),
        ("/decoders/0/rules/often", json!([1_000_000])),
        ("/decoders/0/rules/unfinished", json!([u32::MAX])),
        ("/decoders/0/confidence/offset", json!(1e300)),
        ("/decoders/0/confidence/threshold", json!(-1e300)),
    ];
    for (pointer, value) in wrong {
        let description = parts.described(pointer, value.clone());
        let error = build(parts.file(&description, None, &None), Backend::Cpu)
            .map(|_| ())
            .expect_err(&format!("{pointer} = {value}"));
        assert!(matches!(error, Error::Model(_)), "{pointer} = {value}: {error}");
    }
}

#[test]
fn too_many_layers_are_refused() {
    let mut parts = small("layers");
    let layer: Vec<Stored> = parts.tensors.iter().filter(|t| t.name.ends_with("_l1")).cloned().collect();
    assert_eq!(layer.len(), 4);
    let copies = (2..20).flat_map(|n| {
        layer.iter().map(move |t| Stored { name: t.name.replace("_l1", &format!("_l{n}")), ..t.clone() })
    });
    parts.tensors.extend(copies);
    let error = build(parts.file(&parts.description, None, &None), Backend::Cpu).unwrap_err().to_string();
    assert!(error.contains("expected at most 16 recurrent layers"), "{error}");
}

#[test]
fn negative_variances_are_refused() {
    let parts = small("pair");
    let index = parts.tensors.iter().position(|t| t.name == "encoder.layer1.0.bn1.running_var").unwrap();
    let stored = &parts.tensors[index];
    let data = vec![-1.0f32; stored.shape[0]].iter().flat_map(|v| v.to_le_bytes()).collect();
    let changed = Some(Stored { dtype: Dtype::F32, data, ..stored.clone() });
    let error =
        build(parts.file(&parts.description, Some(index), &changed), Backend::Cpu).unwrap_err().to_string();
    assert!(error.contains("running_var`: expected variances of at least 0, found -1 at index 0"), "{error}");
}

/// Descriptions that contradict the tensors or themselves.
#[test]
fn wrong_descriptions_are_refused() {
    let parts = small("pair");
    let wrong = [
        ("/format_version", json!(2)),
        ("/encoder/family", json!("resnet19")),
        ("/encoder/family", json!("resnet34")),
        ("/encoder/family", json!("resnet50")),
        ("/encoder/family", json!("efficientnet-lite0")),
        ("/encoder/prefix", json!("nowhere.")),
        ("/encoder/grid", json!([0, 7])),
        ("/encoder/grid", json!([65, 7])),
        ("/decoders", json!([])),
        ("/decoders/0/family", json!("show-attend-tell")),
        ("/decoders/0/prefix", json!("")),
        ("/decoders/0/beam", json!(0)),
        ("/decoders/0/beam", json!(-1)),
        ("/decoders/0/beam", json!(1e300)),
        ("/decoders/0/max_length", json!(0)),
        ("/decoders/0/length_penalty", json!(1e300)),
        ("/preprocess/width", json!(0)),
        ("/preprocess/height", json!(4097)),
        ("/preprocess/resize", json!({"shorter-side": 1})),
        ("/preprocess/std/0", json!(0.0)),
        ("/preprocess/std/1", json!(-1.0)),
        ("/preprocess/mean/0", json!(1e300)),
        ("/vocabulary", json!([])),
        ("/vocabulary", json!(["a", "b"])),
        ("/vocabulary", json!(vec!["word"; 1000])),
        ("/special/end", json!(1_000_000)),
        ("/special/start", json!(u32::MAX)),
        ("/suppress", json!([0, 0, 0, 0, 0])),
        ("/suppress", json!([u32::MAX])),
    ];
    for (pointer, value) in wrong {
        let description = parts.described(pointer, value.clone());
        let error = build(parts.file(&description, None, &None), Backend::Cpu)
            .map(|_| ())
            .expect_err(&format!("{pointer} = {value}"));
        assert!(matches!(error, Error::Model(_)), "{pointer} = {value}: {error}");
    }
}

/// Extreme but valid values are accepted: beams and lengths are limited by the engine, and a photo may have a single pixel.
#[test]
fn models_with_extreme_descriptions_can_caption() {
    let parts = small("pair");
    let extreme = [
        ("/decoders/0/beam", json!(u32::MAX)),
        ("/decoders/0/max_length", json!(u32::MAX)),
        ("/preprocess/width", json!(1)),
        ("/preprocess/std/0", json!(1e-30)),
    ];
    for (pointer, value) in extreme {
        let description = parts.described(pointer, value);
        let model = Model::from_bytes("hostile", parts.file(&description, None, &None)).unwrap();
        let length = if pointer.ends_with("max_length") { None } else { Some(1) };
        let options = CaptionOptions { max_length: length, ..CaptionOptions::default() };
        let captioner = Captioner::new(&model, Backend::Cpu, &options).unwrap();
        let _ = captioner.caption(&photo());
    }
}

fn photo() -> Rgb8 {
    Rgb8::new(4, 4, (0..4 * 4 * 3).collect()).unwrap()
}

/// Finite weights whose sums overflow: the result is an error or a caption, on every backend.
#[test]
fn overflow_is_an_error_or_a_caption_without_nan() {
    let shared = shared();
    for name in ["pair", "whole"] {
        let parts = small(name);
        for value in [f32::MAX, 1e30, f32::MIN_POSITIVE / 2.0, 0.0] {
            let parts = parts.filled(value);
            for backend in [Backend::Cpu, Backend::Gpu(&shared.gpu)] {
                let captioner = build(parts.file(&parts.description, None, &None), backend);
                let caption = captioner.and_then(|captioner| captioner.caption(&photo()));
                match caption {
                    Ok(caption) => assert!(!caption.log_prob.is_nan(), "{name} of {value}: {caption:?}"),
                    Err(error) => {
                        assert!(error.to_string().contains("overflow"), "{name} of {value}: {error}")
                    }
                }
            }
        }
    }
}
