//! Checkpoints and vocabularies made by `tools/checkpoints.py`, compared with the values that PyTorch reads; then the same
//! files, truncated and damaged.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::Value;
use shadetell::checkpoint::{
    Checkpoint, CheckpointError, SpecialWords, StateDict, Tensor, Vocabulary, architecture,
};
use shadetell::engine::ElementType;
use shadetell::weights::Special;
use std::fs;
use std::path::PathBuf;

const CHECKPOINTS: [&str; 7] = [
    "encoder-legacy.pkl",
    "decoder-parallel-zip.pth",
    "modules-zip.pth.tar",
    "modules-legacy.pth.tar",
    "views-zip.pth",
    "views-legacy.pth",
    "tensors.tar",
];

const VOCABULARIES: [&str; 9] = [
    "vocab-0.pkl",
    "vocab-1.pkl",
    "vocab-2.pkl",
    "vocab-3.pkl",
    "vocab-4.pkl",
    "vocab-5.pkl",
    "vocab-python2.pkl",
    "wordmap.json",
    "words.txt",
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&bytes("expected.json")).unwrap()
}

fn dtype(element: ElementType) -> &'static str {
    match element {
        ElementType::F64 => "float64",
        ElementType::F32 => "float32",
        ElementType::F16 => "float16",
        ElementType::BF16 => "bfloat16",
        ElementType::I64 => "int64",
        ElementType::I32 => "int32",
        ElementType::F8E4M3 => "float8_e4m3fn",
        ElementType::F8E5M2 => "float8_e5m2",
        ElementType::U64 => "uint64",
        ElementType::U32 => "uint32",
        ElementType::U16 => "uint16",
        ElementType::I16 => "int16",
        ElementType::I8 => "int8",
        ElementType::U8 => "uint8",
        ElementType::Bool => "bool",
    }
}

/// The difference between a tensor and the values that PyTorch reads, if there is one.
fn difference(tensor: &Tensor<'_>, expected: &Value) -> Option<String> {
    let numbers = |key: &str| expected[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
    let shape: Vec<usize> = numbers("shape").map(|n| n as usize).collect();
    let values: Vec<f32> = numbers("values").map(|v| v as f32).collect();
    let found = (dtype(tensor.element_type()), tensor.shape(), tensor.to_f32());
    let expected = (expected["dtype"].as_str().unwrap(), shape.as_slice(), values);
    (found != expected).then(|| format!("expected {expected:?}, found {found:?}"))
}

#[test]
fn every_container_gives_the_tensors_that_pytorch_reads() {
    let expected = expected();
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(&path(name)).unwrap();
        let dicts = checkpoint.state_dicts().unwrap();
        let parts = expected[name].as_object().unwrap();
        assert_eq!(dicts.len(), parts.len(), "{name}");
        for (part, tensors) in parts {
            let dict = dicts.iter().find(|dict| dict.name == *part).unwrap();
            let tensors = tensors.as_object().unwrap();
            assert_eq!(dict.tensors().len(), tensors.len(), "{name} {part}");
            for (tensor, expected) in tensors {
                let bare = tensor.strip_prefix("module.").unwrap_or(tensor);
                let found = dict.get(bare).unwrap_or_else(|| panic!("{name} {part}: no {tensor}"));
                assert_eq!(difference(found, expected), None, "{name} {part} {tensor}");
            }
        }
    }
}

#[test]
fn networks_are_recognised_by_their_keys() {
    let network = |file: &str, part: &str| {
        let checkpoint = Checkpoint::open(&path(file)).unwrap();
        let dicts = checkpoint.state_dicts().unwrap();
        let (networks, errors) =
            architecture::recognise(dicts.iter().find(|dict| dict.name == part).unwrap());
        assert!(networks.len() == 1 && errors.is_empty(), "{file}: {networks:?} {errors:?}");
        networks[0].to_string()
    };
    assert_eq!(network("encoder-legacy.pkl", ""), "resnet18");
    let show_tell = "show-tell decoder: 7 words, embedding 3, hidden 4, 2 LSTM layers";
    assert_eq!(network("decoder-parallel-zip.pth", "state_dict"), show_tell);
    let attention =
        "show-attend-tell decoder: 7 words, embedding 3, hidden 4, attention 5 over 2 channels, LSTM";
    for file in ["modules-zip.pth.tar", "modules-legacy.pth.tar"] {
        assert_eq!(network(file, "encoder"), "resnet18");
        assert_eq!(network(file, "decoder"), attention);
    }
    let views = Checkpoint::open(&path("views-zip.pth")).unwrap();
    let message = architecture::nothing_known(&views.state_dicts().unwrap()[0]).to_string();
    assert!(message.contains("`whole` [24]") && message.contains("`lstm.weight_ih_l0`"), "{message}");
}

