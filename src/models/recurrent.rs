//! The recurrent layers of decoders: LSTM or GRU.

use super::TensorScope;
use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::{GruWeights, LstmWeights};
use crate::error::Error;
use crate::weights::Cell;

/// The state of a recurrent layer, each tensor `[R, H]`: `h` and `c` of an LSTM, `h` of a GRU.
pub(crate) type LayerState = Vec<TensorId>;

/// The weights of a recurrent layer.
#[derive(Clone, Copy)]
pub(super) enum Recurrent {
    Lstm(LstmWeights),
    Gru(GruWeights),
}

impl Recurrent {
    /// Reads PyTorch's four tensors of a cell: the weights of input and state, and their biases. `names` are their names in this
    /// order; `inputs` and `hidden` are the widths of input and state.
    pub(super) fn new(
        graph: &mut Graph,
        tensors: &TensorScope<'_>,
        cell: Cell,
        names: [&str; 4],
        [inputs, hidden]: [usize; 2],
    ) -> Result<Recurrent, Error> {
        let rows = cell.gates() * hidden;
        match cell {
            Cell::Lstm => {
                let of_input = tensors.values(names[0], &[rows, inputs])?;
                let of_state = tensors.values(names[1], &[rows, hidden])?;
                let mut weight = Vec::with_capacity(of_input.len() + of_state.len());
                for (input, state) in of_input.chunks_exact(inputs).zip(of_state.chunks_exact(hidden)) {
                    weight.extend_from_slice(input);
                    weight.extend_from_slice(state);
                }
                let biases = tensors.values(names[2], &[rows])?;
                let others = tensors.values(names[3], &[rows])?;
                let bias: Vec<f32> = biases.iter().zip(&others).map(|(a, b)| a + b).collect();
                Ok(Recurrent::Lstm(LstmWeights {
                    weight: graph.constant(names[0], [rows, inputs + hidden], weight)?,
                    bias: graph.constant(names[2], [rows], bias)?,
                }))
            }
            // The biases of a GRU cannot be added: that of the state is inside of the reset gate.
            Cell::Gru => Ok(Recurrent::Gru(GruWeights {
                weight_ih: tensors.constant(graph, names[0], [rows, inputs])?,
                weight_hh: tensors.constant(graph, names[1], [rows, hidden])?,
                bias_ih: tensors.constant(graph, names[2], [rows])?,
                bias_hh: tensors.constant(graph, names[3], [rows])?,
            })),
        }
    }

    /// The state after a step. The inputs `[R, X]` are joined.
    pub(super) fn step(
        &self,
        graph: &mut Graph,
        name: &str,
        inputs: &[TensorId],
        state: &[TensorId],
    ) -> Result<LayerState, Error> {
        match (self, state) {
            (Recurrent::Lstm(weights), &[h, c]) => {
                Ok(graph.lstm_cell(name, inputs, [h, c], *weights)?.to_vec())
            }
            (Recurrent::Gru(weights), &[h]) => {
                let input = match inputs {
                    &[input] => input,
                    several => graph.concat(name, several, 1)?,
                };
                // The pooled photo, which may be the input or the first state, has four axes.
                let rows = |graph: &mut Graph, tensor: TensorId| {
                    let shape = [graph.shape(tensor).rows(), graph.shape(tensor).last()];
                    graph.reshape(name, tensor, shape)
                };
                let (input, h) = (rows(graph, input)?, rows(graph, h)?);
                Ok(vec![graph.gru_cell(name, input, h, *weights)?])
            }
            _ => Err(Error::invalid("expected a state of two tensors for an LSTM, and of one for a GRU")),
        }
    }
}
