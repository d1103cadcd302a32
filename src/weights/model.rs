//! A model file: its description, and its tensors, read as `f32` on demand.

use super::{Manifest, ModelError, ModelErrorKind, ModelFile};
use crate::engine::graph::FileValues;
use crate::engine::storage::{Bytes, ElementType, safetensors_header};
use safetensors::tensor::Metadata;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A model file.
pub struct Model {
    file: String,
    bytes: Arc<Bytes>,
    /// The offset at which the header ends and the tensors begin.
    data: usize,
    metadata: Metadata,
    manifest: Manifest,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("file", &self.file)
            .field("name", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Opens a model file. Its tensors are read when they are needed. If the file is overwritten while it is open, tensors have
    /// other values; if it becomes shorter, the process ends with a signal (SIGBUS). Replace a model file by renaming.
    ///
    /// # Errors
    /// The file cannot be read, is not a safetensors file, or has no valid description of a model.
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        let file = path.display().to_string();
        let unreadable = |e: std::io::Error| ModelErrorKind::Unreadable(e.to_string());
        match Bytes::map(path).map_err(unreadable) {
            Ok(bytes) => Model::read(&file, bytes),
            Err(kind) => Err(ModelError { file, kind }),
        }
    }

    /// Reads a model file that is in memory already; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Model, ModelError> {
        Model::read(file, bytes.into())
    }

    /// Reads a model file that is part of the program, such as `shadetell_everyday::MODEL`; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_static(file: &str, bytes: &'static [u8]) -> Result<Model, ModelError> {
        Model::read(file, Bytes::built_in(bytes))
    }

    fn read(file: &str, bytes: Bytes) -> Result<Model, ModelError> {
        let error = |kind| ModelError { file: file.to_owned(), kind };
        let (metadata, data) =
            safetensors_header(&bytes).map_err(|e| error(ModelErrorKind::Malformed(e.to_string())))?;
        let description = metadata.metadata().as_ref().and_then(|m| m.get("shadetell"));
        let Some(description) = description else {
            let mut names = metadata.offset_keys();
            names.truncate(4);
            return Err(error(ModelErrorKind::NotOurs(format!("its tensors are {names:?} and others"))));
        };
        let manifest = Manifest::parse(description).map_err(error)?;
        Ok(Model { file: file.to_owned(), data, metadata, manifest, bytes: Arc::new(bytes) })
    }

    /// The description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The name of the file in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The sizes of a tensor.
    ///
    /// # Errors
    /// There is no tensor of this name.
    pub fn shape(&self, name: &str) -> Result<&[usize], ModelError> {
        self.info(name).map(|info| info.shape.as_slice())
    }

    /// The values of a tensor, converted to `f32`.
    ///
    /// # Errors
    /// The tensor is missing, has another shape or an unsupported element type, or holds NaN or infinity.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.stored(name, shape).map(|values| values.read())
    }

    /// The values of a tensor, checked, but left in the file until they are needed.
    pub(crate) fn stored(&self, name: &str, shape: &[usize]) -> Result<FileValues, ModelError> {
        let info = self.info(name)?;
        if info.shape != shape {
            return Err(self.error(ModelErrorKind::Shape {
                name: name.to_owned(),
                expected: format!("{shape:?}"),
                found: format!("{:?}", info.shape),
            }));
        }
        let (start, end) = info.data_offsets;
        let range = self.data + start..self.data + end;
        let file = &self.bytes;
        let element = ElementType::of_safetensors(info.dtype);
        // All exponent bits are set in NaN and infinity, and in no other value.
        let bad = match element {
            Some(ElementType::F32) => {
                bad_element(file, range.clone(), |b| u32::from_le_bytes(b) & 0x7F80_0000 == 0x7F80_0000)
            }
            Some(ElementType::F16) => {
                bad_element(file, range.clone(), |b| u16::from_le_bytes(b) & 0x7C00 == 0x7C00)
            }
            Some(ElementType::BF16) => {
                bad_element(file, range.clone(), |b| u16::from_le_bytes(b) & 0x7F80 == 0x7F80)
            }
            _ => {
                let (name, found) = (name.to_owned(), format!("{:?}", info.dtype));
                return Err(self.error(ModelErrorKind::DType { name, found }));
            }
        };
        let file = self.bytes.clone();
        let values = FileValues { file, range, element: element.unwrap_or(ElementType::F32) };
        match bad {
            Some(index) => {
                let value = values.read().get(index).copied().unwrap_or(f32::NAN);
                Err(self.error(ModelErrorKind::NotFinite { name: name.to_owned(), value, index }))
            }
            None => Ok(values),
        }
    }

    /// The same model as a new file, with f16 weights on request.
    ///
    /// # Errors
    /// A tensor has an unsupported element type, or holds NaN or infinity.
    pub fn copy(&self, half: bool) -> Result<ModelFile<'_>, ModelError> {
        let mut file = ModelFile::new(self.manifest.clone(), half);
        for name in self.metadata.offset_keys() {
            let shape = self.shape(&name)?.to_vec();
            let values = self.stored(&name, &shape)?;
            file.push(name, shape, Box::new(move |sink| sink(&values.read())));
        }
        Ok(file)
    }

    pub(crate) fn error(&self, kind: ModelErrorKind) -> ModelError {
        ModelError { file: self.file.clone(), kind }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    fn info(&self, name: &str) -> Result<&safetensors::tensor::TensorInfo, ModelError> {
        self.metadata.info(name).ok_or_else(|| {
            let nearest = self.nearest(name);
            self.error(ModelErrorKind::MissingTensor { name: name.to_owned(), nearest })
        })
    }

    /// The names that share the longest prefix with a missing name.
    fn nearest(&self, name: &str) -> String {
        let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let mut names = self.metadata.offset_keys();
        names.sort_by(|a, b| common(b).cmp(&common(a)).then_with(|| a.cmp(b)));
        names.truncate(3);
        if names.is_empty() {
            "the file holds no tensors".to_owned()
        } else {
            format!("nearest: {}", names.join(", "))
        }
    }
}

/// The first invalid element of a range.
fn bad_element<const N: usize>(
    file: &Bytes,
    range: Range<usize>,
    is_bad: impl Fn([u8; N]) -> bool,
) -> Option<usize> {
    let (mut found, mut before) = (None, 0);
    file.for_each_piece(range, |piece| {
        let elements = piece.as_chunks::<N>().0;
        // No early exit inside a piece, so that the compiler can vectorise the loop.
        if found.is_none() && elements.iter().fold(false, |bad, &e| bad | is_bad(e)) {
            found = elements.iter().position(|&e| is_bad(e)).map(|at| before + at);
        }
        before += elements.len();
    });
    found
}
