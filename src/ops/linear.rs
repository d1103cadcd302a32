//! A matrix times rows.

use super::dispatch::{Infer, Lowering, Operation, Shader, WEIGHT_VARIANTS, params};
use crate::cpu;
use crate::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::ops::choose::{self, LinearKernel};
use crate::ops::{Activation, Dispatch, Packing, conv2d};

/// `activation(x W^T + b)`: rows `[.., I]` to `[.., O]`.
///
/// Operands: `x [.., I]`, `weight [O, I]`, `bias [O]`, the last two constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// Applied to the result: identity, relu or relu6.
    pub activation: Activation,
}

params! { rows: usize, inputs: usize, outputs: usize, low: f32, high: f32 }

pub(super) const SHADER: Shader = Shader {
    name: "linear",
    source: include_str!("../../shaders/linear.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SUBGROUP: Shader = Shader {
    name: "linear_subgroup",
    source: include_str!("../../shaders/linear_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

impl Operation for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, weight, bias] = inputs else {
            return Err(format!("expected 3 operands, found {}", inputs.len()));
        };
        self.activation.fusible()?;
        let Some([outputs, width]) = weight.shape.sizes() else {
            return Err(format!("expected a weight [O, I], found {}", weight.shape));
        };
        if x.dtype != DType::F32 || x.shape.last() != width {
            return Err(format!(
                "expected rows of {width} f32 for weight {}, found {} {}",
                weight.shape, x.dtype, x.shape
            ));
        }
        if *bias.shape != [outputs] || weight.constant.is_none() || bias.constant.is_none() {
            return Err(format!("expected a constant bias [{outputs}], found {}", bias.shape));
        }
        let mut sizes = x.shape.to_vec();
        if let Some(last) = sizes.last_mut() {
            *last = outputs;
        }
        Ok(vec![(sizes.into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].1.f32());
        let (rows, width) = (inputs[0].0.shape.rows(), inputs[0].0.shape.last());
        vec![Data::F32(cpu::linear::linear(x, rows, weight, bias, width, bias.len(), self.activation))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let (rows, inputs) = (x.rows(), x.last());
        let outputs = node.outputs[0].shape.last();
        // The first of several axes is the batch.
        let items = if x.len() > 1 { x[0].max(1) } else { 1 };
        let block = match choose::linear([items, rows / items], outputs) {
            LinearKernel::Gemm => return Ok(conv2d::pointwise(node, rows, inputs, outputs, self.activation)),
            LinearKernel::Rows(block) => block,
        };
        let [low, high] = self.activation.clamp();
        let params = Params { rows, inputs, outputs, low, high };
        let lanes = choose::lanes(node.target.class);
        let shares_lanes = choose::shares_lanes(node.target, inputs);
        let (weight, kernel) =
            node.rows_kernel([&SHADER, &SUBGROUP], shares_lanes, 1, Packing::inputs, block);
        let bindings = vec![node.input(0), weight, node.weight(2, Packing::FLAT), node.output(0)];
        let workgroups =
            [outputs.div_ceil(4).div_ceil(lanes as usize) as u32, rows.div_ceil(block as usize) as u32, 1];
        Ok(vec![Dispatch { kernel, bindings, params: params.words(), workgroups }])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * (node.outputs[0].shape.elements() * node.inputs[0].shape.last()) as u64
    }
}

impl Graph {
    /// Appends a [`Linear`] node without activation.
    ///
    /// # Errors
    /// The rows of `x` are not as long as those of `weight [O, I]`, or `bias` is not `[O]`.
    pub fn linear(
        &mut self,
        name: &str,
        x: TensorId,
        weight: TensorId,
        bias: TensorId,
    ) -> Result<TensorId, GraphError> {
        self.add(name, Linear::default(), vec![x, weight, bias])
    }
}
