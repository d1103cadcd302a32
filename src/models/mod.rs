//! The networks, as graphs: an encoder that sees, decoders that speak, and the search that chooses the words.

mod efficientnet_lite;
mod resnet;
mod search;
mod show_attend_tell;
mod show_tell;
mod tensor_scope;

pub(crate) use search::{SearchGraph, SearchOptions, build};

use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::LstmWeights;
use crate::error::Error;
use tensor_scope::TensorScope;

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
    fn logits(&mut self, graph: &mut Graph, state: State) -> Result<Step, Error>;

    /// One step for `R` rows, `tokens [R]` being the words before; `R / N` rows belong to each image.
    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error>;

    /// The number of words that it can say.
    fn vocabulary(&self) -> usize;
}

/// Joins PyTorch's four tensors of an LSTM cell: the weights of input and state, and their biases, called `names` in this order.
/// `inputs` and `hidden` are the widths of input and state.
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
