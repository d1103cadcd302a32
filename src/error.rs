//! The error of everything that goes from a model file to a caption.

use crate::engine::EngineError;
use crate::engine::gpu::GpuError;
use crate::engine::graph::GraphError;
use crate::image::ImageError;
use crate::weights::ModelError;

/// What can go wrong between a model file, a device, a photo and its caption.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model's tensors do not fit together.
    #[error("the model cannot be built: {0}")]
    Graph(#[from] GraphError),
    /// The adapter or device cannot be used.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The photo cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Error {
    /// What was asked of a device, or of a captioner on it, cannot be done.
    pub(crate) fn refused(message: impl Into<String>) -> Error {
        Error::Gpu(GpuError::Refused(message.into()))
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Error {
        match error {
            EngineError::Graph(error) => Error::Graph(error),
            EngineError::Gpu(error) => Error::Gpu(error),
        }
    }
}
