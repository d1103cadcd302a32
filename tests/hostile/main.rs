//! Files that are made to exhaust time or memory. Each is read or refused within bounds that are proportional to its length.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod files;

use files::*;
use shadetell::checkpoint::{
    Checkpoint, CheckpointErrorKind, ConvertOptions, TensorFile, Vocabulary, architecture, convert,
};
use shadetell::image::Rgb8;
use shadetell::weights::{Model, ModelErrorKind};
use shadetell::{Backend, CaptionOptions, Captioner, Error};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Counts the memory that each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.with(|held| {
            held.set(held.get() + layout.size());
            PEAK.with(|peak| peak.set(peak.get().max(held.get())));
        });
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The processor time of this thread, which other processes do not affect.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Memory that reading a file of this length may take, in addition to the file.
fn allowed(length: usize) -> usize {
    50_000_000 + 200 * length
}

/// Runs a reader, which has to take less than a second and little memory.
#[track_caller]
fn bounded<T>(name: &str, length: usize, read: impl FnOnce() -> T) -> T {
    let held = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(held));
    let before = processor_time();
    let result = read();
    let time = processor_time() - before;
    let memory = PEAK.with(Cell::get) - held;
    assert!(time < Duration::from_secs(1), "{name} took {time:?}");
    assert!(memory < allowed(length), "{name} of {length} bytes took {memory} bytes of memory");
    result
}

/// Reads all tensors of a checkpoint; returns their number, or the error.
fn read(bytes: &[u8]) -> Result<usize, CheckpointErrorKind> {
    let checkpoint = Checkpoint::from_bytes("hostile", bytes.to_vec()).map_err(|error| error.kind)?;
    let dicts = checkpoint.state_dicts().map_err(|error| error.kind)?;
    for dict in &dicts {
        let _ = architecture::recognise(dict);
    }
    Ok(dicts.iter().map(|dict| dict.tensors().len()).sum())
}

#[track_caller]
fn is_too_much<T: std::fmt::Debug>(name: &str, result: Result<T, CheckpointErrorKind>) {
    let error = result.expect_err(name);
    assert!(matches!(error, CheckpointErrorKind::Budget(_)), "{name}: {error}");
    assert!(error.to_string().contains("made to exhaust memory"), "{error}");
}

#[test]
fn shared_objects_are_refused_in_every_container() {
    let pickles = [
        ("dictionaries", shared_dictionaries(32)),
        ("modules", shared_modules(33)),
        ("arguments", repeated_arguments(20_000)),
    ];
    for (name, pickle) in pickles {
        for (container, file) in [("zip", zip(&pickle)), ("legacy", legacy(&pickle)), ("tar", tar(&pickle))] {
            let name = format!("{name} in {container}");
            is_too_much(&name, bounded(&name, file.len(), || read(&file)));
        }
    }
    assert!(zip(&shared_dictionaries(33)).len() < 1100);
}

#[test]
fn dictionaries_that_are_nested_too_deeply_are_refused() {
    for file in [
        zip(&cycle()),
        zip(&shared_dictionaries(33)),
        legacy(&shared_dictionaries(100)),
        tar(&shared_dictionaries(200)),
    ] {
        let error = bounded("deep", file.len(), || read(&file)).unwrap_err().to_string();
        assert!(error.contains("32 deep"), "{error}");
    }
}

#[test]
fn long_text_is_not_copied_for_each_reference() {
    for (name, pickle) in [
        ("name", long_name(100_000, 50_000)),
        ("prefix", long_prefix(100_000, 50_000)),
        ("arguments", long_arguments(50_000)),
    ] {
        let file = zip(&pickle);
        is_too_much(name, bounded(name, file.len(), || read(&file)));
    }
    let file = legacy(&long_key(100_000, 50_000));
    is_too_much("key", bounded("key", file.len(), || read(&file)));
    let file = zip(&long_class(100_000, 50_000));
    let error = bounded("class", file.len(), || read(&file)).unwrap_err().to_string();
    assert!(error.contains("of up to 255 bytes"), "{error}");
}

