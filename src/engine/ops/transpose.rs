//! Axes in another order.

use super::axes::{copy, copy_shader, expect_words};
use crate::engine::graph::{Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader};
use crate::engine::reference;
use crate::engine::reference::positions::row_major;

/// Axis `k` of the result is axis `axes[k]` of the operand, as `numpy.transpose` and `torch.permute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// Each axis of the operand once.
    pub axes: Vec<usize>,
}

pub(super) const SHADER: Shader = copy_shader("transpose", include_str!("../../../shaders/transpose.wgsl"));

impl Operation for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::any("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        expect_words(x)?;
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.len()) {
            return Err(format!("expected each axis of {} once, found {:?}", x.shape, self.axes));
        }
        let sizes: Vec<usize> = self.axes.iter().map(|&axis| x.shape[axis]).collect();
        Ok(vec![(sizes.into(), x.dtype)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let (x, data) = inputs[0];
        vec![reference::transpose::transpose(data, &x.shape, &self.axes)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let steps = row_major(x);
        let axes = self.axes.iter().map(|&axis| (x[axis], [steps[axis]]));
        copy(node, &SHADER, [node.input(0), node.output(0)], x.elements(), 0, axes)
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }
}

impl Graph {
    /// Appends a [`Transpose`] node: axis `k` of the result is axis `axes[k]` of `x`. With axes 0, 3, 1, 2 `[N, H, W, C]` becomes
    /// `[N, C, H, W]`.
    ///
    /// # Errors
    /// `axes` does not name each axis of `x` once, or `x` has bytes.
    pub fn transpose(&mut self, name: &str, x: TensorId, axes: &[usize]) -> Result<TensorId, GraphError> {
        self.append(name, Transpose { axes: axes.to_vec() }, vec![x])
    }
}
