//! Images of another size.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Kernel, Lowering, Shader, params};
use crate::engine::reference;

/// `[N, H, W, C]` to `[N, OH, OW, C]`, as `torch.nn.functional.interpolate`: upsampling and, without a filter against aliasing,
/// downsampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize2d {
    /// `[OH, OW]`.
    pub size: [usize; 2],
    /// How values between pixels are found.
    pub interpolation: Interpolation,
}

/// How values between pixels are found, for position `d` of `out` along an axis of `in` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Pixel `floor(d * (in / out))`, where the ratio is rounded to f32 as in PyTorch.
    Nearest,
    /// The two nearest pixels of both axes, each by its distance.
    Bilinear {
        /// Whether the centres of the corner pixels keep their places, at `d * (in - 1) / (out - 1)`. If not, the edges of the image do:
        /// `max((d + 1/2) * in / out - 1/2, 0)`, the rule of half pixels.
        align_corners: bool,
    },
}

/// Two neighbouring pixels along an axis, which may be the same one, and the weight of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbors {
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) weight: f32,
}

/// Where output pixels lie along an axis of the input: `(max(step * d + plus, minus) - minus) / whole`. Fractions of
/// integers are the same on all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Positions {
    step: usize,
    plus: usize,
    minus: usize,
    whole: usize,
}

params! {
    count: usize, channels: usize, in_height: usize, in_width: usize, out_height: usize, out_width: usize,
    y_step: usize, y_plus: usize, y_minus: usize, y_whole: usize,
    x_step: usize, x_plus: usize, x_minus: usize, x_whole: usize, y_ratio: f32, x_ratio: f32,
}

const VARIANTS: [&[&str]; 2] = [&[], &["NEAREST"]];

pub(super) const SHADER: Shader = Shader {
    name: "resize2d",
    source: include_str!("../../../shaders/resize2d.wgsl"),
    params: Params::FIELDS,
    variants: &VARIANTS,
};

impl Resize2d {
    fn positions(&self, axis: usize, input: usize) -> Positions {
        let output = self.size[axis];
        match self.interpolation {
            Interpolation::Bilinear { align_corners: true } => {
                Positions { step: input - 1, plus: 0, minus: 0, whole: (output - 1).max(1) }
            }
            _ => Positions { step: 2 * input, plus: input, minus: output, whole: 2 * output },
        }
    }

    fn ratio(&self, axis: usize, input: usize) -> f32 {
        input as f32 / self.size[axis] as f32
    }

    /// The pixel under pixel `index` of the result, by [`Interpolation::Nearest`].
    pub(crate) fn nearest(&self, axis: usize, index: usize, input: usize) -> usize {
        ((index as f32 * self.ratio(axis, input)) as usize).min(input - 1)
    }

    /// The pixels around pixel `index` of the result, by [`Interpolation::Bilinear`].
    pub(crate) fn neighbors(&self, axis: usize, index: usize, input: usize) -> Neighbors {
        let Positions { step, plus, minus, whole } = self.positions(axis, input);
        let position = (step * index + plus).saturating_sub(minus);
        let low = position / whole;
        Neighbors { low, high: (low + 1).min(input - 1), weight: (position % whole) as f32 / whole as f32 }
    }
}

impl Operation for Resize2d {
    fn name(&self) -> &'static str {
        "resize2d"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        let Some([images, height, width, channels]) = x.shape.sizes() else {
            return Err(format!("expected [N, H, W, C], found {}", x.shape));
        };
        for (output, input) in self.size.into_iter().zip([height, width]) {
            // Positions are computed with 32-bit integers.
            let largest = output.checked_mul(input).and_then(|product| product.checked_mul(2));
            if output == 0 || largest.is_none_or(|largest| u32::try_from(largest).is_err()) {
                return Err(format!(
                    "expected sizes above 0 whose product with those of {} stays below 2^31, found {:?}",
                    x.shape, self.size
                ));
            }
        }
        Ok(vec![([images, self.size[0], self.size[1], channels].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let (tensor, x) = inputs[0];
        vec![Data::F32(reference::resize2d::resize2d(
            x.f32(),
            tensor.shape.sizes().unwrap_or_default(),
            self,
        ))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let [_, in_height, in_width, channels] = node.inputs[0].shape.sizes().unwrap_or_default();
        let count = node.outputs[0].shape.elements();
        let (y, x) = (self.positions(0, in_height), self.positions(1, in_width));
        let params = Params {
            count,
            channels,
            in_height,
            in_width,
            out_height: self.size[0],
            out_width: self.size[1],
            y_step: y.step,
            y_plus: y.plus,
            y_minus: y.minus,
            y_whole: y.whole,
            x_step: x.step,
            x_plus: x.plus,
            x_minus: x.minus,
            x_whole: x.whole,
            y_ratio: self.ratio(0, in_height),
            x_ratio: self.ratio(1, in_width),
        };
        let defines = VARIANTS[usize::from(self.interpolation == Interpolation::Nearest)];
        let kernel = Kernel::new(&SHADER, defines, Vec::new());
        Ok(node.flat(kernel, vec![node.input(0), node.output(0)], params.words(), count))
    }

    /// Three mixtures of two values, of which each takes three operations.
    fn flops(&self, node: &Lowering<'_>) -> u64 {
        match self.interpolation {
            Interpolation::Nearest => 0,
            Interpolation::Bilinear { .. } => 9 * node.outputs[0].shape.elements() as u64,
        }
    }
}

impl Graph {
    /// Appends a [`Resize2d`] node: `x [N, H, W, C]` to `[N, OH, OW, C]`.
    ///
    /// # Errors
    /// `x` is no image, or a size is 0 or too large.
    pub fn resize2d(&mut self, name: &str, x: TensorId, resize: Resize2d) -> Result<TensorId, GraphError> {
        self.append(name, resize, vec![x])
    }
}
