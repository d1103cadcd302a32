//! The interface of all operations: shape rule, reference, cost, and the dispatches that carry it out.

use crate::engine::graph::{DType, Data, Shape, Tensor};
use crate::engine::plan::{Cost, Dispatch, KernelCandidates, Lowering};

/// Sizes and element type of a result.
pub(crate) type Infer = Result<Vec<(Shape, DType)>, String>;

/// The one interface of all operations.
pub(crate) trait Operation {
    /// The stem of its files.
    fn name(&self) -> &'static str;

    /// The results for these operands, or what was expected and what was found.
    fn infer(&self, inputs: &[&Tensor]) -> Infer;

    /// Runs the reference twin. Operands and results have the shapes that `infer` agreed to.
    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data>;

    /// The kernels that could be timed against each other, if there are several.
    fn candidates(&self, _: &Lowering<'_>) -> Option<KernelCandidates> {
        None
    }

    /// Bytes of the memory that passes between its dispatches, which know it as [`Binding::Scratch`].
    fn scratch(&self, _: &Lowering<'_>) -> Vec<usize> {
        Vec::new()
    }

    /// The dispatches that carry it out.
    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String>;

    /// Floating-point operations of one run.
    fn flops(&self, node: &Lowering<'_>) -> u64;

    /// Arithmetic and traffic of one run.
    fn cost(&self, node: &Lowering<'_>) -> Cost {
        let tensors = node.inputs.iter().chain(&node.outputs);
        Cost { flops: self.flops(node), bytes: tensors.map(|t| t.bytes() as u64).sum() }
    }
}
