//! Readers for the files of other programs: PyTorch checkpoints in all their containers, and vocabularies.
//!
//! Nothing in a file is ever executed. A small stack machine reads a pickle and builds plain objects ([`pickle`]).
//! Descriptions of tensors are checked against the bytes of the file ([`Checkpoint`]). Tensor names are mapped to the names
//! of one known network ([`architecture`]).

pub mod architecture;
mod budget;
mod container;
mod convert;
mod networks;
pub mod pickle;
mod sniff;
mod state_dict;
mod tensor;
mod vocabulary;
mod zip;

pub use budget::BudgetExceeded;
pub use container::{Checkpoint, Container};
pub use convert::{ConvertOptions, Converted, TensorFile, convert, convert_encoder};
use sniff::sniff_file;
pub use sniff::{FileKind, sniff};
pub use state_dict::{Module, StateDict};
pub use tensor::Tensor;
pub use vocabulary::{SpecialWords, Vocabulary};

use crate::engine::storage::Bytes;
use std::path::Path;

/// A checkpoint or a vocabulary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {kind}")]
pub struct CheckpointError {
    /// The file, as the caller named it.
    pub file: String,
    /// The reason.
    pub kind: CheckpointErrorKind,
}

impl CheckpointError {
    pub(crate) fn new(file: &str, kind: CheckpointErrorKind) -> CheckpointError {
        CheckpointError { file: file.to_owned(), kind }
    }
}

/// Reasons why a checkpoint or a vocabulary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    /// It cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is a file of another kind.
    #[error("expected {expected}, found {found}")]
    Foreign {
        /// The expected kind of file.
        expected: &'static str,
        /// The kind of file that was found, and what to do about it.
        found: String,
    },
    /// Its pickle is damaged, or contains something other than plain data.
    #[error("its pickle cannot be read: {0}")]
    Pickle(#[from] pickle::PickleError),
    /// It describes far more data than its length allows for.
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// The container around pickles and tensors is damaged.
    #[error("is damaged ({0}): download or save it again")]
    Container(String),
    /// Its description of a tensor contradicts its bytes.
    #[error("tensor `{name}`: {message}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A tensor that is needed is of a kind that is not read, such as a sparse one.
    #[error("tensor `{name}`: {message}")]
    UnsupportedTensor {
        /// The tensor.
        name: String,
        /// What was expected, what was found, and a remedy.
        message: String,
    },
    /// It holds no words, or contradicts itself about them.
    #[error("{0}")]
    Vocabulary(String),
    /// It has no word with a usual spelling of the start or the end of a sentence.
    #[error("expected a word for the {role} ({usual}), found none: name the word")]
    NoSpecialWord {
        /// Which word: `start` or `end`.
        role: &'static str,
        /// Its usual spellings.
        usual: String,
    },
    /// It holds several networks of a kind.
    #[error("expected one {wanted}, found several ({found}): choose one by its prefix")]
    SeveralNetworks {
        /// The kind.
        wanted: &'static str,
        /// The networks, and what their names begin with.
        found: String,
    },
    /// It has layers that the known networks do not have.
    #[error(
        "has layers that no part of the known networks uses: {layers}; captions without them would be others"
    )]
    UnusedLayers {
        /// Their names and shapes.
        layers: String,
    },
    /// Its tensors are not those of a known network.
    #[error("{0}")]
    Architecture(String),
}

fn unreadable(error: &std::io::Error) -> CheckpointErrorKind {
    CheckpointErrorKind::Unreadable(error.to_string())
}

/// Maps a file into memory.
fn open(path: &Path) -> Result<Bytes, CheckpointErrorKind> {
    Bytes::map(path).map_err(|error| unreadable(&error))
}
