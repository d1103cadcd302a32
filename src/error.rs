//! The error of everything that goes from a model file to a caption.

use crate::engine::gpu::GpuError;
use crate::engine::graph::GraphError;
use crate::engine::{Cause, EngineError};
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
    /// The adapter or device cannot be used, or was used wrongly.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The photo cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// No sentence has a probability that is a number.
    #[error("expected a sentence with a probability, found none: the model's numbers overflow on this photo")]
    Overflow,
    /// The operating system starts no thread.
    #[error("expected a new thread, found that the system starts none ({0}): end other programs")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// The kind of the error.
    pub fn cause(&self) -> Cause {
        match self {
            Error::Model(error) => error.kind.cause(),
            Error::Graph(_) | Error::Overflow => Cause::InvalidFile,
            Error::Gpu(error) => error.cause(),
            Error::Image(error) => error.cause(),
            Error::Thread(_) => Cause::Unavailable,
        }
    }

    /// An argument of the caller cannot be used.
    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::Gpu(GpuError::InvalidInput(message.into()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DecoderFamily, ModelErrorKind};

    #[test]
    fn every_error_has_a_cause() {
        let text = String::new;
        let gpu = [
            (GpuError::NoAdapter { backends: text() }, Cause::Unavailable),
            (GpuError::NoHardware { found: text() }, Cause::Unavailable),
            (GpuError::AdapterNotFound { wanted: text(), found: text() }, Cause::Unavailable),
            (GpuError::NoDevice { adapter: text(), reason: text() }, Cause::Unavailable),
            (GpuError::LimitTooLow { limit: "maxBufferSize", need: 2, have: 1, advice: "" }, Cause::Limit),
            (GpuError::OutOfMemory(text()), Cause::OutOfMemory),
            (GpuError::DeviceLost(text()), Cause::DeviceLost),
            (GpuError::InvalidInput(text()), Cause::InvalidInput),
            (GpuError::Busy(text()), Cause::Busy),
            (GpuError::Internal(text()), Cause::Internal),
        ];
        for (error, cause) in gpu {
            assert_eq!(error.cause(), cause, "{error:?}");
            assert_eq!(Error::from(error.clone()).cause(), cause, "{error:?}");
        }
        let io = || std::io::Error::other("disk on fire");
        let image = [
            (ImageError::NotFound, Cause::Io),
            (ImageError::IsDirectory, Cause::Io),
            (ImageError::Io(io()), Cause::Io),
            (ImageError::Write(io()), Cause::Io),
            (ImageError::EmptyFile, Cause::InvalidFile),
            (ImageError::NotAnImage { found: text() }, Cause::InvalidFile),
            (ImageError::UnsupportedFormat { format: text() }, Cause::InvalidFile),
            (ImageError::Corrupt { format: "JPEG", reason: text() }, Cause::InvalidFile),
            (ImageError::TooManyPixels { width: 9, height: 9, limit: 1 }, Cause::Limit),
            (ImageError::TooManyBytes { found: 11, limit: 10 }, Cause::Limit),
            (ImageError::OutOfMemory { what: "the pixels", limit: text() }, Cause::OutOfMemory),
            (ImageError::InvalidSize { width: 0, height: 1, bytes: None }, Cause::InvalidInput),
            (ImageError::UnknownFilter(text()), Cause::InvalidInput),
        ];
        for (error, cause) in image {
            assert_eq!(error.cause(), cause, "{error:?}");
            assert_eq!(Error::from(error).cause(), cause);
        }
        let model = [
            (ModelErrorKind::Unreadable(text()), Cause::Io),
            (ModelErrorKind::Exists, Cause::Io),
            (ModelErrorKind::Unwritable(text()), Cause::Io),
            (ModelErrorKind::Malformed(text()), Cause::InvalidFile),
            (ModelErrorKind::NotOurs(text()), Cause::InvalidFile),
            (ModelErrorKind::MissingTensor { name: text(), nearest: text() }, Cause::InvalidFile),
            (ModelErrorKind::Shape { name: text(), expected: text(), found: text() }, Cause::InvalidFile),
            (ModelErrorKind::DType { name: text(), found: text() }, Cause::InvalidFile),
            (ModelErrorKind::NotFinite { name: text(), value: f32::NAN, index: 0 }, Cause::InvalidFile),
            (ModelErrorKind::Variance { name: text(), value: -1.0, index: 0 }, Cause::InvalidFile),
            (ModelErrorKind::Inconsistent(text()), Cause::InvalidFile),
            (ModelErrorKind::TooLarge { name: text(), value: 1e6, index: 0 }, Cause::InvalidInput),
            (
                ModelErrorKind::NoDecoder { wanted: DecoderFamily::ShowTell, found: text() },
                Cause::InvalidInput,
            ),
        ];
        for (kind, cause) in model {
            let error = Error::from(ModelError { file: text(), kind });
            assert_eq!(error.cause(), cause, "{error:?}");
        }
        let graph = GraphError { node: text(), message: text() };
        assert_eq!(EngineError::from(graph.clone()).cause(), Cause::InvalidInput);
        assert_eq!(EngineError::from(GpuError::Busy(text())).cause(), Cause::Busy);
        assert_eq!(Error::from(graph).cause(), Cause::InvalidFile);
        assert_eq!(Error::Overflow.cause(), Cause::InvalidFile);
        assert_eq!(Error::Thread(io()).cause(), Cause::Unavailable);
    }
}
