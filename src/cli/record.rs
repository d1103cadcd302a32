//! What `--json` prints: one object a photo, a line each.

use serde::Serialize;
use shadetell::gpu::GpuError;
use shadetell::image::{ImageError, Rgb8};
use shadetell::{Caption, Error};
use std::path::Path;
use std::time::Duration;

/// A photo with its caption.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    path: String,
    caption: &'a str,
    tokens: Vec<Token<'a>>,
    log_prob: f32,
    finished: bool,
    alternatives: Vec<Alternative<'a>>,
    image: Size,
    model: &'a str,
    adapter: &'a str,
    timings_ms: Timings,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<String>,
}

#[derive(Debug, Serialize)]
struct Token<'a> {
    id: u32,
    word: &'a str,
    log_prob: f32,
}

#[derive(Debug, Serialize)]
struct Alternative<'a> {
    caption: &'a str,
    log_prob: f32,
}

#[derive(Debug, Serialize)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize)]
struct Timings {
    decode: f64,
    preprocess: f64,
    encode: f64,
    generate: f64,
}

/// Where a caption came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The model's name.
    pub(crate) model: &'a str,
    /// The adapter's name.
    pub(crate) adapter: &'a str,
}

impl<'a> Record<'a> {
    /// Puts together what is known of a photo; `attention` is the picture drawn of it.
    pub(crate) fn new(
        path: &Path,
        photo: &Rgb8,
        caption: &'a Caption,
        decode: Duration,
        origin: Origin<'a>,
        attention: Option<&Path>,
    ) -> Record<'a> {
        let token = |t: &'a shadetell::Token| Token { id: t.id, word: &t.word, log_prob: t.log_prob };
        let other = |a: &'a shadetell::Alternative| Alternative { caption: &a.text, log_prob: a.log_prob };
        Record {
            path: path.display().to_string(),
            caption: &caption.text,
            tokens: caption.tokens.iter().map(token).collect(),
            log_prob: caption.log_prob,
            finished: caption.finished,
            alternatives: caption.alternatives.iter().map(other).collect(),
            image: Size { width: photo.width(), height: photo.height() },
            model: origin.model,
            adapter: origin.adapter,
            timings_ms: Timings {
                decode: milliseconds(decode),
                preprocess: milliseconds(caption.timings.preprocess),
                encode: milliseconds(caption.timings.encode),
                generate: milliseconds(caption.timings.generate),
            },
            attention: attention.map(|path| path.display().to_string()),
        }
    }
}

/// Milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// A photo without a caption.
#[derive(Debug, Serialize)]
pub(crate) struct FailedRecord<'a> {
    path: String,
    error: &'a PhotoError,
}

impl<'a> FailedRecord<'a> {
    /// Puts them together.
    pub(crate) fn new(path: &Path, error: &'a PhotoError) -> FailedRecord<'a> {
        FailedRecord { path: path.display().to_string(), error }
    }
}

/// Why a photo has no caption.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PhotoError {
    /// A name that stays when the message is reworded.
    code: &'static str,
    /// What was expected, what was found, and what to do.
    pub(crate) message: String,
}

impl PhotoError {
    /// An error of reading a photo, with what to type here to get over it.
    pub(crate) fn of_image(path: &Path, error: &ImageError) -> PhotoError {
        let advice = match error {
            ImageError::IsDirectory => format!(", as in {}", path.join("*.jpg").display()),
            ImageError::TooManyPixels { .. } => " with --max-pixels".to_owned(),
            _ => String::new(),
        };
        PhotoError { code: error.code(), message: format!("{error}{advice}") }
    }

    /// An error of drawing where the model looked.
    pub(crate) fn of_picture(error: &ImageError) -> PhotoError {
        PhotoError { code: error.code(), message: format!("--attention: {error}") }
    }

    /// An error of captioning a photo.
    pub(crate) fn of_engine(error: &Error) -> PhotoError {
        let code = match error {
            Error::Image(error) => error.code(),
            Error::Gpu(GpuError::DeviceLost(_)) => "device_lost",
            Error::Gpu(GpuError::OutOfMemory(_)) => "gpu_out_of_memory",
            Error::Gpu(_) => "gpu",
            _ => "model",
        };
        PhotoError { code, message: error.to_string() }
    }
}
