//! Rows of a table, by token id.

use crate::engine::cpu;
use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Cost, Dispatch, Kernel, Lowering, Packing, Shader, WEIGHT_VARIANTS, params};
use crate::engine::reference;

/// Row `tokens[r]` of the table for each `r`: `[R]` ids and a constant `[V, E]` give `[R, E]`.
/// An id outside of the table gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding;

params! { count: usize, width: usize, entries: usize }

pub(super) const SHADER: Shader = Shader {
    name: "embedding",
    source: include_str!("../../../shaders/embedding.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

impl Operation for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::u32("ids"), Operand::weight("table")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [ids, table] = exactly(inputs)?;
        match table.shape.sizes() {
            Some([_, width]) => Ok(vec![([ids.shape.elements(), width].into(), DType::F32)]),
            None => Err(format!("expected a table [V, E], found {}", table.shape)),
        }
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let width = inputs[1].0.shape.last();
        vec![Data::F32(reference::embedding::embedding(inputs[0].1.u32(), inputs[1].1.f32(), width))]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        cpu::embedding(node)
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let table = &node.inputs[1].shape;
        let count = node.outputs[0].shape.elements();
        let params = Params { count, width: table.last(), entries: table.rows() };
        let half = node.is_half(&[1]);
        let bindings = vec![node.input(0), node.packed_weight(1, Packing::FLAT, half), node.output(0)];
        let kernel = Kernel::new(&SHADER, WEIGHT_VARIANTS[usize::from(half)], Vec::new());
        Ok(node.flat(kernel, bindings, params.words(), count))
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }

    fn cost(&self, node: &Lowering<'_>) -> Cost {
        // Only the rows that are looked up are read.
        Cost { flops: 0, bytes: 2 * node.outputs[0].bytes() as u64 }
    }
}

impl Graph {
    /// Appends an [`Embedding`] node.
    ///
    /// # Errors
    /// `tokens` are not ids, or `table` is not a constant `[V, E]`.
    pub fn embedding(
        &mut self,
        name: &str,
        tokens: TensorId,
        table: TensorId,
    ) -> Result<TensorId, GraphError> {
        self.append(name, Embedding, vec![tokens, table])
    }
}
