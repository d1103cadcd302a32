//! What `--json` prints, and the server answers: one object a photo.

use serde::Serialize;
use shadetell::engine::gpu::GpuError;
use shadetell::image::ImageError;
use shadetell::{Caption, Error};
use std::path::Path;
use std::time::Duration;

/// A photo with its caption.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
pub(crate) struct Record<'a> {
    /// The photo, as it was named; `-` has no name.
    path: String,
    /// The sentence.
    caption: &'a str,
    /// Its words.
    tokens: Vec<Token<'a>>,
    /// The natural logarithm of the sentence's probability.
    log_prob: f32,
    /// Whether the model ended the sentence itself, rather than being cut off at the greatest length.
    finished: bool,
    /// The other sentences that the search found, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "serve", schema(nullable = false))]
    pub(crate) alternatives: Option<Vec<Alternative<'a>>>,
    image: Size,
    /// The model's name.
    model: &'a str,
    /// What computed.
    adapter: &'a str,
    timings_ms: Timings,
    /// The picture that was drawn of where the model looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "serve", schema(ignore))]
    pub(crate) attention: Option<String>,
    /// What the words' attention lies over.
    #[cfg(feature = "serve")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attention_grid: Option<AttentionGrid>,
}

/// A word of a caption.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
struct Token<'a> {
    /// Its number in the vocabulary.
    id: u32,
    word: &'a str,
    /// The natural logarithm of its probability after the words before it.
    log_prob: f32,
    /// How strongly each cell of the grid was looked at, row by row; they sum to 1.
    #[cfg(feature = "serve")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attention: Option<&'a [f32]>,
}

/// Another sentence.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
pub(crate) struct Alternative<'a> {
    caption: &'a str,
    log_prob: f32,
}

/// Pixels, the right way up.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
struct Size {
    width: u32,
    height: u32,
}

/// Milliseconds; those of the device are of all photos that were captioned together.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
struct Timings {
    decode: f64,
    preprocess: f64,
    encode: f64,
    generate: f64,
}

/// A grid over a photo.
#[cfg(feature = "serve")]
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AttentionGrid {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The part of the photo that it covers, in its pixels: left, top, width, height.
    pub(crate) area: [f64; 4],
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
    /// Puts together what is known of a photo.
    pub(crate) fn new(
        path: String,
        [width, height]: [u32; 2],
        caption: &'a Caption,
        decode: Duration,
        origin: Origin<'a>,
    ) -> Record<'a> {
        let token = |t: &'a shadetell::Token| Token {
            id: t.id,
            word: &t.word,
            log_prob: t.log_prob,
            #[cfg(feature = "serve")]
            attention: None,
        };
        let other = |a: &'a shadetell::Alternative| Alternative { caption: &a.text, log_prob: a.log_prob };
        Record {
            path,
            caption: &caption.text,
            tokens: caption.tokens.iter().map(token).collect(),
            log_prob: caption.log_prob,
            finished: caption.finished,
            alternatives: Some(caption.alternatives.iter().map(other).collect()),
            image: Size { width, height },
            model: origin.model,
            adapter: origin.adapter,
            timings_ms: Timings {
                decode: milliseconds(decode),
                preprocess: milliseconds(caption.timings.preprocess),
                encode: milliseconds(caption.timings.encode),
                generate: milliseconds(caption.timings.generate),
            },
            attention: None,
            #[cfg(feature = "serve")]
            attention_grid: None,
        }
    }
}

#[cfg(feature = "serve")]
impl<'a> Record<'a> {
    /// Adds where the model looked at each word.
    pub(crate) fn with_attention(mut self, caption: &'a Caption, grid: AttentionGrid) -> Record<'a> {
        for (token, source) in self.tokens.iter_mut().zip(&caption.tokens) {
            token.attention = Some(&source.attention);
        }
        self.attention_grid = Some(grid);
        self
    }
}

/// Milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// A photo without a caption.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
pub(crate) struct FailedRecord<'a> {
    /// The photo, as it was named.
    path: String,
    error: &'a PhotoError,
}

impl<'a> FailedRecord<'a> {
    /// Puts them together.
    pub(crate) fn new(path: String, error: &'a PhotoError) -> FailedRecord<'a> {
        FailedRecord { path, error }
    }
}

/// Why a photo has no caption.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
pub(crate) struct PhotoError {
    /// A name that stays when the message is reworded.
    pub(crate) code: &'static str,
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
