//! State dicts: the named tensors in the objects of a checkpoint.

use super::budget::Budget;
use super::pickle::{Id, Object, Reader};
use super::tensor::{Layout, row_major};
use super::{Checkpoint, CheckpointError, CheckpointErrorKind, Tensor};
use crate::engine::storage::{Bytes, ElementType, safetensors_header};

/// Tensors by name, in the order of the file.
#[derive(Clone, Debug)]
pub struct StateDict<'a> {
    /// The key it was found under, such as `encoder` or `state_dict`; empty for the whole file.
    pub name: String,
    /// The class of the module, such as `models.Encoder`, if a whole module was pickled.
    pub class: Option<String>,
    tensors: Vec<(String, Tensor<'a>)>,
    /// Indices of `tensors`, ordered by name.
    by_name: Vec<usize>,
}

impl<'a> StateDict<'a> {
    pub(super) fn new(
        name: String,
        class: Option<String>,
        tensors: Vec<(String, Tensor<'a>)>,
    ) -> StateDict<'a> {
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        by_name.sort_by_key(|&index| tensors[index].0.as_str());
        StateDict { name, class, tensors, by_name }
    }

    /// The tensors with their names, without the `module.` that `DataParallel` puts in front.
    pub fn tensors(&self) -> &[(String, Tensor<'a>)] {
        &self.tensors
    }

    /// The tensor of this name; the first one if there are several.
    pub fn get(&self, name: &str) -> Option<&Tensor<'a>> {
        let place = self.by_name.partition_point(|&index| self.tensors[index].0.as_str() < name);
        let (found, tensor) = &self.tensors[*self.by_name.get(place)?];
        (found == name).then_some(tensor)
    }

    /// The sizes of the tensor of this name, if it has `N` dimensions.
    pub fn sizes<const RANK: usize>(&self, name: &str) -> Option<[usize; RANK]> {
        self.get(name)?.shape().try_into().ok()
    }
}

/// How deep modules and dictionaries may be nested: networks have five or six levels.
const MAX_DEPTH: usize = 32;

impl Checkpoint {
    /// All state dicts of the file: bare ones, those in dictionaries, and those of whole pickled modules, which are read as
    /// data.
    ///
    /// # Errors
    /// A tensor does not fit its memory, the file holds no tensors, or it describes far more data than it has bytes.
    pub fn state_dicts(&self) -> Result<Vec<StateDict<'_>>, CheckpointError> {
        let found = self.pickle().read(|reader| {
            let mut walk = Walk { checkpoint: self, reader, found: Vec::new(), values: self.budget() };
            walk.object("", reader.root(), 0)?;
            Ok::<_, CheckpointErrorKind>(walk.found)
        });
        let found = found.map_err(|kind| self.error(kind))?;
        if found.is_empty() {
            let expected = "a PyTorch file with tensors";
            let found = "one without any".to_owned();
            return Err(self.error(CheckpointErrorKind::Foreign { expected, found }));
        }
        Ok(found)
    }
}

struct Walk<'a, 'r> {
    checkpoint: &'a Checkpoint,
    reader: &'r Reader<'a>,
    found: Vec<StateDict<'a>>,
    /// The budget left for the values of tensors, which may share memory.
    values: Budget,
}

