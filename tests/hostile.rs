//! Files that are made to exhaust time or memory. Each is read or refused within bounds that are proportional to its length.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

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

/// Writes pickles by their opcodes.
#[derive(Default)]
struct Pickler(Vec<u8>);

impl Pickler {
    fn new() -> Pickler {
        Pickler(b"\x80\x02".to_vec())
    }

    fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    fn get(&mut self, place: u8) -> &mut Self {
        self.op(&[b'h', place])
    }

    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    /// An empty tensor in the memory of key 0.
    fn tensor(&mut self) -> &mut Self {
        self.global("torch._utils", "_rebuild_tensor_v2").op(b"((").text("storage");
        self.global("torch", "FloatStorage").text("0").text("cpu").op(b"K\0tQK\0K\0\x85K\x01\x85\x89)tR")
    }

    fn end(&mut self) -> Vec<u8> {
        self.op(b".");
        std::mem::take(&mut self.0)
    }
}

/// Dictionaries, each of which contains the previous one twice.
fn shared_dictionaries(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"}q\0");
    for level in 1..=levels {
        pickle.op(b"}q").op(&[level]).op(b"(X\x01\0\0\0a").get(level - 1);
        pickle.op(b"X\x01\0\0\0b").get(level - 1).op(b"u");
    }
    pickle.end()
}

/// Modules, each of which contains the previous one twice.
fn shared_modules(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.global("models", "Net").op(b"q\xFF0N");
    for level in 0..levels {
        pickle.op(b"q").op(&[level]).op(b"0").get(0xFF).op(b")\x81}(").text("_modules").op(b"}(");
        pickle.text("a").get(level).text("b").get(level).op(b"uub");
    }
    pickle.end()
}

/// A dictionary that contains itself twice.
fn cycle() -> Vec<u8> {
    Pickler::new().op(b"}q\0(").text("a").get(0).text("b").get(0).op(b"u").end()
}

/// Tuples and lists, each of which contains the previous one twice, in the place of a dictionary's entries.
fn shared_sequences(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"]q\0");
    for level in 1..=levels {
        if level % 2 == 0 {
            pickle.op(b"]q").op(&[level]).op(b"(").get(level - 1).get(level - 1).op(b"e");
        } else {
            pickle.get(level - 1).get(level - 1).op(b"\x86q").op(&[level]);
        }
    }
    pickle.global("collections", "OrderedDict").op(b"(").get(levels).op(b"tR").end()
}

/// An `OrderedDict` with the same entries many times.
fn repeated_arguments(count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"}q\0(");
    for _ in 0..count {
        pickle.op(b"NN");
    }
    pickle.op(b"u0").global("collections", "OrderedDict").op(b"(");
    for _ in 0..count {
        pickle.get(0);
    }
    pickle.op(b"tR").end()
}

/// Many tensors of one long name.
fn long_name(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.text(&"n".repeat(length)).op(b"q\x000").tensor().op(b"q\x010}(");
    for _ in 0..count {
        pickle.get(0).get(1);
    }
    pickle.op(b"u").end()
}

/// A module of a long name with many parameters.
fn long_prefix(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.tensor().op(b"q\x000").global("models", "Net").op(b"q\x010");
    pickle.get(1).op(b")\x81}(").text("_parameters").op(b"}(");
    for _ in 0..count {
        pickle.op(b"X\x01\0\0\0w").get(0);
    }
    pickle.op(b"uubq\x020").get(1).op(b")\x81}(").text("_modules").op(b"}(");
    pickle.text(&"n".repeat(length)).get(2).op(b"uub").end()
}

/// Many calls that share long arguments.
fn long_arguments(count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.global("torch._utils", "_rebuild_tensor_v2").op(b"((").text("storage");
    pickle.global("torch", "FloatStorage").text("0").text("cpu").op(b"K\0tQK\0K\0\x85K\x01\x85");
    for _ in 0..count {
        pickle.op(b"N");
    }
    pickle.op(b"tRq\x000}(");
    for _ in 0..count {
        pickle.op(b"X\x01\0\0\0w").get(0);
    }
    pickle.op(b"u").end()
}

/// Many references to memory whose key is long.
fn long_key(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"(").text("storage").global("torch", "FloatStorage").text(&"k".repeat(length)).text("cpu");
    pickle.op(b"K\0tq\x000(");
    for _ in 0..count {
        pickle.get(0).op(b"Q");
    }
    pickle.op(b"t").end()
}

/// Many classes whose names are one long text.
fn long_class(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.text(&"n".repeat(length)).op(b"q\x000");
    for _ in 0..count {
        pickle.get(0).get(0).op(b"\x930");
    }
    pickle.op(b"N").end()
}

/// Tensors of these names, which share one empty memory.
fn tensors(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.tensor().op(b"q\x000}(");
    for name in names {
        pickle.text(&name).get(0);
    }
    pickle.op(b"u").end()
}

/// A pickle as PyTorch's zip container holds it, with empty memory of key 0.
fn zip(pickle: &[u8]) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("a/data.pkl", pickle), ("a/data/0", b"")] {
        let size = (data.len() as u32).to_le_bytes();
        let lengths = [&(name.len() as u16).to_le_bytes()[..], &[0, 0]].concat();
        let offset = (body.len() as u32).to_le_bytes();
        body.extend([b"PK\x03\x04", &[0; 14][..], &size, &size, &lengths, name.as_bytes(), data].concat());
        let middle = [&[0; 16][..], &size, &size, &lengths, &[0; 10], &offset].concat();
        directory.extend([b"PK\x01\x02", &middle[..], name.as_bytes()].concat());
    }
    let (length, offset) = ((directory.len() as u32).to_le_bytes(), (body.len() as u32).to_le_bytes());
    [&body[..], &directory, b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &length, &offset, &[0; 2]].concat()
}

/// The same in the legacy container (before PyTorch 1.6), without memory.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    [magic, &b"\x80\x02M\xe9\x03."[..], b"\x80\x02}.", pickle, b"\x80\x02]."].concat()
}

/// The same in the tar container (before PyTorch 0.1.10), without memory.
fn tar(pickle: &[u8]) -> Vec<u8> {
    let none = b"\x80\x02K\0.";
    let mut file = Vec::new();
    for (name, data) in [
        ("storages", [none, &b"\x80\x02]."[..]].concat()),
        ("tensors", none.to_vec()),
        ("pickle", pickle.to_vec()),
    ] {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[257..262].copy_from_slice(b"ustar");
        file.extend(header);
        file.extend(&data);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file
}

/// Reads all tensors of a checkpoint; returns their number, or the error.
fn read(bytes: &[u8]) -> Result<usize, CheckpointErrorKind> {
    let checkpoint = Checkpoint::from_bytes("hostile", bytes.to_vec()).map_err(|error| error.kind)?;
    let dicts = checkpoint.state_dicts().map_err(|error| error.kind)?;
    for dict in &dicts {
        let _ = architecture::recognise(dict);
        architecture::split(dict).iter().for_each(|part| drop(architecture::recognise(part)));
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
