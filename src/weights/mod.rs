//! Model files: safetensors with a description of the model in the metadata.

mod architecture;
mod file;
mod manifest;
mod model;
mod preset;
mod synth;

pub(crate) use architecture::{Architecture, InvertedResidual, InvertedResiduals, Resnet, Vgg, VggLayer};
pub use file::ModelFile;
pub use manifest::{
    Cell, Confidence, DecoderFamily, DecoderManifest, EncoderFamily, EncoderManifest, Manifest,
    Preprocessing, Rules, Source, Special, Tag, Tags,
};
pub use model::Model;
pub use preset::Preset;
pub use synth::{SynthOptions, synth};

use crate::engine::Cause;

/// A model file cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file}: {kind}")]
pub struct ModelError {
    /// The file, as the caller named it.
    pub file: String,
    /// The reason.
    pub kind: ModelErrorKind,
}

/// Reasons why a model file cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelErrorKind {
    /// It cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is not a complete safetensors file.
    #[error("is not a whole safetensors file ({0}): download or convert it again")]
    Malformed(String),
    /// It is a safetensors file, but not a model file of shadetell.
    #[error(
        "{0}: expected a model file of shadetell, with its description under the metadata key `shadetell`"
    )]
    NotOurs(String),
    /// It has no tensor of this name.
    #[error("tensor `{name}` is missing; {nearest}")]
    MissingTensor {
        /// The missing tensor.
        name: String,
        /// The most similar names in the file.
        nearest: String,
    },
    /// The shape of a tensor does not fit the other tensors.
    #[error("tensor `{name}`: expected shape {expected}, found {found}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that fits.
        expected: String,
        /// The shape it has.
        found: String,
    },
    /// A tensor has an unsupported element type.
    #[error("tensor `{name}`: expected f32, f16 or bf16, found {found}")]
    DType {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("tensor `{name}`: expected finite numbers, found {value} at index {index}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The first bad value.
        value: f32,
        /// Where it is.
        index: usize,
    },
    /// A batch norm has a negative variance.
    #[error("tensor `{name}`: expected variances of at least 0, found {value} at index {index}")]
    Variance {
        /// The tensor.
        name: String,
        /// The first negative value.
        value: f32,
        /// Where it is.
        index: usize,
    },
    /// A value is too large for the element type to be written.
    #[error(
        "tensor `{name}`: expected values up to 65504, the largest f16, found {value} at index {index}: write it as f32"
    )]
    TooLarge {
        /// The tensor.
        name: String,
        /// The first such value.
        value: f32,
        /// Where it is.
        index: usize,
    },
    /// The file exists already.
    #[error("exists already: write to another path, or replace it")]
    Exists,
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Unwritable(String),
    /// The model has no decoder of the requested family.
    #[error("has no {wanted} decoder; it has {found}")]
    NoDecoder {
        /// The requested family.
        wanted: DecoderFamily,
        /// The families there are.
        found: String,
    },
    /// The model has no decoder at all.
    #[error(
        "holds an encoder alone, which makes features and classes, but no sentences: convert it with a decoder"
    )]
    NoDecoders,
    /// The description contradicts the tensors or itself.
    #[error("its description is wrong: {0}")]
    Inconsistent(String),
}

impl ModelErrorKind {
    /// The kind of the error.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unreadable(_) | Self::Exists | Self::Unwritable(_) => Cause::Io,
            Self::TooLarge { .. } | Self::NoDecoder { .. } | Self::NoDecoders => Cause::InvalidInput,
            Self::Malformed(_)
            | Self::NotOurs(_)
            | Self::MissingTensor { .. }
            | Self::Shape { .. }
            | Self::DType { .. }
            | Self::NotFinite { .. }
            | Self::Variance { .. }
            | Self::Inconsistent(_) => Cause::InvalidFile,
        }
    }
}
