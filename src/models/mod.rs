//! The networks as graphs: an encoder of photos, decoders of sentences, and the search that chooses the words.

mod encoder;
mod inverted_residuals;
mod recurrent;
mod resnet;
mod search;
mod semantic_attention;
mod show_attend_tell;
mod show_tell;
mod tensor_scope;
mod vgg;

pub(crate) use encoder::{FeatureSizes, build_encoder};
pub(crate) use search::{SearchGraph, SearchOptions, build};

use crate::engine::graph::{Graph, TensorId};
use crate::error::Error;
use recurrent::{LayerState, Recurrent};
use tensor_scope::TensorScope;

/// The state of a decoder's recurrent layers.
pub(crate) type State = Vec<LayerState>;

/// The results of one step of a decoder.
pub(crate) struct Step {
    /// Scores of all words before the softmax, `[R, V]`.
    pub(crate) logits: TensorId,
    /// The state after the step.
    pub(crate) state: State,
    /// Attention `[R, P]`, for a decoder with attention.
    pub(crate) attention: Option<TensorId>,
}

/// A network that turns the encoder's features into words, one step at a time.
pub(crate) trait Decoder {
    /// The state before the first word, with `N` rows.
    fn start(&mut self, graph: &mut Graph) -> Result<State, Error>;

    /// The logits from the state alone, without a previous word, for a decoder that was trained to output the start token.
    fn logits(&mut self, _graph: &mut Graph, _state: State) -> Result<Step, Error> {
        Err(Error::invalid("expected a decoder that is given its start token"))
    }

    /// Called once if each image has several rows: what it reads of the images is gathered for the rows, whose images are
    /// `image_of_row [R]`.
    fn expand(&mut self, _graph: &mut Graph, _image_of_row: TensorId) -> Result<(), Error> {
        Ok(())
    }

    /// One step for `R` rows; `tokens [R]` are the previous words. Each image has `R / N` rows.
    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error>;

    /// The numbers and the scores of the tags that it reads, both `[N, T]`, if it reads any.
    fn tags(&self) -> Option<[TensorId; 2]> {
        None
    }

    /// The number of words in its vocabulary.
    fn vocabulary(&self) -> usize;
}
