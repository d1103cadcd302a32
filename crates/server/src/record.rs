//! The JSON record of a photo: an answer of the API, and the output of `shadetell caption --json`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use shadetell::{Caption, Cause, Error};
use std::path::Path;
use std::time::Duration;
use utoipa::ToSchema;

/// The name of a photo; `-` if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhotoName {
    /// The name, with U+FFFD in place of what is not Unicode.
    path: String,
    /// The bytes of a name that is not Unicode, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl PhotoName {
    /// The name of a file.
    pub fn of(path: &Path) -> PhotoName {
        let bytes = path.as_os_str().as_encoded_bytes();
        let path_bytes = path.to_str().is_none().then(|| BASE64_STANDARD.encode(bytes));
        PhotoName { path: path.to_string_lossy().into_owned(), path_bytes }
    }
}

impl From<String> for PhotoName {
    fn from(path: String) -> PhotoName {
        PhotoName { path, path_bytes: None }
    }
}

/// A photo with its caption.
#[derive(Debug, Serialize, ToSchema)]
pub struct Record<'a> {
    /// The name of the photo; `-` if it has none.
    path: String,
    /// The bytes of a path that is not Unicode, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    path_bytes: Option<String>,
    /// The sentence.
    caption: &'a str,
    /// Its words.
    tokens: Vec<Token<'a>>,
    /// The natural logarithm of the sentence's probability.
    log_prob: f32,
    /// `log_prob` over the number of tokens, with the end token.
    mean_log_prob: f32,
    /// What the search ranked the sentence by: `log_prob` over a power of the number of tokens, the length penalty.
    score: f32,
    /// Whether the model ended the sentence itself, rather than being cut off at the greatest length.
    finished: bool,
    /// The probability that the main subject of the sentence is right, from 0 to 1; absent for a model whose sentences were not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confidence: Option<f32>,
    /// Whether the confidence reaches the threshold: that of the model, or the one asked for; true without one.
    sure: bool,
    /// What the model's classifier sees, best first; absent for a decoder that reads no tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag<'a>>,
    /// The other sentences that the search found, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alternatives: Option<Vec<Alternative<'a>>>,
    image: Size,
    /// The model's name.
    model: &'a str,
    /// The adapter that computed the caption.
    adapter: &'a str,
    timings_ms: Timings,
    /// The path of the picture of the attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub attention: Option<String>,
    /// The grid of the words' attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attention_grid: Option<AttentionGrid>,
}

/// A word of a caption.
#[derive(Debug, Serialize, ToSchema)]
struct Token<'a> {
    /// Its number in the vocabulary.
    id: u32,
    word: &'a str,
    /// The natural logarithm of its probability after the words before it.
    log_prob: f32,
    /// Attention on each cell of the grid, row by row; the cells sum to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attention: Option<&'a [f32]>,
}

/// A tag of a photo.
#[derive(Debug, Serialize, ToSchema)]
struct Tag<'a> {
    name: &'a str,
    /// From 0 on: the probabilities of the tag's classes, of the whole photo and of its best part.
    score: f32,
}

/// Another sentence.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alternative<'a> {
    caption: &'a str,
    log_prob: f32,
    mean_log_prob: f32,
    score: f32,
}

/// The size in pixels, after applying the orientation.
#[derive(Debug, Serialize, ToSchema)]
struct Size {
    width: u32,
    height: u32,
}

/// Times in milliseconds; the times of the device are those of the whole batch.
#[derive(Debug, Serialize, ToSchema)]
struct Timings {
    decode: f64,
    preprocess: f64,
    encode: f64,
    generate: f64,
}

/// A grid over a photo.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct AttentionGrid {
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// The part of the photo that it covers, in pixels of the photo: left, top, width, height.
    pub area: [f64; 4],
}

/// The origin of a caption.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The adapter's name.
    pub adapter: &'a str,
}

impl<'a> Record<'a> {
    /// Makes the record of a captioned photo.
    pub fn new(
        PhotoName { path, path_bytes }: PhotoName,
        [width, height]: [u32; 2],
        caption: &'a Caption,
        decode: Duration,
        origin: Origin<'a>,
    ) -> Record<'a> {
        let token = |t: &'a shadetell::Token| Token {
            id: t.id,
            word: &t.word,
            log_prob: t.log_prob,
            attention: None,
        };
        let other = |a: &'a shadetell::Alternative| Alternative {
            caption: &a.text,
            log_prob: a.log_prob,
            mean_log_prob: a.mean_log_prob,
            score: a.score,
        };
        Record {
            path,
            path_bytes,
            caption: &caption.text,
            tokens: caption.tokens.iter().map(token).collect(),
            log_prob: caption.log_prob,
            mean_log_prob: caption.mean_log_prob,
            score: caption.score,
            finished: caption.finished,
            confidence: caption.confidence,
            sure: caption.is_sure,
            tags: caption.tags.iter().map(|tag| Tag { name: &tag.name, score: tag.score }).collect(),
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
            attention_grid: None,
        }
    }

    /// Adds the attention of each word.
    pub fn with_attention(mut self, caption: &'a Caption, grid: AttentionGrid) -> Record<'a> {
        for (token, source) in self.tokens.iter_mut().zip(&caption.tokens) {
            token.attention = Some(&source.attention);
        }
        self.attention_grid = Some(grid);
        self
    }
}

/// Milliseconds, rounded to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// A photo without a caption.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedRecord<'a> {
    /// The name of the photo.
    path: String,
    /// The bytes of a path that is not Unicode, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    path_bytes: Option<String>,
    error: &'a PhotoError,
}

impl<'a> FailedRecord<'a> {
    /// Makes the record of a photo without a caption.
    pub fn new(PhotoName { path, path_bytes }: PhotoName, error: &'a PhotoError) -> FailedRecord<'a> {
        FailedRecord { path, path_bytes, error }
    }
}

/// The reason why a photo has no caption.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhotoError {
    /// A stable name, which stays the same when the message is reworded.
    pub code: &'static str,
    /// What was expected, what was found, and what to do.
    pub message: String,
}

impl PhotoError {
    /// An error of captioning a photo.
    pub fn of_engine(error: &Error) -> PhotoError {
        let code = match error {
            Error::Image(error) => error.code(),
            Error::Gpu(error) => match error.cause() {
                Cause::DeviceLost => "device_lost",
                Cause::OutOfMemory => "gpu_out_of_memory",
                Cause::Busy => "busy",
                _ => "gpu",
            },
            _ => "model",
        };
        PhotoError { code, message: error.to_string() }
    }
}
