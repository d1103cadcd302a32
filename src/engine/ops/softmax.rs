//! Softmax and log-softmax over rows.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, ROW_VARIANTS, Shader, params};
use crate::engine::reference;

/// `exp(x - max) / sum(exp(x - max))` over the last axis, or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Gives `x - max - log(sum(exp(x - max)))`.
    pub log: bool,
}

params! { rows: usize, columns: usize, log: u32 }

pub(super) const SHADER: Shader = Shader {
    name: "softmax",
    source: include_str!("../../../shaders/softmax.wgsl"),
    params: Params::FIELDS,
    variants: ROW_VARIANTS,
};

impl Operation for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        Ok(vec![(x.shape.clone(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        vec![Data::F32(reference::softmax::softmax(inputs[0].1.f32(), inputs[0].0.shape.last(), self.log))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let params = Params { rows: x.rows(), columns: x.last(), log: u32::from(self.log) };
        Ok(node.per_row(&SHADER, vec![node.input(0), node.output(0)], params.words(), x.rows(), 3 * x.last()))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        4 * node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends a [`Softmax`] node.
    ///
    /// # Errors
    /// `x` has no floats.
    pub fn softmax(&mut self, name: &str, x: TensorId) -> Result<TensorId, GraphError> {
        self.append(name, Softmax { log: false }, vec![x])
    }

    /// Appends a [`Softmax`] node that gives logarithms.
    ///
    /// # Errors
    /// `x` has no floats.
    pub fn log_softmax(&mut self, name: &str, x: TensorId) -> Result<TensorId, GraphError> {
        self.append(name, Softmax { log: true }, vec![x])
    }
}
