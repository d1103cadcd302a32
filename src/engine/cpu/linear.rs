//! A matrix times rows.

use super::kernel::{Kernel, Operands, Preparation};
use super::packed::Layout;
use super::product::{Product, Rows};
use super::workers::Workers;
use crate::engine::graph::GraphError;
use crate::engine::ops::Linear;

/// Prepares a linear layer.
pub(crate) fn linear(op: &Linear, node: &mut Preparation<'_>) -> Option<Box<dyn Kernel>> {
    let (rows, width) = (node.inputs[0].shape.rows(), node.inputs[0].shape.last());
    let weights = node.packed(1, Layout { groups: 1, taps: 1, instructions: node.instructions })?;
    let bias = node.constant(2)?.read().into_owned();
    let rows = Rows::dense(rows, width);
    Some(Box::new(Layer(Product::new(weights, bias, op.activation.bounds()?, rows, node.instructions))))
}

#[derive(Debug)]
struct Layer(Product);

impl Kernel for Layer {
    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let x: &[f32] = bytemuck::cast_slice(node.inputs[0]);
        self.0.run(x, None, bytemuck::cast_slice_mut(node.outputs[0]), workers);
        Ok(())
    }
}
