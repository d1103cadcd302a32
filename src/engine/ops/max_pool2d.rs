//! Maximum over windows.

use crate::engine::cpu;
use crate::engine::graph::{Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, Pool2d, pool2d};
use crate::engine::plan::{Dispatch, Lowering, Shader};
use crate::engine::reference;

/// The maximum of each window; what lies in the padding does not count: `[N, H, W, C]` to `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d(pub Pool2d);

pub(super) const SHADER: Shader = Shader {
    name: "max_pool2d",
    source: include_str!("../../../shaders/max_pool2d.wgsl"),
    params: pool2d::FIELDS,
    variants: &[&[]],
};

impl Operation for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        self.0.infer(inputs)
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let (tensor, x) = inputs[0];
        let shape = tensor.shape.sizes().unwrap_or_default();
        vec![Data::F32(reference::max_pool2d::max_pool2d(x.f32(), shape, &self.0))]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        cpu::max_pool2d(&self.0, node)
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        Ok(self.0.lower(node, &SHADER))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        self.0.flops(node)
    }
}

impl Graph {
    /// Appends a [`MaxPool2d`] node.
    ///
    /// # Errors
    /// The window does not fit into the padded image, or is padded by more than half its size.
    pub fn max_pool2d(&mut self, name: &str, x: TensorId, pool: Pool2d) -> Result<TensorId, GraphError> {
        self.append(name, MaxPool2d(pool), vec![x])
    }
}
