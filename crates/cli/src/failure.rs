//! Errors that end the command, and the exit codes.

use super::output;
use shadetell::Error;
use shadetell::checkpoint::{CheckpointError, CheckpointErrorKind};
use shadetell::engine::gpu::GpuError;
use shadetell::weights::{ModelError, ModelErrorKind};
use std::io;
use std::process::ExitCode;

/// Some photos could not be captioned, or the system refuses something.
pub(crate) const PHOTOS_FAILED: u8 = 1;
/// The requested adapter does not exist, or the device was lost.
pub(crate) const NO_DEVICE: u8 = 4;
/// The command line cannot be used.
pub(crate) const WRONG_USAGE: u8 = 2;
const NO_MODEL: u8 = 3;

/// The reason why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument that cannot be used.
    Usage(String),
    /// The model cannot be loaded.
    Model(String),
    /// There is no device to compute on.
    Device(GpuError),
    /// The operating system reports an error.
    System(String),
    /// Standard output was closed by its reader, as after `shadetell ... | head -1`.
    NoReader,
}

impl Failure {
    /// Prints the error to standard error, and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Failure::NoReader => return ExitCode::SUCCESS,
            Failure::Usage(message) => {
                (WRONG_USAGE, format!("{message}\n\nFor more information, try '--help'."))
            }
            Failure::Model(message) => (NO_MODEL, message),
            Failure::Device(error) => (NO_DEVICE, format!("{error}{}", advice(&error))),
            Failure::System(message) => (PHOTOS_FAILED, message),
        };
        output::error(&message);
        ExitCode::from(code)
    }
}

/// Advice about options for a device's error, to be appended to its message.
pub(crate) fn advice(error: &GpuError) -> &'static str {
    match error {
        GpuError::AdapterNotFound { .. } | GpuError::BackendNotFound { .. } => {
            "; `shadetell devices` lists them"
        }
        GpuError::NoAdapter { .. }
        | GpuError::AddressSpace { .. }
        | GpuError::OutOfMemory(_)
        | GpuError::DeviceLost(_) => ", or use `--device cpu`",
        _ => "",
    }
}

/// An error of preparing a model on a device, which happens before photos are read.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Gpu(error) => Failure::Device(error),
            other => Failure::Model(other.to_string()),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Failure {
        match error.kind {
            ModelErrorKind::Exists => Failure::Usage(format!("{error} with `--force`")),
            ModelErrorKind::TooLarge { .. } => Failure::Model(format!("{error}, without `--half`")),
            _ => Failure::Model(error.to_string()),
        }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        let advice = match error.kind {
            CheckpointErrorKind::NoSpecialWord { role, .. } => format!(" with `--{role}-word`"),
            CheckpointErrorKind::SeveralNetworks { .. } => " with `--prefix`".to_owned(),
            CheckpointErrorKind::UnusedLayers { .. } => {
                " (`--ignore-unused` leaves them out all the same)".to_owned()
            }
            _ => String::new(),
        };
        Failure::Model(format!("{error}{advice}"))
    }
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Failure {
        Failure::Device(error)
    }
}

/// Every `io::Error` that is converted here comes from writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NoReader,
            _ => Failure::System(format!("cannot write to standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_mentions_options_of_the_command() {
        let said = |failure: Failure| match failure {
            Failure::Model(message) | Failure::Usage(message) => message,
            other => panic!("{other:?}"),
        };
        let model = |kind| said(ModelError { file: "m".to_owned(), kind }.into());
        let large = ModelErrorKind::TooLarge { name: "w".to_owned(), value: 1e6, index: 0 };
        assert!(model(ModelErrorKind::Exists).ends_with("replace it with `--force`"));
        assert!(model(large).ends_with("write it as f32, without `--half`"));
        let kind = CheckpointErrorKind::NoSpecialWord { role: "start", usual: "<s>".to_owned() };
        let vocabulary = said(CheckpointError { file: "v".to_owned(), kind }.into());
        assert!(vocabulary.ends_with("name the word with `--start-word`"), "{vocabulary}");
        assert!(advice(&GpuError::NoAdapter { backends: String::new() }).contains("--device cpu"));
        assert!(advice(&GpuError::Busy(String::new())).is_empty());
    }
}
