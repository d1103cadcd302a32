//! PyTorch's containers: the layouts of pickles and tensor storage in a file.
//!
//! * Zip, since 1.6: `NAME/data.pkl` and `NAME/data/KEY`, stored without compression unless somebody packed them again.
//! * Legacy, before 1.6: five pickles one after another (magic number, protocol, system, object, keys), then the
//!   memory of each key, with its number of elements in front.
//! * Tar, before 0.1.10: `pickle`, `tensors` and `storages`.

use super::budget::Budget;
use super::pickle::{Id, Object, Pickle, Reader, parse, parse_beginning};
use super::tensor::{Layout, Tensor};
use super::{CheckpointError, CheckpointErrorKind, FileKind, open, sniff_file, zip};
use crate::engine::storage::{Bytes, ElementType};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The layout of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Since PyTorch 1.6.
    Zip,
    /// Before PyTorch 1.6.
    Legacy,
    /// Before PyTorch 0.1.10.
    Tar,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Container::Zip => "PyTorch zip",
            Container::Legacy => "PyTorch legacy (before 1.6)",
            Container::Tar => "PyTorch tar (before 0.1.10)",
        })
    }
}

/// A PyTorch file: its objects, and the memory of its tensors as ranges of the file.
pub struct Checkpoint {
    file: String,
    bytes: Bytes,
    container: Container,
    pickle: Pickle,
    parts: Parts,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("file", &self.file)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

/// The layout of the file.
#[derive(Default)]
struct Parts {
    /// Memory by key.
    storages: HashMap<String, Range<usize>>,
    /// Tensors by key: tar files describe them outside of the pickle.
    tensors: HashMap<String, (String, ElementType, Layout)>,
}

/// A pickle's description of a tensor's memory.
struct StorageRef {
    key: String,
    /// The class of the storage, such as `FloatStorage`.
    class: String,
    /// Elements before it: in the first releases, one storage could be a view into another.
    offset: usize,
}

/// Classes of storage whose elements are not read, and the bytes of an element: a file may hold them beside what is needed.
const OTHER_STORAGES: [(&str, usize); 7] = [
    ("ComplexFloatStorage", 8),
    ("ComplexDoubleStorage", 16),
    ("QInt8Storage", 1),
    ("QUInt8Storage", 1),
    ("QUInt4x2Storage", 1),
    ("QUInt2x4Storage", 1),
    ("QInt32Storage", 4),
];

impl StorageRef {
    fn element(&self) -> Option<ElementType> {
        ElementType::of_storage(&self.class)
    }

    /// Bytes of an element.
    fn width(&self) -> Option<usize> {
        let other = || OTHER_STORAGES.iter().find(|(class, _)| *class == self.class).map(|&(_, width)| width);
        self.element().map(ElementType::size).or_else(other)
    }
}

fn damaged(message: impl Into<String>) -> CheckpointErrorKind {
    CheckpointErrorKind::Container(message.into())
}

impl Checkpoint {
    /// Maps a file into memory and reads the descriptions of its tensors, but not their values.
    ///
    /// If the file is overwritten while it is mapped, the tensors have other values; if it becomes shorter, the process ends with
    /// a signal (SIGBUS).
    ///
    /// # Errors
    /// The file cannot be read, is not a PyTorch file, or is damaged.
    pub fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let file = path.display().to_string();
        let bytes = open(path).map_err(|kind| CheckpointError::new(&file, kind))?;
        Self::read(file, bytes)
    }

