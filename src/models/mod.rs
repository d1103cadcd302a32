//! The networks as graphs: an encoder of photos, decoders of sentences, and the search that chooses the words.

mod efficientnet_lite;
mod resnet;
mod search;
mod semantic_attention;
mod show_attend_tell;
mod show_tell;
mod tensor_scope;

pub(crate) use search::{SearchGraph, SearchOptions, build};

use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::LstmWeights;
use crate::error::Error;
use tensor_scope::TensorScope;

/// The state of a decoder's LSTM layers: `[h, c]` for each, both `[R, H]`.
pub(crate) type State = Vec<[TensorId; 2]>;

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

/// Joins PyTorch's four tensors of an LSTM cell: the weights of input and state, and their biases. `names` are their names in
/// this order; `inputs` and `hidden` are the widths of input and state.
fn lstm_weights(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    names: [&str; 4],
    [inputs, hidden]: [usize; 2],
) -> Result<LstmWeights, Error> {
    let of_input = tensors.values(names[0], &[4 * hidden, inputs])?;
    let of_state = tensors.values(names[1], &[4 * hidden, hidden])?;
    let mut weight = Vec::with_capacity(of_input.len() + of_state.len());
    for (input, state) in of_input.chunks_exact(inputs).zip(of_state.chunks_exact(hidden)) {
        weight.extend_from_slice(input);
        weight.extend_from_slice(state);
    }
    let biases = tensors.values(names[2], &[4 * hidden])?;
    let others = tensors.values(names[3], &[4 * hidden])?;
    let bias: Vec<f32> = biases.iter().zip(&others).map(|(a, b)| a + b).collect();
    Ok(LstmWeights {
        weight: graph.constant(names[0], [4 * hidden, inputs + hidden], weight)?,
        bias: graph.constant(names[2], [4 * hidden], bias)?,
    })
}