#[test]
fn classes_of_pickled_modules_are_reported() {
    let checkpoint = Checkpoint::open(&path("modules-zip.pth.tar")).unwrap();
    let classes: Vec<_> =
        checkpoint.state_dicts().unwrap().into_iter().filter_map(|dict| dict.class).collect();
    assert_eq!(classes, ["__main__.Encoder", "__main__.DecoderWithAttention"]);
}

#[test]
fn vocabularies_of_every_kind_are_read() {
    let words = ["<pad>", "<start>", "<end>", "<unk>", "dog", "café"];
    for name in VOCABULARIES {
        let vocabulary = Vocabulary::open(&path(name)).unwrap();
        let special = vocabulary.special(&SpecialWords::default()).unwrap();
        if name == "wordmap.json" {
            assert_eq!(vocabulary.words, ["<pad>", "dog", "café", "<unk>", "<start>", "<end>"]);
            assert_eq!(special, Special { pad: 0, start: 4, end: 5, unk: 3 });
        } else {
            assert_eq!(vocabulary.words, words, "{name}");
            assert_eq!(special, Special { pad: 0, start: 1, end: 2, unk: 3 }, "{name}");
        }
    }
}

/// `tools/checkpoints.py` writes the same words into each of these files.
#[test]
fn vocabularies_in_other_containers_are_read() {
    let files: Vec<PathBuf> =
        fs::read_dir(path("vocabularies")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 28);
    for file in files {
        let words = Vocabulary::open(&file).map(|vocabulary| vocabulary.words);
        let expected = ["<pad>", "<start>", "<end>", "<unk>", "dog", "café"].map(str::to_owned).to_vec();
        assert_eq!(words, Ok(expected), "{}", file.display());
    }
}

/// All contents of a file, or the error.
fn read(name: &str, bytes: Vec<u8>) -> Result<Vec<(String, Vec<f32>)>, CheckpointError> {
    let flat = |dicts: &[StateDict<'_>]| {
        let tensors = dicts.iter().flat_map(|dict| dict.tensors());
        tensors.map(|(name, tensor)| (name.clone(), tensor.to_f32())).collect()
    };
    if VOCABULARIES.contains(&name) {
        let words = Vocabulary::from_bytes(name, &bytes)?.words;
        return Ok(words.into_iter().map(|word| (word, Vec::new())).collect());
    }
    Checkpoint::from_bytes(name, bytes)?.state_dicts().map(|dicts| flat(&dicts))
}

/// The step at which about this many offsets of a file are tried.
fn places(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by((len / count).max(1))
}

#[test]
fn a_truncated_file_is_an_error_with_its_name() {
    for name in CHECKPOINTS.into_iter().chain(VOCABULARIES) {
        let whole = bytes(name);
        let expected = read(name, whole.clone()).unwrap();
        let mut errors = 0;
        for length in places(whole.len(), 4000) {
            match read(name, whole[..length].to_vec()) {
                Err(error) => {
                    assert!(error.to_string().starts_with(&format!("{name}: ")), "{length}: {error}");
                    errors += 1;
                }
                // The first letters of a protocol 0 pickle can be read as words, and a list of words may end at any place.
                Ok(_) if name.ends_with(".txt") || (name == "vocab-0.pkl" && length < 10) => {}
                // The padding of a tar file may be missing.
                Ok(found) => assert!(name.ends_with(".tar") && found == expected, "{name} cut at {length}"),
            }
        }
        assert!(errors > 0, "{name}");
    }
}

#[test]
fn damaged_bytes_never_panic() {
    // Numerical Recipes' generator: the same damage in every run.
    let mut state = 7u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for name in CHECKPOINTS.into_iter().chain(VOCABULARIES) {
        let whole = bytes(name);
        let (mut errors, mut read_all_the_same) = (0, 0);
        for place in places(whole.len(), 2000) {
            let mut damaged = whole.clone();
            damaged[place] ^= (random() % 255 + 1) as u8;
            // In half of the cases, a second byte, far away.
            if random() % 2 == 0 {
                let other = random() as usize % whole.len();
                damaged[other] = random() as u8;
            }
            match read(name, damaged) {
                Ok(_) => read_all_the_same += 1,
                Err(error) => {
                    assert!(error.to_string().starts_with(name), "{error}");
                    errors += 1;
                }
            }
        }
        assert!(errors > 0 && read_all_the_same > 0, "{name}: {errors} errors, {read_all_the_same} read");
    }
}

#[test]
fn a_file_that_is_not_a_checkpoint_is_reported() {
    let message = |bytes: &[u8]| Checkpoint::from_bytes("x", bytes.to_vec()).unwrap_err().to_string();
    assert!(message(b"").contains("empty"), "{}", message(b""));
    let photo = message(b"\xFF\xD8\xFF\xE0 a photo, say");
    assert!(photo.starts_with("x: expected a PyTorch file, found"), "{photo}");
    // A Git LFS pointer.
    let pointer = message(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
    assert!(pointer.contains("git lfs"), "{pointer}");
}
