//! One step of a long short-term memory: one product for all gates.

use super::kernel::{Kernel, Operands, Preparation};
use super::packed::Layout;
use super::product::{Product, Rows};
use super::workers::Workers;
use crate::engine::graph::GraphError;
use crate::engine::ops::Activation::{Sigmoid, Tanh};
use crate::engine::reference::activation::apply;

/// Prepares an LSTM cell.
pub(crate) fn lstm_cell(node: &mut Preparation<'_>) -> Option<Box<dyn Kernel>> {
    let (rows, hidden) = (node.inputs[0].shape.rows(), node.inputs[0].shape.last());
    let inputs: Vec<usize> = node.inputs[4..].iter().map(|x| x.shape.last()).collect();
    let width = hidden + inputs.iter().sum::<usize>();
    let weights = node.packed(2, Layout { groups: 1, taps: 1, instructions: node.instructions })?;
    let bias = node.constant(3)?.read().into_owned();
    let unbounded = [f32::NEG_INFINITY, f32::INFINITY];
    let gates = Product::new(weights, bias, unbounded, Rows::dense(rows, width), node.instructions);
    Some(Box::new(Cell { rows, hidden, inputs, gates }))
}

#[derive(Debug)]
struct Cell {
    rows: usize,
    hidden: usize,
    /// Widths of the inputs.
    inputs: Vec<usize>,
    gates: Product,
}

impl Cell {
    /// Columns of the weights.
    fn width(&self) -> usize {
        self.hidden + self.inputs.iter().sum::<usize>()
    }
}

impl Kernel for Cell {
    fn scratch(&self) -> usize {
        self.rows * (self.width() + 4 * self.hidden)
    }

    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let (hidden, width) = (self.hidden, self.width());
        let (joined, gates) = node.scratch.split_at_mut(self.rows * width);
        let operand = |index: usize| -> &[f32] { bytemuck::cast_slice(node.inputs[index]) };
        for (row, joined) in joined.chunks_exact_mut(width).enumerate() {
            let mut rest = joined;
            let sources = (4..).zip(&self.inputs).chain([(0, &hidden)]);
            for (index, &width) in sources {
                let (part, others) = rest.split_at_mut(width);
                part.copy_from_slice(&operand(index)[row * width..][..width]);
                rest = others;
            }
        }
        self.gates.run(joined, None, gates, workers);
        let c = operand(1);
        let [next_h, next_c] = &mut node.outputs[..] else { return Ok(()) };
        let next_h: &mut [f32] = bytemuck::cast_slice_mut(next_h);
        let next_c: &mut [f32] = bytemuck::cast_slice_mut(next_c);
        for (row, gates) in gates.chunks_exact(4 * hidden).enumerate() {
            for unit in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * hidden + unit]);
                let at = row * hidden + unit;
                next_c[at] = apply(Sigmoid, f) * c[at] + apply(Sigmoid, i) * apply(Tanh, g);
                next_h[at] = apply(Sigmoid, o) * apply(Tanh, next_c[at]);
            }
        }
        Ok(())
    }
}
