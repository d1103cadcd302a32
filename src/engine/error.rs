//! The error of everything that builds, plans and runs graphs, and the kinds of errors that a program reacts to.

use super::gpu::GpuError;
use super::graph::GraphError;

/// A graph cannot be built, planned or run.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The graph or its inputs.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

impl EngineError {
    /// The kind of the error.
    pub fn cause(&self) -> Cause {
        match self {
            EngineError::Graph(_) => Cause::InvalidInput,
            EngineError::Gpu(error) => error.cause(),
        }
    }
}

/// The kind of an error: programs react to it, people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// An argument cannot be used: the call has to change.
    InvalidInput,
    /// A file is damaged, or is not of a kind that is read here: another file is needed.
    InvalidFile,
    /// The operating system does not let a file be read or written.
    Io,
    /// The memory of activations is in use: the same call succeeds later.
    Busy,
    /// The work is larger than a limit of the device or of the caller allows.
    Limit,
    /// The machine lacks an adapter, a device or a thread.
    Unavailable,
    /// The device went away: a new one has to be opened.
    DeviceLost,
    /// The device or the machine has too little memory.
    OutOfMemory,
    /// A mistake of this library, or a driver that refuses valid work.
    Internal,
}
