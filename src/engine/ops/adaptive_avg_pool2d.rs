//! Mean over windows that cover the image for any output size.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};
use crate::engine::reference;

/// Output row `i` of `OH` is the mean of input rows `floor(i H / OH)` to `ceil((i + 1) H / OH)`, columns alike.
///
/// `[N, H, W, C]` to `[N, OH, OW, C]`; `[1, 1]` is the global mean, and an output larger than the input repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    /// Output height and width.
    pub output: [usize; 2],
}

params! {
    count: usize, channels: usize, in_height: usize, in_width: usize, out_height: usize, out_width: usize,
}

pub(super) const SHADER: Shader = Shader {
    name: "adaptive_avg_pool2d",
    source: include_str!("../../../shaders/adaptive_avg_pool2d.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for AdaptiveAvgPool2d {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [height, width] = self.output;
        let [x] = exactly(inputs)?;
        match x.shape.sizes() {
            Some([n, _, _, c]) if height > 0 && width > 0 => {
                Ok(vec![([n, height, width, c].into(), DType::F32)])
            }
            _ => Err(format!(
                "expected [N, H, W, C] and an output of at least 1x1, found {} and {height}x{width}",
                x.shape
            )),
        }
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let (tensor, x) = inputs[0];
        let shape = tensor.shape.sizes().unwrap_or_default();
        vec![Data::F32(reference::adaptive_avg_pool2d::adaptive_avg_pool2d(x.f32(), shape, self.output))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let [_, in_height, in_width, channels] = node.inputs[0].shape.sizes().unwrap_or_default();
        let [out_height, out_width] = self.output;
        let count = node.outputs[0].shape.elements();
        let params = Params { count, channels, in_height, in_width, out_height, out_width };
        Ok(node.flat(&SHADER, vec![node.input(0), node.output(0)], params.words(), count))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        node.inputs[0].shape.elements().max(node.outputs[0].shape.elements()) as u64
    }
}

impl Graph {
    /// Appends an [`AdaptiveAvgPool2d`] node.
    ///
    /// # Errors
    /// `x` is not `[N, H, W, C]`, or the output has no size.
    pub fn adaptive_avg_pool2d(
        &mut self,
        name: &str,
        x: TensorId,
        output: [usize; 2],
    ) -> Result<TensorId, GraphError> {
        self.append(name, AdaptiveAvgPool2d { output }, vec![x])
    }
}