    /// Reads a file that is in memory already; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Checkpoint, CheckpointError> {
        Self::read(file.to_owned(), bytes.into())
    }

    pub(super) fn read(file: String, bytes: Bytes) -> Result<Checkpoint, CheckpointError> {
        let read = |bytes: Bytes| match sniff_file(&bytes) {
            FileKind::TorchZip => {
                let (bytes, entries) = zip::read(bytes)?;
                let (pickle, parts) = read_zip(&bytes, &entries)?;
                Ok((Container::Zip, bytes, pickle, parts))
            }
            FileKind::TorchLegacy => {
                read_legacy(&bytes).map(|(pickle, parts)| (Container::Legacy, bytes, pickle, parts))
            }
            FileKind::TorchTar => {
                read_tar(&bytes).map(|(pickle, parts)| (Container::Tar, bytes, pickle, parts))
            }
            other => {
                let found = other.description().to_owned();
                Err(CheckpointErrorKind::Foreign { expected: "a PyTorch file", found })
            }
        };
        let (container, bytes, pickle, parts) =
            read(bytes).map_err(|kind| CheckpointError::new(&file, kind))?;
        Ok(Checkpoint { file, bytes, container, pickle, parts })
    }

    /// The name of the file in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The container of the file.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The objects in it.
    pub fn pickle(&self) -> &Pickle {
        &self.pickle
    }

    pub(super) fn error(&self, kind: CheckpointErrorKind) -> CheckpointError {
        CheckpointError::new(&self.file, kind)
    }

    /// The budget for the values of its tensors.
    pub(super) fn budget(&self) -> Budget {
        Budget::of_bytes(self.bytes.len())
    }

    /// The tensor that an object stands for; `None` for other objects.
    pub(super) fn tensor<'a>(
        &'a self,
        reader: &Reader<'a>,
        name: &str,
        object: &'a Object,
    ) -> Result<Option<Tensor<'a>>, CheckpointErrorKind> {
        let wrong = |message: String| CheckpointErrorKind::Tensor { name: name.to_owned(), message };
        if let Object::Persistent(id) = object {
            let Some((storage, element, layout)) = self.parts.tensors.get(&key_of(reader, *id)) else {
                return Ok(None);
            };
            let memory = self.memory(storage).ok_or_else(|| wrong("its memory is missing".to_owned()))?;
            return Tensor::new(name, &self.bytes, memory, *element, layout.clone()).map(Some);
        }
        let Some((call, (module, function))) = reader.call(object) else { return Ok(None) };
        let arguments = reader.sequence(call.arguments).unwrap_or_default();
        let is_wrapper = (module == "torch._utils" && function.starts_with("_rebuild_parameter"))
            || (module.starts_with("torch.nn.parameter") && function == "Parameter");
        // A parameter wraps a tensor, never another parameter.
        let inner = if is_wrapper { arguments.first().map(|&id| reader.get(id)) } else { Some(object) };
        inner.map_or(Ok(None), |inner| self.dense_tensor(reader, name, inner))
    }

    fn dense_tensor<'a>(
        &'a self,
        reader: &Reader<'a>,
        name: &str,
        object: &'a Object,
    ) -> Result<Option<Tensor<'a>>, CheckpointErrorKind> {
        let wrong = |message: &str| CheckpointErrorKind::Tensor {
            name: name.to_owned(),
            message: message.to_owned(),
        };
        let unsupported =
            |message: String| CheckpointErrorKind::UnsupportedTensor { name: name.to_owned(), message };
        if let Object::Persistent(_) = object {
            return self.tensor(reader, name, object);
        }
        let Some((call, (module, function))) = reader.call(object) else { return Ok(None) };
        if !["torch._utils", "torch._tensor", "torch"].contains(&module) || !function.starts_with("_rebuild")
        {
            return Ok(None);
        }
        if !["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"].contains(&function) {
            let kinds = [
                ("sparse", "a sparse one"),
                ("qtensor", "a quantised one"),
                ("meta", "one without values (on the device `meta`)"),
            ];
            let kind = kinds.iter().find(|(part, _)| function.contains(part)).map_or("one", |(_, kind)| kind);
            let message = format!(
                "expected a dense tensor, found {kind} (`{function}`): save it as `tensor.to_dense()` or `.dequantize()`"
            );
            return Err(unsupported(message));
        }
        let Some(&[storage, offset, shape, strides, ref rest @ ..]) = reader.sequence(call.arguments) else {
            return Err(wrong("expected memory, offset, sizes and strides"));
        };
        let Object::Persistent(reference) = *reader.get(storage) else {
            return Err(wrong("expected memory outside of the pickle"));
        };
        let storage =
            storage_ref(reader, reference).ok_or_else(|| wrong("its memory is described wrongly"))?;
        // `_rebuild_tensor_v3` has the element type after the arguments for gradients and hooks.
        let dtype = rest.iter().filter_map(|&id| reader.global(id)).find(|g| g.0 == "torch");
        let element = dtype.map_or_else(|| storage.element(), |(_, name)| ElementType::of_dtype(name));
        let Some(element) = element else {
            let found = dtype.map_or(storage.class.as_str(), |(_, name)| name);
            return Err(unsupported(format!(
                "expected real numbers of a known type, found `{found}`: save it as `tensor.float()`"
            )));
        };
        let sizes =
            |id: Id| reader.sequence(id).and_then(|ids| ids.iter().map(|&id| reader.size(id)).collect());
        let (Some(offset), Some(shape), Some(strides)) = (reader.size(offset), sizes(shape), sizes(strides))
        else {
            return Err(wrong("expected sizes and strides that are not negative"));
        };
        let memory = self.memory(&storage.key).ok_or_else(|| wrong("its memory is missing from the file"))?;
        let start =
            storage.offset.saturating_mul(element.size()).saturating_add(memory.start).min(memory.end);
        let layout = Layout { shape, strides, offset };
        Tensor::new(name, &self.bytes, start..memory.end, element, layout).map(Some)
    }

    fn memory(&self, key: &str) -> Option<Range<usize>> {
        self.parts.storages.get(key).filter(|range| range.end <= self.bytes.len()).cloned()
    }
}

