//! Files that people have: PyTorch checkpoints in all their containers, and vocabularies.
//!
//! Nothing in a file is ever executed. A pickle is read by a small machine that builds plain objects ([`pickle`]);
//! what it says of tensors is checked against the bytes that are there ([`Checkpoint`]); names are brought to one
//! architecture ([`architecture`]).

pub mod architecture;
mod budget;
mod container;
mod convert;
pub mod pickle;
mod sniff;
mod state_dict;
mod tensor;
mod vocabulary;
mod zip;

pub use budget::BudgetExceeded;
pub use container::{Checkpoint, Container};
pub use convert::{ConvertOptions, TensorFile, convert};
use sniff::sniff_file;
pub use sniff::{FileKind, sniff};
pub use state_dict::StateDict;
pub use tensor::Tensor;
pub use vocabulary::{SpecialWords, Vocabulary};

use crate::engine::storage::Bytes;
use std::path::Path;

/// A checkpoint or a vocabulary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {kind}")]
pub struct CheckpointError {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong with it.
    pub kind: CheckpointErrorKind,
}

impl CheckpointError {
    pub(crate) fn new(file: &str, kind: CheckpointErrorKind) -> CheckpointError {
        CheckpointError { file: file.to_owned(), kind }
    }
}

/// What can be wrong with a checkpoint or a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    /// It cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is something else.
    #[error("expected {expected}, found {found}")]
    Foreign {
        /// What was asked for.
        expected: &'static str,
        /// What it is, and what to do about it.
        found: String,
    },
    /// Its pickle is damaged, or says something that is not plain data.
    #[error("its pickle cannot be read: {0}")]
    Pickle(#[from] pickle::PickleError),
    /// It describes far more data than its length allows for.
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// The container around pickles and tensors is damaged.
    #[error("is damaged ({0}): download or save it again")]
    Container(String),
    /// What it says of a tensor contradicts its bytes.
    #[error("tensor `{name}`: {message}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What was expected and what was found.
        message: String,
    },
    /// It holds no words, or contradicts itself about them.
    #[error("{0}")]
    Vocabulary(String),
    /// No word of it is spelled as the start or the end of a sentence usually is.
    #[error("expected a word for the {role} ({usual}), found none: name the word")]
    NoSpecialWord {
        /// Which word: `start` or `end`.
        role: &'static str,
        /// Its usual spellings.
        usual: String,
    },
    /// Its tensors belong to no network that is known.
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
