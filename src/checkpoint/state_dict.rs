//! State dicts: the named tensors in the objects of a checkpoint.

use super::budget::Budget;
use super::pickle::{Id, Object, Reader};
use super::tensor::{Layout, row_major};
use super::{Checkpoint, CheckpointError, CheckpointErrorKind, Tensor};
use crate::engine::storage::{Bytes, ElementType, safetensors_header};
use std::collections::HashMap;

/// Tensors by name, in the order of the file.
#[derive(Clone, Debug)]
pub struct StateDict<'a> {
    /// The key it was found under, such as `encoder` or `state_dict`; empty for the whole file.
    pub name: String,
    /// The class of the module, such as `models.Encoder`, if a whole module was pickled.
    pub class: Option<String>,
    contents: Contents<'a>,
    /// Indices of the tensors, ordered by name.
    by_name: Vec<usize>,
}

/// What a group of tensors consists of.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents<'a> {
    pub(super) tensors: Vec<(String, Tensor<'a>)>,
    /// Tensors of kinds that are not read, and why.
    pub(super) unsupported: Vec<(String, CheckpointErrorKind)>,
    /// The modules of a pickled module, itself included.
    pub(super) modules: Vec<Module>,
}

/// A module of a pickled network, with the settings that no tensor states.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its path, such as `resnet.4.0.conv1`; empty for the outermost module.
    pub path: String,
    /// Its class, such as `torch.nn.modules.conv.Conv2d`.
    pub class: String,
    /// Its fields that are numbers, or tuples of numbers.
    pub settings: Vec<(String, Vec<f64>)>,
}

impl Module {
    /// A setting: one number, or several for a tuple.
    pub fn setting(&self, name: &str) -> Option<&[f64]> {
        self.settings.iter().find(|(field, _)| field == name).map(|(_, values)| values.as_slice())
    }

    /// The last part of the class, such as `Conv2d`.
    pub fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

impl<'a> StateDict<'a> {
    pub(super) fn new(name: String, class: Option<String>, mut contents: Contents<'a>) -> StateDict<'a> {
        join_weight_norms(&mut contents);
        let tensors = &contents.tensors;
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        by_name.sort_by_key(|&index| tensors[index].0.as_str());
        StateDict { name, class, contents, by_name }
    }

    /// The tensors with their names, without the parts that `DataParallel` (`module`) and `torch.compile` (`_orig_mod`) put into
    /// them. Weights with weight normalisation are one tensor.
    pub fn tensors(&self) -> &[(String, Tensor<'a>)] {
        &self.contents.tensors
    }

    /// The names of tensors of kinds that are not read, such as sparse ones, with the reasons.
    pub fn unsupported(&self) -> &[(String, CheckpointErrorKind)] {
        &self.contents.unsupported
    }

    /// The modules of a pickled module; none of a bare state dict.
    pub fn modules(&self) -> &[Module] {
        &self.contents.modules
    }

    /// The tensor of this name; the first one if there are several.
    pub fn get(&self, name: &str) -> Option<&Tensor<'a>> {
        let tensors = self.tensors();
        let place = self.by_name.partition_point(|&index| tensors[index].0.as_str() < name);
        let (found, tensor) = &tensors[*self.by_name.get(place)?];
        (found == name).then_some(tensor)
    }

    /// The sizes of the tensor of this name, if it has `N` dimensions.
    pub fn sizes<const RANK: usize>(&self, name: &str) -> Option<[usize; RANK]> {
        self.get(name)?.shape().try_into().ok()
    }
}

/// Parts of names that come from wrappers around a network or around its parts.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];

/// A name without the parts that wrappers put into it.
fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

/// Removes the parts of names that come from wrappers, unless two names would be the same then.
fn unwrap(contents: &mut Contents<'_>) {
    let names = |contents: &Contents<'_>| -> Vec<String> {
        contents.tensors.iter().map(|(name, _)| unwrapped(name)).collect()
    };
    let mut sorted = names(contents);
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return;
    }
    let all = contents.tensors.iter_mut().map(|(name, _)| name);
    let all = all.chain(contents.unsupported.iter_mut().map(|(name, _)| name));
    for name in all.chain(contents.modules.iter_mut().map(|module| &mut module.path)) {
        *name = unwrapped(name);
    }
}

/// The endings of the two tensors of a weight with weight normalisation, before and since PyTorch 2.0.
const WEIGHT_NORMS: [[&str; 2]; 2] = [["_g", "_v"], [".original0", ".original1"]];

