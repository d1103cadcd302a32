//! Other sizes for the same values.

use crate::engine::graph::{Data, Graph, GraphError, Shape, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering};

/// The values of a tensor, in their order in memory (the last axis varies fastest), under other sizes. The result is a view: it shares
/// the operand's memory, and nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new sizes, whose product is the number of values.
    pub shape: Shape,
}

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::any("x")] })
    }

    fn is_view(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        if self.shape.elements() != x.shape.elements() {
            return Err(format!(
                "expected sizes for the {} values of {}, found {}, which has {}",
                x.shape.elements(),
                x.shape,
                self.shape,
                self.shape.elements()
            ));
        }
        Ok(vec![(self.shape.clone(), x.dtype)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        vec![inputs[0].1.clone()]
    }

    fn lower(&self, _: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        Ok(Vec::new())
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }
}

impl Graph {
    /// Appends a [`Reshape`] node: the values of `x`, in their order, as a tensor of this shape.
    ///
    /// # Errors
    /// The product of the sizes is not the number of values of `x`.
    pub fn reshape(
        &mut self,
        name: &str,
        x: TensorId,
        shape: impl Into<Shape>,
    ) -> Result<TensorId, GraphError> {
        self.append(name, Reshape { shape: shape.into() }, vec![x])
    }

    /// Appends a [`Reshape`] node: `[N, A, B, ..]` becomes `[N, A B ..]`.
    ///
    /// Images are `[N, H, W, C]` here, but `[N, C, H, W]` in PyTorch. A linear layer that was trained behind its flatten needs a
    /// [`transpose`](Graph::transpose) by 0, 3, 1, 2 in between, unless height and width are 1.
    ///
    /// # Errors
    /// `x` has no axis.
    pub fn flatten(&mut self, name: &str, x: TensorId) -> Result<TensorId, GraphError> {
        let shape = self.shape(x);
        match shape.split_first() {
            Some((&first, others)) => {
                let shape = [first, others.iter().product()];
                self.reshape(name, x, shape)
            }
            None => Err(GraphError {
                node: name.to_owned(),
                message: "expected a tensor with at least one axis, found a scalar".to_owned(),
            }),
        }
    }
}
