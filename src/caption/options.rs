//! How captions are searched.

use crate::engine::ops::BeamStep;
use crate::error::Error;
use crate::models::SearchOptions;
use crate::weights::{DecoderFamily, DecoderManifest, Model, ModelErrorKind, Preprocessing};
use std::num::NonZeroUsize;

/// How captions are searched; `None` means the model's own choice. Write it with `..CaptionOptions::default()`, so that a
/// program still compiles when options are added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CaptionOptions {
    /// Which of the model's decoders writes the caption.
    pub decoder: Option<DecoderFamily>,
    /// Number of hypotheses in the beam; 1 is greedy search.
    pub beam: Option<usize>,
    /// Exponent of the length by which log-probabilities are divided.
    pub length_penalty: Option<f32>,
    /// Most words in a caption, the end token included.
    pub max_length: Option<usize>,
    /// Photos in a batch; 1 if not given. Captions do not depend on it.
    pub batch: Option<usize>,
    /// Most threads that work on the CPU; as many as there are processors if not given. Captions do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// How photos are prepared.
    pub preprocessing: Option<Preprocessing>,
    /// Whether captions keep the tokens that mark their start, their end and padding.
    pub keep_special: bool,
}

impl CaptionOptions {
    /// The widest beam.
    pub const MAX_BEAM: usize = BeamStep::MAX;
    /// The longest caption.
    pub const MAX_LENGTH: usize = 200;
    /// The largest batch.
    pub const MAX_BATCH: usize = 64;
}

/// Options with the model's own choices filled in.
pub(super) struct ResolvedOptions<'a> {
    pub(super) decoder: &'a DecoderManifest,
    pub(super) preprocessing: Preprocessing,
    pub(super) search: SearchOptions,
    pub(super) length_penalty: f32,
}

impl<'a> ResolvedOptions<'a> {
    pub(super) fn of(model: &'a Model, options: &CaptionOptions) -> Result<ResolvedOptions<'a>, Error> {
        let decoders = &model.manifest().decoders;
        if decoders.is_empty() {
            return Err(model.error(ModelErrorKind::NoDecoders).into());
        }
        let decoder = match options.decoder {
            None => decoders.first(),
            Some(family) => decoders.iter().find(|d| d.family == family),
        };
        let Some(decoder) = decoder else {
            let found = decoders.iter().map(|d| d.family.to_string()).collect::<Vec<_>>().join(", ");
            let wanted = options.decoder.unwrap_or(DecoderFamily::ShowTell);
            return Err(model.error(ModelErrorKind::NoDecoder { wanted, found }).into());
        };
        let largest = CaptionOptions::MAX_BEAM.min(model.manifest().vocabulary.len());
        let search = SearchOptions {
            images: options.batch.unwrap_or(1).clamp(1, CaptionOptions::MAX_BATCH),
            beams: options.beam.unwrap_or(decoder.beam).clamp(1, largest),
            max_length: options.max_length.unwrap_or(decoder.max_length).clamp(1, CaptionOptions::MAX_LENGTH),
        };
        let length_penalty = options.length_penalty.unwrap_or(decoder.length_penalty);
        let preprocessing = options.preprocessing.unwrap_or(model.manifest().preprocess);
        Ok(ResolvedOptions { decoder, preprocessing, search, length_penalty })
    }
}
