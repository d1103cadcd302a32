//! Named tensors, as they are found in the objects of a checkpoint.

use super::pickle::{Id, Object};
use super::tensor::{Layout, row_major};
use super::{Checkpoint, CheckpointError, CheckpointErrorKind, Tensor};
use crate::engine::storage::ElementType;

/// Tensors by name, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict<'a> {
    /// Where it was found, such as `encoder` or `state_dict`; empty for the whole file.
    pub name: String,
    /// The class of the module, if one was pickled whole: `models.Encoder`.
    pub class: Option<String>,
    /// The tensors, without the `module.` that `DataParallel` puts in front.
    pub tensors: Vec<(String, Tensor<'a>)>,
}

impl<'a> StateDict<'a> {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor<'a>> {
        self.tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    }

    /// The sizes of the tensor of this name, if it has this many.
    pub fn sizes<const RANK: usize>(&self, name: &str) -> Option<[usize; RANK]> {
        self.get(name)?.shape().try_into().ok()
    }
}

/// How deep modules and dictionaries may lie in each other: networks have five or six levels.
const MAX_DEPTH: usize = 32;
/// Most tensors of a file: a network with its optimiser has a few thousand.
const MAX_TENSORS: usize = 1_000_000;

impl Checkpoint {
    /// Everything in the file that holds tensors: bare state dicts, those inside of dictionaries, and whole pickled
    /// modules, which are walked as data.
    ///
    /// # Errors
    /// A tensor does not fit its memory, or the file holds none.
    pub fn state_dicts(&self) -> Result<Vec<StateDict<'_>>, CheckpointError> {
        let mut walk = Walk { checkpoint: self, found: Vec::new(), tensors: 0 };
        walk.object("", self.pickle().root(), 0).map_err(|kind| self.error(kind))?;
        let mut found = walk.found;
        found.retain(|dict| !dict.tensors.is_empty());
        if found.is_empty() {
            let expected = "a PyTorch file with tensors";
            let found = "one without any".to_owned();
            return Err(self.error(CheckpointErrorKind::Foreign { expected, found }));
        }
        for dict in &mut found {
            while dict.tensors.iter().all(|(name, _)| name.starts_with("module.")) {
                for (name, _) in &mut dict.tensors {
                    name.drain(.."module.".len());
                }
            }
        }
        Ok(found)
    }
}

struct Walk<'a> {
    checkpoint: &'a Checkpoint,
    found: Vec<StateDict<'a>>,
    tensors: usize,
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

impl<'a> Walk<'a> {
    fn tensor(&mut self, name: &str, object: &Object) -> Result<Option<Tensor<'a>>, CheckpointErrorKind> {
        let tensor = self.checkpoint.tensor(name, object)?;
        self.tensors += usize::from(tensor.is_some());
        if self.tensors > MAX_TENSORS {
            return Err(CheckpointErrorKind::Container(format!("it has more than {MAX_TENSORS} tensors")));
        }
        Ok(tensor)
    }

    /// The entries of a dictionary whose keys are text.
    fn named(&self, entries: &[(Id, Id)]) -> Vec<(&'a str, &'a Object)> {
        let pickle = self.checkpoint.pickle();
        let text = |&(key, value): &(Id, Id)| Some((pickle.text(key)?, pickle.get(value)));
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

    /// A dictionary of tensors, a dictionary of such things, or a module.
    fn object(&mut self, name: &str, object: &'a Object, depth: usize) -> Result<(), CheckpointErrorKind> {
        Self::too_deep(depth)?;
        let pickle = self.checkpoint.pickle();
        if let Some(fields) = pickle.fields(object)
            && pickle.lookup(&fields, "_modules").is_some()
        {
            let class = pickle.call(object).map(|(_, (module, class))| format!("{module}.{class}"));
            let mut tensors = Vec::new();
            self.module("", &fields, &mut tensors, depth)?;
            self.found.push(StateDict { name: name.to_owned(), class, tensors });
            return Ok(());
        }
        let Some(entries) = pickle.entries(object) else { return Ok(()) };
        let mut tensors = Vec::new();
        for (key, value) in self.named(&entries) {
            match self.tensor(key, value)? {
                Some(tensor) => tensors.push((key.to_owned(), tensor)),
                // Optimisers hold tensors too, by number or under `state`.
                None if !key.contains("optim") && key != "_metadata" => {
                    self.object(&joined(name, key), value, depth + 1)?;
                }
                None => {}
            }
        }
        self.found.push(StateDict { name: name.to_owned(), class: None, tensors });
        Ok(())
    }

    /// The parameters and buffers of a module and of the modules in it.
    fn module(
        &mut self,
        prefix: &str,
        fields: &[(Id, Id)],
        tensors: &mut Vec<(String, Tensor<'a>)>,
        depth: usize,
    ) -> Result<(), CheckpointErrorKind> {
        Self::too_deep(depth)?;
        let pickle = self.checkpoint.pickle();
        let entries = |name| pickle.lookup(fields, name).and_then(|id| pickle.entries(pickle.get(id)));
        for field in ["_parameters", "_buffers"] {
            for (key, value) in self.named(&entries(field).unwrap_or_default()) {
                let name = joined(prefix, key);
                if let Some(tensor) = self.tensor(&name, value)? {
                    tensors.push((name, tensor));
                }
            }
        }
        for (key, value) in self.named(&entries("_modules").unwrap_or_default()) {
            if let Some(fields) = pickle.fields(value) {
                self.module(&joined(prefix, key), &fields, tensors, depth + 1)?;
            }
        }
        Ok(())
    }
}

impl<'a> StateDict<'a> {
    /// The tensors of a safetensors file that is in memory; `file` names it in errors.
    ///
    /// # Errors
    /// It is not a whole safetensors file, or holds a type of element that no network here has.
    pub fn from_safetensors(file: &str, bytes: &'a [u8]) -> Result<StateDict<'a>, CheckpointError> {
        let error = |kind| CheckpointError::new(file, kind);
        let damaged = |e: safetensors::SafeTensorError| error(CheckpointErrorKind::Container(e.to_string()));
        // Checks that the tensors fill the file exactly.
        safetensors::SafeTensors::deserialize(bytes).map_err(damaged)?;
        let (header, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let mut found = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let Some(element) = ElementType::of_safetensors(info.dtype) else {
                let message = format!("expected a type of element that is known, found {:?}", info.dtype);
                return Err(error(CheckpointErrorKind::Tensor { name, message }));
            };
            let memory = bytes.get(header + 8 + info.data_offsets.0..).unwrap_or_default();
            let strides = row_major(&info.shape);
            let layout = Layout { shape: info.shape.clone(), strides, offset: 0 };
            let tensor = Tensor::new(&name, memory, element, layout).map_err(error)?;
            found.push((name, tensor));
        }
        Ok(StateDict { name: String::new(), class: None, tensors: found })
    }
}