/// A key, which may be text or a number.
fn key_of(reader: &Reader<'_>, id: Id) -> String {
    reader.text(id).map_or_else(|| reader.int(id).map_or_else(String::new, |n| n.to_string()), str::to_owned)
}

/// `('storage', class, key, device, elements[, (view key, offset, elements)])`. The device does not matter.
fn storage_ref(reader: &Reader<'_>, id: Id) -> Option<StorageRef> {
    let &[kind, class, key, _, _, ref view @ ..] = reader.sequence(id)? else { return None };
    if reader.text(kind) != Some("storage") {
        return None;
    }
    let (_, class) = reader.global(class)?;
    reader.spend(class.len()).ok()?;
    let offset = match view.first().and_then(|&view| reader.sequence(view)) {
        Some(&[_, offset, _]) => reader.size(offset)?,
        _ => 0,
    };
    Some(StorageRef { key: key_of(reader, key), class: class.to_owned(), offset })
}

fn read_zip(bytes: &Bytes, entries: &[zip::Entry]) -> Result<(Pickle, Parts), CheckpointErrorKind> {
    let has = |name: &str| entries.iter().any(|e| e.name.rsplit('/').next() == Some(name));
    let Some(data) = entries.iter().find(|e| e.name == "data.pkl" || e.name.ends_with("/data.pkl")) else {
        let names: Vec<&str> = entries.iter().take(4).map(|e| e.name.as_str()).collect();
        let found = format!("a zip archive with {names:?} and no `data.pkl` in it");
        return Err(CheckpointErrorKind::Foreign { expected: "a PyTorch file", found });
    };
    if has("constants.pkl") {
        let found =
            "a TorchScript archive: load it with `torch.jit.load` and save its `state_dict()`".to_owned();
        return Err(CheckpointErrorKind::Foreign { expected: "a PyTorch checkpoint", found });
    }
    let folder = data.name.strip_suffix("data.pkl").unwrap_or_default();
    let order = entries.iter().find(|e| e.name.strip_prefix(folder) == Some("byteorder"));
    if order.is_some_and(|e| bytes.read_up_to(e.range.start, e.range.len().min(3)) == b"big") {
        return Err(damaged("it was written on a big-endian machine"));
    }
    let (pickle, _) = parse(&bytes.read(data.range.clone()).unwrap_or_default())?;
    let storage = |e: &zip::Entry| {
        let key = e.name.strip_prefix(folder)?.strip_prefix("data/")?;
        Some((key.to_owned(), e.range.clone()))
    };
    let storages = entries.iter().filter_map(storage).collect();
    Ok((pickle, Parts { storages, ..Parts::default() }))
}

/// Reads pickles and memory one after another.
struct Stream<'a> {
    file: &'a Bytes,
    at: usize,
    end: usize,
}