/// Replaces magnitude and direction of weights with weight normalisation by the weights.
fn join_weight_norms(contents: &mut Contents<'_>) {
    let places: HashMap<&str, usize> =
        contents.tensors.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    let mut joined = Vec::new();
    for (&name, &g) in &places {
        let stem = WEIGHT_NORMS
            .iter()
            .find_map(|[magnitude, direction]| Some((name.strip_suffix(magnitude)?, direction)));
        let Some((stem, direction)) = stem else { continue };
        let Some(&v) = places.get(format!("{stem}{direction}").as_str()) else { continue };
        let [magnitude, direction] = [g, v].map(|place| contents.tensors[place].1.clone());
        if let Ok(weight) = direction.with_magnitude(magnitude) {
            joined.push((g, v, stem.replace("parametrizations.", ""), weight));
        }
    }
    let mut is_magnitude = vec![false; contents.tensors.len()];
    for (g, v, name, weight) in joined {
        is_magnitude[g] = true;
        contents.tensors[v] = (name, weight);
    }
    let mut is_magnitude = is_magnitude.into_iter();
    contents.tensors.retain(|_| !is_magnitude.next().unwrap_or_default());
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

impl<'a> Walk<'a, '_> {
    /// Adds an object to the contents if it is a tensor; whether it is one.
    fn tensor(
        &mut self,
        name: String,
        object: &'a Object,
        contents: &mut Contents<'a>,
    ) -> Result<bool, CheckpointErrorKind> {
        match self.checkpoint.tensor(self.reader, &name, object) {
            Ok(Some(tensor)) => {
                self.values.spend(tensor.elements().saturating_mul(tensor.element_type().size()))?;
                contents.tensors.push((name, tensor));
                Ok(true)
            }
            Ok(None) => Ok(false),
            // It may be a tensor that nobody needs.
            Err(reason @ CheckpointErrorKind::UnsupportedTensor { .. }) => {
                contents.unsupported.push((name, reason));
                Ok(true)
            }
            Err(error) => Err(error),
        }
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
    fn keep(&mut self, name: &str, class: Option<String>, mut contents: Contents<'a>) {
        if !contents.tensors.is_empty() || !contents.unsupported.is_empty() {
            unwrap(&mut contents);
            self.found.push(StateDict::new(name.to_owned(), class, contents));
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
            let mut contents = Contents::default();
            self.module("", object, &fields, &mut contents, depth)?;
            self.keep(name, class, contents);
            return Ok(());
        }
        let Some(entries) = reader.entries(object) else { return Ok(()) };
        // Optimisers hold tensors too.
        if reader.lookup(&entries, "param_groups").is_some() {
            return Ok(());
        }
        let mut contents = Contents::default();
        for (key, value) in self.named(&entries) {
            let is_tensor = self.tensor(key.to_owned(), value, &mut contents)?;
            if !is_tensor && !key.contains("optim") && key != "_metadata" {
                self.object(&self.joined(name, key)?, value, depth + 1)?;
            }
        }
        self.keep(name, None, contents);
        Ok(())
    }

    /// The parameters, buffers and settings of a module and its submodules.
    fn module(
        &mut self,
        path: &str,
        module: &'a Object,
        fields: &[(Id, Id)],
        contents: &mut Contents<'a>,
        depth: usize,
    ) -> Result<(), CheckpointErrorKind> {
        Self::too_deep(depth)?;
        let reader = self.reader;
        let (scope, name) = reader.call(module).map_or(("", ""), |(_, class)| class);
        reader.spend(path.len() + scope.len() + name.len())?;
        let class = if name.is_empty() { String::new() } else { format!("{scope}.{name}") };
        contents.modules.push(Module { path: path.to_owned(), class, settings: self.settings(fields)? });
        let entries = |name| reader.lookup(fields, name).and_then(|id| reader.entries(reader.get(id)));
        for field in ["_parameters", "_buffers"] {
            for (key, value) in self.named(&entries(field).unwrap_or_default()) {
                let name = self.joined(path, key)?;
                self.tensor(name, value, contents)?;
            }
        }
        for (key, value) in self.named(&entries("_modules").unwrap_or_default()) {
            if let Some(fields) = reader.fields(value) {
                self.module(&self.joined(path, key)?, value, &fields, contents, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The fields that are numbers, or tuples of numbers.
    fn settings(&self, fields: &[(Id, Id)]) -> Result<Vec<(String, Vec<f64>)>, CheckpointErrorKind> {
        let mut settings = Vec::new();
        for &(key, value) in fields {
            let Some(name) = self.reader.text(key).filter(|name| !name.starts_with('_')) else { continue };
            let value = self.reader.get(value);
            let number = |object: &Object| match *object {
                Object::Int(value) => Some(value as f64),
                Object::Bool(value) => Some(f64::from(u8::from(value))),
                Object::Float(value) => Some(value),
                _ => None,
            };
            let values = match value {
                // Longer ones are no sizes.
                Object::Tuple(ids) | Object::List(ids) if ids.len() <= 4 => {
                    ids.iter().map(|&id| number(self.reader.get(id))).collect()
                }
                other => number(other).map(|value| vec![value]),
            };
            if let Some(values) = values {
                self.reader.spend(name.len() + size_of_val(values.as_slice()))?;
                settings.push((name.to_owned(), values));
            }
        }
        Ok(settings)
    }
}

impl<'a> StateDict<'a> {
    /// The tensors of a safetensors file; `file` is its name in errors.
    ///
    /// # Errors
    /// The file is not a complete safetensors file.
    pub(super) fn from_safetensors(file: &str, bytes: &'a Bytes) -> Result<StateDict<'a>, CheckpointError> {
        let error = |kind| CheckpointError::new(file, kind);
        let (metadata, data) =
            safetensors_header(bytes).map_err(|e| error(CheckpointErrorKind::Container(e.to_string())))?;
        let mut contents = Contents::default();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let Some(element) = ElementType::of_safetensors(info.dtype) else {
                let message = format!("expected real numbers of a known type, found {:?}", info.dtype);
                let reason = CheckpointErrorKind::UnsupportedTensor { name: name.clone(), message };
                contents.unsupported.push((name, reason));
                continue;
            };
            let (start, end) = info.data_offsets;
            let strides = row_major(&info.shape);
            let layout = Layout { shape: info.shape.clone(), strides, offset: 0 };
            let tensor =
                Tensor::new(&name, bytes, data + start..data + end, element, layout).map_err(error)?;
            contents.tensors.push((name, tensor));
        }
        unwrap(&mut contents);
        Ok(StateDict::new(String::new(), None, contents))
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
            assert!((1.0..PER_BYTE as f64 / 7.0).contains(&per_byte), "{file}: {per_byte} a byte");
        }
    }

    /// Tensors of one element, numbered from 0, under these names.
    fn numbered<'a>(file: &'a Bytes, names: &[&str]) -> Contents<'a> {
        let tensor = |(offset, name): (usize, &&str)| {
            let layout = Layout { shape: vec![1], strides: vec![1], offset };
            (name.to_string(), Tensor::new(name, file, 0..8, ElementType::U8, layout).unwrap())
        };
        Contents { tensors: names.iter().enumerate().map(tensor).collect(), ..Contents::default() }
    }

    #[test]
    fn wrappers_leave_no_trace_in_names_unless_two_would_be_the_same() {
        let file = Bytes::from(vec![1u8; 8]);
        let names = |names: &[&str]| {
            let mut contents = numbered(&file, names);
            unwrap(&mut contents);
            contents.tensors.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let wrapped = ["module._orig_mod.a", "_orig_mod.encoder.module.b", "modules.c"];
        assert_eq!(names(&wrapped), ["a", "encoder.b", "modules.c"]);
        assert_eq!(names(&["module.a", "a"]), ["module.a", "a"]);
    }

    #[test]
    fn magnitude_and_direction_become_one_weight() {
        let file = Bytes::from(vec![3u8, 2, 3, 2, 1, 1, 1, 1]);
        let old_and_new = ["l.weight_g", "l.weight_v", "m.parametrizations.weight.original0"];
        let names = [&old_and_new[..], &["m.parametrizations.weight.original1", "n.weight_v"]].concat();
        let dict = StateDict::new(String::new(), None, numbered(&file, &names));
        let found: Vec<_> = dict.tensors().iter().map(|(name, t)| (name.as_str(), t.to_f32())).collect();
        assert_eq!(found, [("l.weight", vec![3.0]), ("m.weight", vec![3.0]), ("n.weight_v", vec![1.0])]);
    }

    #[test]
    fn tensors_are_found_by_name_and_the_first_of_equal_names_wins() {
        let file = Bytes::from(vec![1u8, 2, 3]);
        let tensor = |name: &str, offset| {
            let layout = Layout { shape: vec![1], strides: vec![1], offset };
            (name.to_owned(), Tensor::new(name, &file, 0..3, ElementType::U8, layout).unwrap())
        };
        let tensors = vec![tensor("b", 0), tensor("a", 1), tensor("a", 2)];
        let dict = StateDict::new(String::new(), None, Contents { tensors, ..Contents::default() });
        let value = |name: &str| dict.get(name).map(Tensor::to_f32);
        assert_eq!([value("b"), value("a")], [Some(vec![1.0]), Some(vec![2.0])]);
        assert_eq!([value(""), value("aa"), value("z")], [None, None, None]);
    }
}
