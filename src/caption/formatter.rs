//! From the tokens of a search to sentences.

use super::hypotheses::{Hypothesis, SearchSizes, SearchTrace};
use crate::engine::gpu::GpuError;
use crate::engine::graph::Data;
use crate::error::Error;
use crate::weights::{Confidence, Special};
use std::time::Duration;

/// A sentence about a photo.
#[derive(Clone, Debug)]
pub struct Caption {
    /// The sentence.
    pub text: String,
    /// Its tokens. Those that mark start and end are left out unless [`CaptionOptions`](super::CaptionOptions) keeps them.
    pub tokens: Vec<Token>,
    /// The natural logarithm of its probability, the end token included.
    pub log_prob: f32,
    /// `log_prob` over the number of tokens, with the end token.
    pub mean_log_prob: f32,
    /// What the search ranked it by: `log_prob` over a power of the number of tokens, the length penalty.
    pub score: f32,
    /// Whether the model ended the sentence itself, rather than being cut off at the greatest length.
    pub finished: bool,
    /// The other sentences that the search found, best first.
    pub alternatives: Vec<Alternative>,
    /// What the model's classifier sees, with the highest score first. Empty for a decoder that reads no tags.
    pub tags: Vec<SeenTag>,
    /// The probability that the main subject of the sentence is right, from 0 to 1, if sentences of the model were judged.
    pub confidence: Option<f32>,
    /// Whether the confidence reaches the threshold of the model; true without one.
    pub is_sure: bool,
    /// The time of each stage.
    pub timings: Timings,
}

/// A tag of a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenTag {
    /// Its name.
    pub name: String,
    /// Its score, from 0 on: see [`Tags`](crate::weights::Tags).
    pub score: f32,
}

/// A word of a caption.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its id in the vocabulary.
    pub id: u32,
    /// The word.
    pub word: String,
    /// The natural logarithm of its probability after the words before it.
    pub log_prob: f32,
    /// Attention on each cell of the grid, row by row; the cells sum to 1. Empty without attention.
    pub attention: Vec<f32>,
}

/// A sentence that the search found but did not choose.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The sentence.
    pub text: String,
    /// The natural logarithm of its probability.
    pub log_prob: f32,
    /// `log_prob` over the number of tokens, with the end token.
    pub mean_log_prob: f32,
    /// What the search ranked it by: `log_prob` over a power of the number of tokens, the length penalty.
    pub score: f32,
}

/// The time of each stage of a caption.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Timings {
    /// Resizing the photo.
    pub preprocess: Duration,
    /// The encoder, from the upload of the pixels on.
    pub encode: Duration,
    /// The decoder, to the end of the readback.
    pub generate: Duration,
}

/// Turns the results of a search into captions.
#[derive(Debug)]
pub(super) struct CaptionFormatter {
    pub(super) vocabulary: Vec<String>,
    pub(super) special: Special,
    /// Whether captions keep special tokens.
    pub(super) keep_special: bool,
    pub(super) sizes: SearchSizes,
    pub(super) length_penalty: f32,
    /// The names of the tags, if the decoder reads any.
    pub(super) tags: Vec<String>,
    pub(super) confidence: Option<Confidence>,
    /// Rows and columns of the grid of attention, for a decoder that attends.
    pub(super) grid: Option<[usize; 2]>,
}

impl CaptionFormatter {
    /// The caption of an image, from the results of whole steps of the search.
    ///
    /// # Errors
    /// The results are not valid for a search, or every sentence has NaN as its probability.
    pub(super) fn format(&self, outputs: &[Data], image: usize, timings: Timings) -> Result<Caption, Error> {
        let broken = "expected words of the vocabulary, found other results";
        let trace = SearchTrace::new(&self.sizes, outputs).ok_or(GpuError::Internal(broken.to_owned()))?;
        let mut found = trace.hypotheses(image, self.special.end, self.length_penalty).into_iter();
        let best = found.next().ok_or(Error::Overflow)?;
        let alternative = |h: Hypothesis| Alternative {
            text: self.sentence(&h),
            log_prob: h.log_prob,
            mean_log_prob: h.score(1.0),
            score: h.score(self.length_penalty),
        };
        let alternatives = found.map(alternative).collect();
        let tags = trace.tags(&self.sizes, image);
        let tags: Vec<SeenTag> =
            tags.map(|(number, score)| SeenTag { name: self.tags[number].clone(), score }).collect();
        let confidence = self.confidence.map(|rule| (rule.of(best.log_prob), rule.threshold));
        Ok(Caption {
            text: self.sentence(&best),
            log_prob: best.log_prob,
            mean_log_prob: best.score(1.0),
            score: best.score(self.length_penalty),
            finished: best.finished,
            alternatives,
            confidence: confidence.map(|(probability, _)| probability),
            is_sure: confidence.is_none_or(|(probability, threshold)| probability >= threshold),
            tags,
            timings,
            tokens: best
                .words
                .into_iter()
                .filter(|w| self.is_shown(w.id))
                .map(|w| Token {
                    id: w.id,
                    word: self.word(w.id).to_owned(),
                    log_prob: w.log_prob,
                    attention: w.attention,
                })
                .collect(),
        })
    }

    fn is_shown(&self, id: u32) -> bool {
        let Special { pad, start, end, .. } = self.special;
        self.keep_special || ![pad, start, end].contains(&id)
    }

    fn word(&self, id: u32) -> &str {
        self.vocabulary.get(id as usize).map_or("", String::as_str)
    }

    fn sentence(&self, hypothesis: &Hypothesis) -> String {
        let ids = hypothesis.words.iter().map(|w| w.id).filter(|&id| self.is_shown(id));
        ids.map(|id| self.word(id)).collect::<Vec<_>>().join(" ")
    }
}
