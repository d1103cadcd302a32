//! Elementwise activations, alone or fused behind a convolution, an addition or a linear layer.

use super::axes::{FOURS_VARIANTS, in_fours};
use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Kernel, Lowering, Shader, params};
use crate::engine::reference;

/// The function applied to every value of an op's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`, as used by MobileNet and EfficientNet-Lite.
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `(exp(x) - exp(-x)) / (exp(x) + exp(-x))`
    Tanh,
    /// `x / 2 (1 + erf(x / sqrt(2)))`, the exact form and PyTorch's default (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// `x sigmoid(x)`, also known as swish.
    Silu,
    /// `relu6(x + 3) / 6`, the gate of MobileNetV3's squeeze-and-excitation (Howard et al. 2019, arXiv 1905.02244).
    HardSigmoid,
    /// `x relu6(x + 3) / 6`, of the same.
    HardSwish,
    /// The natural logarithm; `-inf` for zero, NaN below.
    Log,
}

impl Activation {
    /// The number by which shaders know this activation.
    pub fn code(self) -> u32 {
        match self {
            Self::Identity => 0,
            Self::Relu => 1,
            Self::Relu6 => 2,
            Self::Sigmoid => 3,
            Self::Tanh => 4,
            Self::Gelu => 5,
            Self::Silu => 6,
            Self::HardSigmoid => 7,
            Self::HardSwish => 8,
            Self::Log => 9,
        }
    }

    /// The activation as a clamp, if it is one: what the last step of another operation can apply for nothing.
    pub fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Self::Identity => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some([0.0, 6.0]),
            Self::Sigmoid
            | Self::Tanh
            | Self::Gelu
            | Self::Silu
            | Self::HardSigmoid
            | Self::HardSwish
            | Self::Log => None,
        }
    }

    /// The bounds, for operations that check with [`Activation::fusible`] that there are any.
    pub(super) fn clamp(self) -> [f32; 2] {
        self.bounds().unwrap_or([f32::NEG_INFINITY, f32::INFINITY])
    }

    /// Says so where an operation cannot apply the activation in its last step.
    pub(super) fn fusible(self) -> Result<(), String> {
        match self.bounds() {
            Some(_) => Ok(()),
            None => Err(format!(
                "expected identity, relu or relu6 in the last step, found {self:?}: add a node for it"
            )),
        }
    }
}

params! { count: usize, activation: u32 }

pub(super) const SHADER: Shader = Shader {
    name: "activation",
    source: include_str!("../../../shaders/activation.wgsl"),
    params: Params::FIELDS,
    variants: FOURS_VARIANTS,
};

impl Operation for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        Ok(vec![(x.shape.clone(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        vec![Data::F32(reference::activation::activation(*self, inputs[0].1.f32()))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let (width, defines) = in_fours(node.outputs[0].shape.elements());
        let count = node.outputs[0].shape.elements() / width;
        let params = Params { count, activation: self.code() };
        let kernel = Kernel::new(&SHADER, defines, Vec::new());
        Ok(node.flat(kernel, vec![node.input(0), node.output(0)], params.words(), count))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends an [`Activation`] node.
    ///
    /// # Errors
    /// `x` are not floats.
    pub fn activation(
        &mut self,
        name: &str,
        x: TensorId,
        activation: Activation,
    ) -> Result<TensorId, GraphError> {
        self.append(name, activation, vec![x])
    }
}
