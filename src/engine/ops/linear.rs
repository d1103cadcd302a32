//! A matrix times rows.

use crate::engine::cpu;
use crate::engine::graph::{Constant, DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Activation, Infer, Operand, Operands, Operation, conv2d, exactly};
use crate::engine::plan::heuristics::conv2d::ConvShape;
use crate::engine::plan::heuristics::{self, RowsShape};
use crate::engine::plan::{Dispatch, KernelCandidates, Lowering, Packing, Shader, WEIGHT_VARIANTS, params};
use crate::engine::reference;

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
    source: include_str!("../../../shaders/linear.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SUBGROUP: Shader = Shader {
    name: "linear_subgroup",
    source: include_str!("../../../shaders/linear_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SLICED: Shader = Shader {
    name: "linear_sliced",
    source: include_str!("../../../shaders/linear_sliced.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

/// The 1x1 convolution that a layer with many rows for each item of the batch runs as: the rows are its pixels.
fn as_conv2d(node: &Lowering<'_>) -> Option<ConvShape> {
    let x = &node.inputs[0].shape;
    // The first of several axes is the batch.
    let items = if x.len() > 1 { x[0].max(1) } else { 1 };
    let (rows, outputs) = (x.rows() / items, node.outputs[0].shape.last());
    let compact = node.inputs[1].constant.as_ref().is_some_and(Constant::is_compact);
    heuristics::is_gemm(rows, outputs).then(|| ConvShape::pointwise(rows, x.last(), outputs, compact))
}

fn as_rows(node: &Lowering<'_>) -> RowsShape {
    let outputs = node.outputs[0].shape.last();
    RowsShape { op: "linear", widths: vec![node.inputs[0].shape.last()], outputs }
}

impl Operation for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x"), Operand::weight("weight"), Operand::weight("bias")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, weight, bias] = exactly(inputs)?;
        self.activation.fusible()?;
        let Some([outputs, width]) = weight.shape.sizes() else {
            return Err(format!("expected a weight [O, I], found {}", weight.shape));
        };
        if x.shape.is_empty() || x.shape.last() != width {
            return Err(format!("expected rows of {width} for weight {}, found {}", weight.shape, x.shape));
        }
        if *bias.shape != [outputs] {
            return Err(format!("expected a bias [{outputs}], found {}", bias.shape));
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
        vec![Data::F32(reference::linear::linear(x, rows, weight, bias, width, bias.len(), self.activation))]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        cpu::linear(self, node)
    }

    fn candidates(&self, node: &Lowering<'_>) -> Option<KernelCandidates> {
        Some(match as_conv2d(node) {
            Some(shape) => {
                KernelCandidates::new(&shape, &heuristics::conv2d::candidates(&shape, node.target))
            }
            None => {
                let shape = as_rows(node);
                KernelCandidates::new(&shape, &heuristics::rows_candidates(&shape, node.target))
            }
        })
    }

    fn scratch(&self, node: &Lowering<'_>) -> Vec<usize> {
        let product = as_conv2d(node)
            .map(|shape| heuristics::conv2d::kernel(&shape, node.target, node.choices).product);
        let results = node.outputs[0].shape.elements();
        product.map_or_else(Vec::new, |product| conv2d::product::scratch(product, results))
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let (rows, inputs) = (x.rows(), x.last());
        let outputs = node.outputs[0].shape.last();
        if let Some(shape) = as_conv2d(node) {
            let product = heuristics::conv2d::kernel(&shape, node.target, node.choices).product;
            let sizes = [rows, inputs, outputs];
            return Ok(conv2d::product::pointwise(node, product, sizes, self.activation));
        }
        let [low, high] = self.activation.clamp();
        let params = Params { rows, inputs, outputs, low, high };
        let kernel = heuristics::rows(&as_rows(node), node.target, node.choices);
        let block = heuristics::row_block(rows, kernel.max_rows());
        let shaders = [&SUBGROUP, &SHADER, &SLICED];
        let lanes = kernel.lanes() as usize;
        let ([weight], kernel) = node.rows_kernel(kernel, shaders, [(1, Packing::inputs)], block);
        let bindings = vec![node.input(0), weight, node.weight(2, Packing::FLAT), node.output(0)];
        let grid = [outputs.div_ceil(4).div_ceil(lanes), rows.div_ceil(block as usize), 1];
        Ok(vec![node.grid(kernel, bindings, params.words(), grid)])
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
        self.append(name, Linear::default(), vec![x, weight, bias])
    }
}
