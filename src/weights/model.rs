//! A model file in memory: its description, and its tensors as `f32` on demand.

use super::{Manifest, ModelError, ModelErrorKind};
use crate::error::Error;
use crate::graph::{Graph, TensorId};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, SafeTensors};
use std::borrow::Cow;
use std::path::Path;

/// A model file.
pub struct Model {
    file: String,
    bytes: Cow<'static, [u8]>,
    /// Where the header ends and the tensors begin.
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
    /// The model that is built into the library.
    ///
    /// # Errors
    /// The file that was built in is damaged.
    #[cfg(feature = "bundled-model")]
    pub fn bundled() -> Result<Model, ModelError> {
        let bytes: &'static [u8] = include_bytes!("../../weights/flickr8k.safetensors");
        Model::from_bytes("bundled model", bytes)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// The file cannot be read, is no safetensors file, or is not described as one of ours.
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| ModelError {
            file: file.clone(),
            kind: ModelErrorKind::Unreadable(e.to_string()),
        })?;
        Model::from_bytes(&file, bytes)
    }

    /// Takes a model file that is in memory already; `file` names it in errors.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(file: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Model, ModelError> {
        let bytes = bytes.into();
        let error = |kind| ModelError { file: file.to_owned(), kind };
        let malformed = |e: safetensors::SafeTensorError| error(ModelErrorKind::Malformed(e.to_string()));
        // Checks that the tensors fill the file exactly, with shapes and types that fit their bytes.
        SafeTensors::deserialize(&bytes).map_err(malformed)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
        let description = metadata.metadata().as_ref().and_then(|m| m.get("shadetell"));
        let Some(description) = description else {
            let mut names = metadata.offset_keys();
            names.truncate(4);
            return Err(error(ModelErrorKind::NotOurs(format!("its tensors are {names:?} and others"))));
        };
        let manifest = Manifest::parse(description).map_err(error)?;
        Ok(Model { file: file.to_owned(), data: header + 8, metadata, manifest, bytes })
    }

    /// The description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How the file is named in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The sizes of a tensor.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn shape(&self, name: &str) -> Result<&[usize], ModelError> {
        self.info(name).map(|info| info.shape.as_slice())
    }

    /// The values of a tensor, converted to `f32`.
    ///
    /// # Errors
    /// The tensor is missing, has another shape, is of a type that is not read, or holds NaN or infinity.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let info = self.info(name)?;
        if info.shape != shape {
            return Err(self.error(ModelErrorKind::Shape {
                name: name.to_owned(),
                expected: format!("{shape:?}"),
                found: format!("{:?}", info.shape),
            }));
        }
        let (start, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data + start..self.data + end).unwrap_or_default();
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => {
                bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            other => {
                let (name, found) = (name.to_owned(), format!("{other:?}"));
                return Err(self.error(ModelErrorKind::DType { name, found }));
            }
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => {
                let (name, value) = (name.to_owned(), values[index]);
                Err(self.error(ModelErrorKind::NotFinite { name, value, index }))
            }
            None => Ok(values),
        }
    }

    pub(crate) fn error(&self, kind: ModelErrorKind) -> ModelError {
        ModelError { file: self.file.clone(), kind }
    }

    fn info(&self, name: &str) -> Result<&safetensors::tensor::TensorInfo, ModelError> {
        self.metadata.info(name).ok_or_else(|| {
            let nearest = self.nearest(name);
            self.error(ModelErrorKind::MissingTensor { name: name.to_owned(), nearest })
        })
    }

    /// The names that share the longest beginning with a missing one.
    fn nearest(&self, name: &str) -> String {
        let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let mut names = self.metadata.offset_keys();
        names.sort_by_key(|n| (std::cmp::Reverse(common(n)), n.clone()));
        names.truncate(3);
        if names.is_empty() {
            "the file holds no tensors".to_owned()
        } else {
            format!("nearest: {}", names.join(", "))
        }
    }
}

/// The tensors of a model whose names begin alike, on their way into a graph.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) model: &'a Model,
    pub(crate) prefix: &'a str,
}

impl Section<'_> {
    /// The sizes of a tensor that must have this many.
    pub(crate) fn sizes<const RANK: usize>(&self, name: &str) -> Result<[usize; RANK], ModelError> {
        let name = format!("{}{name}", self.prefix);
        let found = self.model.shape(&name)?;
        found.try_into().map_err(|_| {
            let (expected, found) = (format!("{RANK} sizes"), format!("{found:?}"));
            self.model.error(ModelErrorKind::Shape { name, expected, found })
        })
    }

    /// The values of a tensor.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.model.tensor(&format!("{}{name}", self.prefix), shape)
    }

    /// Adds a tensor to the graph.
    pub(crate) fn constant<const RANK: usize>(
        &self,
        graph: &mut Graph,
        name: &str,
        shape: [usize; RANK],
    ) -> Result<TensorId, Error> {
        let values = self.values(name, &shape)?;
        Ok(graph.constant(&format!("{}{name}", self.prefix), shape, values)?)
    }

    /// Adds the weight `[O, I]` and the bias `[O]` of a linear layer, and the layer itself.
    pub(crate) fn linear(
        &self,
        graph: &mut Graph,
        name: &str,
        x: TensorId,
        outputs: usize,
    ) -> Result<TensorId, Error> {
        let inputs = graph.shape(x).last();
        let weight = self.constant(graph, &format!("{name}.weight"), [outputs, inputs])?;
        let bias = self.constant(graph, &format!("{name}.bias"), [outputs])?;
        Ok(graph.linear(&format!("{}{name}", self.prefix), x, weight, bias)?)
    }
}
