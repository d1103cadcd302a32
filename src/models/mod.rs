//! The networks, as graphs: an encoder that sees, decoders that speak, and the search that chooses the words.

mod efficientnet_lite;
mod resnet;
mod search;
mod show_attend_tell;
mod show_tell;

pub(crate) use resnet::blocks as resnet_blocks;
pub(crate) use search::{SearchOptions, build};

use crate::error::Error;
use crate::graph::{Graph, TensorId};

/// The state of a decoder's LSTM layers: for each `[h, c]`, both `[R, H]`.
pub(crate) type State = Vec<[TensorId; 2]>;

/// What a decoder says at one step.
pub(crate) struct Step {
    /// Scores of all words before the softmax, `[R, V]`.
    pub(crate) logits: TensorId,
    /// The state after the step.
    pub(crate) state: State,
    /// Where it looked, `[R, P]`, if it looks.
    pub(crate) attention: Option<TensorId>,
}

/// A network that turns what the encoder saw into words, one step at a time.
pub(crate) trait Decoder {
    /// The state before the first word, of `N` rows.
    fn start(&mut self, graph: &mut Graph) -> Result<State, Error>;

    /// What the state alone says, without a word before it.
    fn say(&mut self, graph: &mut Graph, state: State) -> Result<Step, Error>;

    /// One step for `R` rows, `tokens [R]` being the words before; `R / N` rows belong to each image.
    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error>;

    /// The number of words that it can say.
    fn vocabulary(&self) -> usize;
}