/// Removes a `module.` that all names begin with, repeatedly.
fn unwrap(tensors: &mut [(String, Tensor<'_>)]) {
    const WRAPPER: &str = "module.";
    let wrappers =
        |name: &str| name.as_bytes().chunks(WRAPPER.len()).take_while(|c| *c == WRAPPER.as_bytes()).count();
    let common = tensors.iter().map(|(name, _)| wrappers(name)).min().unwrap_or(0);
    for (name, _) in tensors {
        name.drain(..common * WRAPPER.len());
    }
}

impl<'a> Walk<'a, '_> {
    fn tensor(&mut self, name: &str, object: &'a Object) -> Result<Option<Tensor<'a>>, CheckpointErrorKind> {
        let tensor = self.checkpoint.tensor(self.reader, name, object)?;
        if let Some(tensor) = &tensor {
            self.values.spend(tensor.elements().saturating_mul(tensor.element_type().size()))?;
        }
        Ok(tensor)
    }

    /// A name with its prefix.
    fn joined(&self, prefix: &str, name: &str) -> Result<String, CheckpointErrorKind> {
        // A long prefix is copied for each name, so it is paid for each time.
        self.reader.spend(prefix.len() + name.len())?;
        Ok(if prefix.is_empty() { name.to_owned() } else { [prefix, ".", name].concat() })
    }

    /// The entries of a dictionary whose keys are text.
    fn named(&self, entries: &[(Id, Id)]) -> Vec<(&'a str, &'a Object)> {
        let text = |&(key, value): &(Id, Id)| Some((self.reader.text(key)?, self.reader.get(value)));
        entries.iter().filter_map(text).collect()
    }

    fn too_deep(depth: usize) -> Result<(), CheckpointErrorKind> {
        if depth > MAX_DEPTH {
            return Err(CheckpointErrorKind::Container(format!(
                "its objects lie {MAX_DEPTH} deep in each other"
            )));
        }
        Ok(())
    }

    /// Keeps a state dict unless it is empty.
    fn keep(&mut self, name: &str, class: Option<String>, mut tensors: Vec<(String, Tensor<'a>)>) {
        if !tensors.is_empty() {
            unwrap(&mut tensors);
            self.found.push(StateDict::new(name.to_owned(), class, tensors));
        }
    }

    /// A dictionary of tensors, a module, or a dictionary of these.
    fn object(&mut self, name: &str, object: &'a Object, depth: usize) -> Result<(), CheckpointErrorKind> {
        Self::too_deep(depth)?;
        let reader = self.reader;
        if let Some(fields) = reader.fields(object)
            && reader.lookup(&fields, "_modules").is_some()
        {
            let class = reader.call(object).map(|(_, (module, class))| format!("{module}.{class}"));
            let mut tensors = Vec::new();
            self.module("", &fields, &mut tensors, depth)?;
            self.keep(name, class, tensors);
            return Ok(());
        }
        let Some(entries) = reader.entries(object) else { return Ok(()) };
        let mut tensors = Vec::new();
        for (key, value) in self.named(&entries) {
            match self.tensor(key, value)? {
                Some(tensor) => tensors.push((key.to_owned(), tensor)),
                // Optimisers hold tensors too, by number or under `state`.
                None if !key.contains("optim") && key != "_metadata" => {
                    self.object(&self.joined(name, key)?, value, depth + 1)?;
                }
                None => {}
            }
        }
        self.keep(name, None, tensors);
        Ok(())
    }

    /// The parameters and buffers of a module and its submodules.
    fn module(
        &mut self,
        prefix: &str,
        fields: &[(Id, Id)],
        tensors: &mut Vec<(String, Tensor<'a>)>,
        depth: usize,
    ) -> Result<(), CheckpointErrorKind> {
        Self::too_deep(depth)?;
        let reader = self.reader;
        let entries = |name| reader.lookup(fields, name).and_then(|id| reader.entries(reader.get(id)));
        for field in ["_parameters", "_buffers"] {
            for (key, value) in self.named(&entries(field).unwrap_or_default()) {
                let name = self.joined(prefix, key)?;
                if let Some(tensor) = self.tensor(&name, value)? {
                    tensors.push((name, tensor));
                }
            }
        }
        for (key, value) in self.named(&entries("_modules").unwrap_or_default()) {
            if let Some(fields) = reader.fields(value) {
                self.module(&self.joined(prefix, key)?, &fields, tensors, depth + 1)?;
            }
        }
        Ok(())
    }
}

impl<'a> StateDict<'a> {
    /// The tensors of a safetensors file; `file` is its name in errors.
    ///
    /// # Errors
    /// The file is not a complete safetensors file, or holds an unknown element type.
    pub(super) fn from_safetensors(file: &str, bytes: &'a Bytes) -> Result<StateDict<'a>, CheckpointError> {
        let error = |kind| CheckpointError::new(file, kind);
        let (metadata, data) =
            safetensors_header(bytes).map_err(|e| error(CheckpointErrorKind::Container(e.to_string())))?;
        let mut found = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let Some(element) = ElementType::of_safetensors(info.dtype) else {
                let message = format!("expected a type of element that is known, found {:?}", info.dtype);
                return Err(error(CheckpointErrorKind::Tensor { name, message }));
            };
            let (start, end) = info.data_offsets;
            let strides = row_major(&info.shape);
            let layout = Layout { shape: info.shape.clone(), strides, offset: 0 };
            let tensor =
                Tensor::new(&name, bytes, data + start..data + end, element, layout).map_err(error)?;
            found.push((name, tensor));
        }
        Ok(StateDict::new(String::new(), None, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::budget::PER_BYTE;
    use std::path::Path;

    #[test]
    fn ordinary_files_stay_far_below_the_limit() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let files = [
            "checkpoints/encoder-legacy.pkl",
            "checkpoints/decoder-parallel-zip.pth",
            "checkpoints/modules-zip.pth.tar",
            "checkpoints/modules-legacy.pth.tar",
            "checkpoints/views-zip.pth",
            "checkpoints/tensors.tar",
            "parity/pair-encoder.pkl",
            "parity/whole.pth.tar",
        ];
        for file in files {
            let bytes = std::fs::read(folder.join(file)).unwrap();
            let checkpoint = Checkpoint::from_bytes(file, bytes).unwrap();
            let spent = checkpoint.pickle().read(|reader| {
                let mut walk =
                    Walk { checkpoint: &checkpoint, reader, found: Vec::new(), values: checkpoint.budget() };
                walk.object("", reader.root(), 0)?;
                assert!(!walk.found.is_empty());
                Ok::<_, CheckpointErrorKind>(reader.spent())
            });
            let per_byte = spent.unwrap() as f64 / checkpoint.pickle().len() as f64;
            assert!((1.0..PER_BYTE as f64 / 8.0).contains(&per_byte), "{file}: {per_byte} a byte");
        }
    }

    #[test]
    fn tensors_are_found_by_name_and_the_first_of_equal_names_wins() {
        let file = Bytes::from(vec![1u8, 2, 3]);
        let tensor = |name: &str, offset| {
            let layout = Layout { shape: vec![1], strides: vec![1], offset };
            (name.to_owned(), Tensor::new(name, &file, 0..3, ElementType::U8, layout).unwrap())
        };
        let mut tensors = vec![tensor("module.module.b", 0), tensor("module.a", 1), tensor("module.a", 2)];
        unwrap(&mut tensors);
        let dict = StateDict::new(String::new(), None, tensors);
        let value = |name: &str| dict.get(name).map(Tensor::to_f32);
        assert_eq!([value("module.b"), value("a")], [Some(vec![1.0]), Some(vec![2.0])]);
        assert_eq!([value(""), value("aa"), value("z")], [None, None, None]);
    }
}
