//! The networks, as graphs: an encoder that sees, decoders that speak, and the search that chooses the words.

mod efficientnet_lite;
mod search;
mod show_attend_tell;
mod show_tell;

pub(crate) use search::{SearchOptions, build};

use crate::error::Error;
use crate::graph::{Graph, TensorId};

/// What a decoder says at one step.
pub(crate) struct Step {
    /// Scores of all words before the softmax, `[R, V]`.
    pub(crate) logits: TensorId,
    /// The LSTM's state after the step, `[R, H]` each.
    pub(crate) state: [TensorId; 2],
    /// Where it looked, `[R, P]`, if it looks.
    pub(crate) attention: Option<TensorId>,
}

/// A network that turns what the encoder saw into words, one step at a time.
pub(crate) trait Decoder {
    /// The state before the first word, `[N, H]` each.
    fn start(&mut self, graph: &mut Graph) -> Result<[TensorId; 2], Error>;

    /// One step for `R` rows, `tokens [R]` being the words before; `R / N` rows belong to each image.
    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: [TensorId; 2]) -> Result<Step, Error>;

    /// The number of words that it can say.
    fn vocabulary(&self) -> usize;
}
