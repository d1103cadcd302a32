//! Rows of a tensor, by index.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};
use crate::engine::reference;

/// Row `indices[m]` of `x [.., W]` for each `m`, as `[M, W]`. An index outside of `x` gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherRows;

params! { count: usize, width: usize, rows: usize }

pub(super) const SHADER: Shader = Shader {
    name: "gather_rows",
    source: include_str!("../../../shaders/gather_rows.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x"), Operand::u32("indices")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, indices] = exactly(inputs)?;
        Ok(vec![([indices.shape.elements(), x.shape.last()].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let width = inputs[0].0.shape.last();
        vec![Data::F32(reference::gather_rows::gather_rows(inputs[0].1.f32(), inputs[1].1.u32(), width))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let count = node.outputs[0].shape.elements();
        let params = Params { count, width: x.last(), rows: x.rows() };
        Ok(node.flat(&SHADER, vec![node.input(0), node.input(1), node.output(0)], params.words(), count))
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }
}

impl Graph {
    /// Appends a [`GatherRows`] node.
    ///
    /// # Errors
    /// `x` are not floats, or `indices` are not integers.
    pub fn gather_rows(
        &mut self,
        name: &str,
        x: TensorId,
        indices: TensorId,
    ) -> Result<TensorId, GraphError> {
        self.append(name, GatherRows, vec![x, indices])
    }
}
