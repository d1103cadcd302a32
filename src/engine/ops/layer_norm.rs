//! Layer normalisation.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Packing, ROW_VARIANTS, Shader, params};
use crate::engine::reference;

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last axis (Ba, Kiros and Hinton, arXiv 1607.06450), with the mean
/// and the biased variance of each row, as `torch.nn.LayerNorm` over one axis.
///
/// Operands: `x [.., C]`, constants `weight [C]` and `bias [C]`. Result: `[.., C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance; above 0.
    pub epsilon: f32,
}

impl Default for LayerNorm {
    /// PyTorch's: 1e-5.
    fn default() -> Self {
        LayerNorm { epsilon: 1e-5 }
    }
}

params! { rows: usize, columns: usize, epsilon: f32 }

pub(super) const SHADER: Shader = Shader {
    name: "layer_norm",
    source: include_str!("../../../shaders/layer_norm.wgsl"),
    params: Params::FIELDS,
    variants: ROW_VARIANTS,
};

impl Operation for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x"), Operand::weight("weight"), Operand::weight("bias")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, weight, bias] = exactly(inputs)?;
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(format!("expected a finite epsilon above 0, found {}", self.epsilon));
        }
        let channels = x.shape.last();
        if [weight, bias].iter().any(|operand| *operand.shape != [channels]) {
            return Err(format!(
                "expected a weight and a bias [{channels}] for {}, found {} and {}",
                x.shape, weight.shape, bias.shape
            ));
        }
        Ok(vec![(x.shape.clone(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].1.f32());
        vec![Data::F32(reference::layer_norm::layer_norm(x, weight, bias, self.epsilon))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let params = Params { rows: x.rows(), columns: x.last(), epsilon: self.epsilon };
        let bindings =
            vec![node.input(0), node.weight(1, Packing::FLAT), node.weight(2, Packing::FLAT), node.output(0)];
        Ok(node.per_row(&SHADER, bindings, params.words(), x.rows(), 3 * x.last()))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        10 * node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends a [`LayerNorm`] node: `x [.., C]`, `weight [C]` and `bias [C]` to `[.., C]`.
    ///
    /// # Errors
    /// `weight` or `bias` is no constant `[C]`, or epsilon is not above 0.
    pub fn layer_norm(
        &mut self,
        name: &str,
        x: TensorId,
        weight: TensorId,
        bias: TensorId,
        norm: LayerNorm,
    ) -> Result<TensorId, GraphError> {
        self.append(name, norm, vec![x, weight, bias])
    }
}