impl Stream<'_> {
    fn pickle(&mut self) -> Result<Pickle, CheckpointErrorKind> {
        // The file does not state the length of the pickle, and storage of any length may follow.
        let mut length = 1024;
        loop {
            let rest = self.end - self.at;
            let bytes = self.file.read_up_to(self.at, rest.min(length));
            let parsed = if length < rest { parse_beginning(&bytes) } else { parse(&bytes).map(Some) };
            let parsed = parsed.map_err(|mut e| {
                e.offset += self.at;
                e
            })?;
            if let Some((pickle, length)) = parsed {
                self.at += length;
                return Ok(pickle);
            }
            length *= 2;
        }
    }

    fn take(&mut self, count: usize) -> Result<Range<usize>, CheckpointErrorKind> {
        match self.at.checked_add(count) {
            Some(end) if end <= self.end => {
                let range = self.at..end;
                self.at = end;
                Ok(range)
            }
            _ => Err(damaged(format!("it ends {} bytes too early", count - (self.end - self.at)))),
        }
    }

    fn number(&mut self, width: usize) -> Result<usize, CheckpointErrorKind> {
        let range = self.take(width)?;
        let mut word = [0; 8];
        for (place, byte) in word.iter_mut().zip(self.file.read_up_to(range.start, width)) {
            *place = byte;
        }
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| damaged("a length in it is beyond all memory"))
    }

    /// Elements of `width` bytes, preceded by their number.
    fn memory(&mut self, width: usize) -> Result<Range<usize>, CheckpointErrorKind> {
        let count = self.number(8)?;
        self.take(count.saturating_mul(width))
    }
}

fn read_legacy(file: &Bytes) -> Result<(Pickle, Parts), CheckpointErrorKind> {
    let mut stream = Stream { file, at: 0, end: file.len() };
    // The magic number, which was checked before, and the protocol.
    for _ in 0..2 {
        stream.pickle()?;
    }
    let system = stream.pickle()?;
    let is_big = system.read(|reader| {
        let little = reader.entries(reader.root()).and_then(|e| reader.lookup(&e, "little_endian"));
        Ok::<_, CheckpointErrorKind>(little.is_some_and(|id| *reader.get(id) == Object::Bool(false)))
    })?;
    if is_big {
        return Err(damaged("it was written on a big-endian machine"));
    }
    let pickle = stream.pickle()?;
    let keys = stream.pickle()?;
    let widths = pickle.read(|reader| {
        let mut widths = HashMap::new();
        for object in &pickle.objects {
            if let Object::Persistent(id) = object
                && let Some(storage) = storage_ref(reader, *id)
                && let Some(width) = storage.width()
            {
                widths.insert(storage.key, width);
            }
        }
        Ok::<_, CheckpointErrorKind>(widths)
    })?;
    let storages = keys.read(|reader| {
        let Object::List(ids) = reader.root() else { return Err(damaged("its list of keys is missing")) };
        let mut storages = HashMap::new();
        for &id in ids {
            let key = key_of(reader, id);
            let Some(&width) = widths.get(&key) else {
                return Err(damaged(format!("it has memory of key {key}, whose type no tensor states")));
            };
            let range = stream.memory(width)?;
            storages.insert(key, range);
        }
        Ok(storages)
    })?;
    Ok((pickle, Parts { storages, ..Parts::default() }))
}

/// The files of a tar archive by name.
fn tar_entries(file: &Bytes) -> Result<HashMap<String, Range<usize>>, CheckpointErrorKind> {
    let mut entries = HashMap::new();
    let mut at = 0;
    while let Some(header) = file.read(at..at + 512).filter(|h| h[0] != 0) {
        let until_zero = |field: &[u8]| {
            let text: Vec<u8> = field.iter().copied().take_while(|&b| b != 0).collect();
            String::from_utf8_lossy(&text).trim().to_owned()
        };
        let name = until_zero(&header[..100]);
        let size = usize::from_str_radix(&until_zero(&header[124..136]), 8)
            .map_err(|_| damaged(format!("the size of `{name}` is no octal number")))?;
        let end = (at + 512).checked_add(size).filter(|&end| end <= file.len());
        let Some(end) = end else { return Err(damaged(format!("it ends inside of `{name}`"))) };
        entries.insert(name.trim_start_matches("./").to_owned(), at + 512..end);
        at = end.next_multiple_of(512);
    }
    Ok(entries)
}