#[test]
fn many_tensors_take_time_in_proportion() {
    let many = 20_000;
    let cases: [(&str, Box<dyn Iterator<Item = String>>); 4] = [
        ("blocks", Box::new((0..many).map(|n| format!("layer1.{n}.conv1.weight")))),
        ("layers", Box::new((0..many).map(|n| format!("lstm.weight_ih_l{n}")))),
        ("parts", Box::new((0..many).map(|n| format!("{n}.weight")))),
        ("wrapper", Box::new(std::iter::once("module.".repeat(200_000)))),
    ];
    for (name, names) in cases {
        let file = zip(&tensors(names));
        let expected = if name == "wrapper" { 1 } else { many };
        assert_eq!(bounded(name, file.len(), || read(&file)), Ok(expected), "{name}");
    }
}

#[test]
fn headers_of_many_tensors_take_time_in_proportion() {
    let tensors: String = (0..20_000)
        .map(|n| format!(r#""{n}.weight":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},"#))
        .collect();
    let header = format!(r#"{{{tensors}"__metadata__":{{"shadetell":"{{}}"}}}}"#);
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let kind = bounded("model", file.len(), || Model::from_bytes("hostile", file.clone())).unwrap_err().kind;
    assert!(matches!(kind, ModelErrorKind::Inconsistent(_)), "{kind}");
    let count = bounded("tensors", 2 * file.len(), || {
        let tensors = TensorFile::from_bytes("hostile", file.clone()).unwrap();
        tensors.state_dicts().unwrap()[0].tensors().len()
    });
    assert_eq!(count, 20_000);
}

#[test]
fn shared_tuples_and_lists_are_read_in_time() {
    let pickle = shared_sequences(200);
    let file = zip(&pickle);
    let error = bounded("sequences", file.len(), || read(&file)).unwrap_err();
    assert!(error.to_string().contains("without any"), "{error}");
    let error =
        bounded("sequences", pickle.len(), || Vocabulary::from_bytes("hostile", &pickle)).unwrap_err();
    assert!(error.to_string().contains("found a pickle with none"), "{error}");
}

#[test]
fn vocabularies_are_read_in_time() {
    let read = |name: &str, bytes: &[u8]| {
        bounded(name, bytes.len(), || Vocabulary::from_bytes("hostile", bytes)).map_err(|error| error.kind)
    };
    // Each dictionary is read once: visiting all paths would never end, and there is no word in them.
    for (name, pickle) in
        [("dictionaries", shared_dictionaries(200)), ("modules", shared_modules(200)), ("cycle", cycle())]
    {
        let error = read(name, &pickle).unwrap_err().to_string();
        assert!(error.contains("found a pickle with none"), "{name}: {error}");
    }
    // A word a hundred thousand bytes long under fifty thousand ids.
    let mut pickle = Pickler::new();
    pickle.text(&"w".repeat(100_000)).op(b"q\x000](");
    for _ in 0..50_000 {
        pickle.get(0);
    }
    is_too_much("long word", read("long word", &pickle.op(b"e").end()));
    // Twenty thousand references to the same dictionary.
    is_too_much("arguments", read("arguments", &repeated_arguments(20_000)));

    for (name, text) in [
        ("lists", "[".repeat(1_000_000)),
        ("objects", r#"{"a":"#.repeat(1_000_000)),
        ("ids", r#"{"a": 9999999, "b": 9999998}"#.to_owned()),
    ] {
        let error = read(name, text.as_bytes()).unwrap_err();
        assert!(matches!(error, CheckpointErrorKind::Vocabulary(_)), "{name}: {error}");
    }
    let lists = format!("[{}]", vec!["[]"; 500_000].join(","));
    assert!(read("list of lists", lists.as_bytes()).unwrap_err().to_string().contains("found a list"));
    let words: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(read("text", words.as_bytes()).unwrap().words.len(), 100_000);
}

/// A file that PyTorch wrote.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a fixture, to be changed by a test.
fn copied(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join("copy");
    fs::copy(fixture(name), &path).unwrap();
    path
}

/// Changes every byte of a file in place.
fn overwrite(path: &Path, byte: u8) {
    use std::io::Write;
    let len = fs::metadata(path).unwrap().len() as usize;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(&vec![byte; len]).unwrap();
}

#[test]
fn overwriting_an_open_checkpoint_changes_only_values() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["modules-zip.pth.tar", "modules-legacy.pth.tar", "tensors.tar", "views-zip.pth"] {
        let path = copied(folder.path(), &format!("checkpoints/{name}"));
        let file = TensorFile::open(&path).unwrap();
        let describe = |file: &TensorFile| -> Vec<String> {
            let dicts = file.state_dicts().unwrap();
            dicts
                .iter()
                .flat_map(|dict| dict.tensors())
                .map(|(name, tensor)| format!("{name} {tensor:?}"))
                .collect()
        };
        let before = describe(&file);
        overwrite(&path, 0xFF);
        assert_eq!(describe(&file), before, "{name}");
        let dicts = file.state_dicts().unwrap();
        for (name, tensor) in dicts.iter().flat_map(|dict| dict.tensors()) {
            let is_changed = |value: &f32| value.is_nan() || [-1.0, 1.0, 255.0].contains(value);
            assert!(tensor.to_f32().iter().all(is_changed), "{name}: {:?}", tensor.to_f32());
        }
    }
}

#[test]
fn overwriting_an_open_model_changes_only_values() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| TensorFile::open(&fixture(&format!("parity/{name}"))).unwrap();
    let (encoder, decoder) = (open("pair-encoder.pkl"), open("pair-decoder.pkl"));
    let words = Vocabulary::open(&fixture("parity/pair-vocab.pkl")).unwrap();
    let path = folder.path().join("model.safetensors");
    convert(&encoder, &decoder, ("words", &words), &ConvertOptions::default())
        .unwrap()
        .model
        .write(&path, false)
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let model = Model::open(&path).unwrap();
    let manifest = model.manifest().clone();
    let photo = Rgb8::new(8, 8, vec![100; 8 * 8 * 3]).unwrap();
    let captioner = Captioner::new(&model, Backend::Cpu, &CaptionOptions::default()).unwrap();
    assert!(captioner.caption(&photo).is_ok());

    // The header too: its contents have been copied.
    overwrite(&path, 0x3D);
    assert_eq!(*model.manifest(), manifest);
    assert_eq!(
        model.tensor("show_tell.linear.bias", &[words.words.len()]).unwrap()[0].to_bits(),
        0x3D3D_3D3D
    );
    assert!(captioner.caption(&photo).is_ok());

    // NaN is refused where weights are read first, and gives no sentence where they are read again.
    overwrite(&path, 0xFF);
    let error = Captioner::new(&model, Backend::Cpu, &CaptionOptions::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Model(e) if matches!(e.kind, ModelErrorKind::NotFinite { .. })),
        "{error}"
    );
    let error = captioner.caption(&photo).unwrap_err().to_string();
    assert!(error.contains("overflow"), "{error}");
    let error = model.copy(false).unwrap_err().to_string();
    assert!(error.contains("finite numbers, found NaN"), "{error}");

    // A new file of the same name is a different file.
    let other = folder.path().join("other");
    fs::write(&other, &whole).unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(Model::open(&path).unwrap().tensor("show_tell.linear.bias", &[words.words.len()]).is_ok());
    assert!(model.tensor("show_tell.linear.bias", &[words.words.len()]).is_err());
}

#[test]
fn a_vocabulary_is_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fs::File::create(&path).unwrap().set_len((256 << 20) + 1).unwrap();
    let error = bounded("words", 256 << 20, || Vocabulary::open(&path)).unwrap_err().to_string();
    assert!(error.contains("at most 268435456 bytes"), "{error}");
    assert!(Vocabulary::open(folder.path()).unwrap_err().to_string().contains("folder"));
}