/// Adds storages that are views into others: a list of `(key, key of the other storage, offset, elements)`.
fn views(
    reader: &Reader<'_>,
    parts: &mut Parts,
    elements: &mut HashMap<String, ElementType>,
) -> Result<(), CheckpointErrorKind> {
    let Object::List(ids) = reader.root() else { return Ok(()) };
    for fields in ids.iter().filter_map(|&id| reader.sequence(id)) {
        let &[view, whole, offset, len] = fields else { continue };
        let whole = key_of(reader, whole);
        let found = elements.get(&whole).zip(parts.storages.get(&whole));
        if let (Some((&element, range)), Some(offset), Some(len)) =
            (found, reader.size(offset), reader.size(len))
        {
            let start = offset.saturating_mul(element.size()).saturating_add(range.start).min(range.end);
            let end = len.saturating_mul(element.size()).saturating_add(start).min(range.end);
            let view = key_of(reader, view);
            parts.storages.insert(view.clone(), start..end);
            elements.insert(view, element);
        }
    }
    Ok(())
}

fn read_tar(file: &Bytes) -> Result<(Pickle, Parts), CheckpointErrorKind> {
    let entries = tar_entries(file)?;
    let part = |name: &str| {
        let range = entries.get(name).ok_or_else(|| damaged(format!("`{name}` is missing from it")))?;
        Ok::<_, CheckpointErrorKind>(Stream { file, at: range.start, end: range.end })
    };
    let count = |pickle: &Pickle| match *pickle.root() {
        Object::Int(n) => usize::try_from(n).map_err(|_| damaged("a count in it is negative")),
        _ => Err(damaged("a count in it is missing")),
    };
    let mut parts = Parts::default();
    let mut elements = HashMap::new();
    let mut stream = part("storages")?;
    for _ in 0..count(&stream.pickle()?)? {
        let (key, element) = stream.pickle()?.read(|reader| {
            let fields = reader.root_id().and_then(|id| reader.sequence(id)).unwrap_or_default();
            let (Some(&key), Some(&class)) = (fields.first(), fields.get(2)) else {
                return Err(damaged("its memory is described wrongly"));
            };
            let element = reader.global(class).and_then(|(_, name)| ElementType::of_storage(name));
            let element = element.ok_or_else(|| damaged("its memory is of an unknown type"))?;
            Ok((key_of(reader, key), element))
        })?;
        parts.storages.insert(key.clone(), stream.memory(element.size())?);
        elements.insert(key, element);
    }
    stream.pickle()?.read(|reader| views(reader, &mut parts, &mut elements))?;
    let mut stream = part("tensors")?;
    for _ in 0..count(&stream.pickle()?)? {
        let (key, storage) = stream.pickle()?.read(|reader| {
            let fields = reader.root_id().and_then(|id| reader.sequence(id)).unwrap_or_default();
            let (Some(&key), Some(&storage)) = (fields.first(), fields.get(1)) else {
                return Err(damaged("a tensor is described wrongly"));
            };
            Ok((key_of(reader, key), key_of(reader, storage)))
        })?;
        let rank = stream.number(4)?;
        stream.take(4)?;
        if rank > 16 {
            return Err(damaged(format!("a tensor of {rank} dimensions")));
        }
        let shape = (0..rank).map(|_| stream.number(8)).collect::<Result<_, _>>()?;
        let strides = (0..rank).map(|_| stream.number(8)).collect::<Result<_, _>>()?;
        let offset = stream.number(8)?;
        let Some(&element) = elements.get(&storage) else {
            return Err(damaged(format!("the memory of key {storage} is missing")));
        };
        let layout = Layout { shape, strides, offset };
        parts.tensors.insert(key, (storage, element, layout));
    }
    let pickle = part("pickle")?.pickle()?;
    Ok((pickle, parts))
}
