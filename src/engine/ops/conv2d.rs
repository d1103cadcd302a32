//! 2-D convolution, with bias, residual and activation in its last step.

pub(super) mod product;
pub(crate) mod winograd;

use super::activation::Activation;
use crate::engine::cpu;
use crate::engine::graph::{Constant, DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation};
use crate::engine::plan::heuristics::conv2d::{ConvAlgorithm, ConvKernel, ConvShape};
use crate::engine::plan::{
    Binding, Block, Dispatch, Kernel, KernelCandidates, Lowering, Packing, Shader, heuristics,
};
use crate::engine::reference;
use product::Params;

/// `activation(conv(x) + bias + residual)`. `[usize; 2]` is `[vertical, horizontal]`.
///
/// Operands: `x [N, H, W, I]`, constants `weight [O, I / groups, KH, KW]` and `bias [O]`, and, if there is one,
/// a residual `[N, OH, OW, O]`. Result: `[N, OH, OW, O]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Steps between neighbouring windows.
    pub stride: [usize; 2],
    /// Steps between neighbouring taps of one window; 1 is a dense kernel.
    pub dilation: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// Channel groups that do not see each other; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// Applied last, after bias and residual: identity, relu or relu6.
    pub activation: Activation,
}

impl Default for Conv2d {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::default(),
            groups: 1,
            activation: Activation::Identity,
        }
    }
}

impl Conv2d {
    /// Output `[OH, OW]` for an input `[H, W]` and a kernel `[KH, KW]`.
    ///
    /// `None` where the dilated kernel does not fit into the padded image, or a stride, a dilation or a
    /// kernel side is 0.
    pub fn output_size(&self, input: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let Padding { top, bottom, left, right } = self.padding;
        Some([
            window_count(input[0], [top, bottom], kernel[0], self.stride[0], self.dilation[0])?,
            window_count(input[1], [left, right], kernel[1], self.stride[1], self.dilation[1])?,
        ])
    }
}

/// Zeros added at each side of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns at the left.
    pub left: usize,
    /// Columns at the right.
    pub right: usize,
}

impl Padding {
    /// The same padding at all four sides, as in PyTorch.
    pub fn uniform(padding: usize) -> Self {
        Self { top: padding, bottom: padding, left: padding, right: padding }
    }

    /// TensorFlow's `SAME`: the output has `ceil(input / stride)` rows and columns.
    ///
    /// `total = max((ceil(input / stride) - 1) * stride + kernel - input, 0)`, of which the smaller half
    /// goes before: strided models ported from TensorFlow are shifted by a pixel with PyTorch's padding.
    pub fn same(input: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> Self {
        let total = |axis: usize| {
            let step = stride[axis].max(1);
            let last = input[axis].div_ceil(step).saturating_sub(1).saturating_mul(step);
            last.saturating_add(kernel[axis]).saturating_sub(input[axis])
        };
        let [vertical, horizontal] = [total(0), total(1)];
        let [top, left] = [vertical / 2, horizontal / 2];
        Self { top, bottom: vertical - top, left, right: horizontal - left }
    }
}

/// How many windows fit along one axis: `floor((input + padding - reach) / stride) + 1`, where
/// `reach = dilation * (kernel - 1) + 1`.
pub(crate) fn window_count(
    input: usize,
    padding: [usize; 2],
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> Option<usize> {
    if dilation == 0 {
        return None;
    }
    let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let padded = input.checked_add(padding[0])?.checked_add(padding[1])?;
    // Shaders compute positions in 32 bits, signed ones where there is padding.
    if padded.max(stride) > i32::MAX as usize {
        return None;
    }
    padded.checked_sub(reach)?.checked_div(stride)?.checked_add(1)
}

pub(super) const DEPTHWISE: Shader = Shader {
    name: "conv2d_depthwise",
    source: include_str!("../../../shaders/conv2d_depthwise.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

pub(super) const DEPTHWISE_ROW: Shader = Shader {
    name: "conv2d_depthwise_row",
    source: include_str!("../../../shaders/conv2d_depthwise_row.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

pub(super) const DIRECT: Shader = Shader {
    name: "conv2d_direct",
    source: include_str!("../../../shaders/conv2d_direct.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

/// The four sizes of an image, or of a weight `[O, I / groups, KH, KW]`; checked by `infer`.
fn sizes(tensor: &Tensor) -> [usize; 4] {
    tensor.shape.sizes().unwrap_or_default()
}

impl Conv2d {
    fn shape(&self, node: &Lowering<'_>) -> ConvShape {
        let [_, _, height, width] = sizes(node.inputs[1]);
        let y = sizes(node.outputs[0]);
        ConvShape {
            groups: self.groups,
            inputs: node.inputs[0].shape.last(),
            outputs: y[3],
            kernel: [height, width],
            stride: self.stride,
            dilation: self.dilation,
            padded: self.padding != Padding::default(),
            size: [y[1], y[2]],
            compact: node.inputs[1].constant.as_ref().is_some_and(Constant::is_compact),
        }
    }

    fn choice(&self, node: &Lowering<'_>) -> ConvKernel {
        heuristics::conv2d::kernel(&self.shape(node), node.target, node.choices)
    }
}

impl Operation for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn operands(&self) -> Operands<'_> {
        const REQUIRED: &[Operand] = &[Operand::f32("x"), Operand::weight("weight"), Operand::weight("bias")];
        Operands { required: REQUIRED, optional: const { &[Operand::f32("residual")] }, repeats: false }
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, weight, bias, residual @ ..] = inputs else {
            return Err(format!("expected 3 or 4 operands, found {}", inputs.len()));
        };
        self.activation.fusible()?;
        let (Some([n, height, width, channels]), Some([outputs, group_inputs, kh, kw])) =
            (x.shape.sizes(), weight.shape.sizes())
        else {
            return Err(format!(
                "expected [N, H, W, C] and a weight [O, I, KH, KW], found {} and {}",
                x.shape, weight.shape
            ));
        };
        let groups = self.groups;
        if groups == 0 || outputs % groups != 0 || group_inputs * groups != channels {
            return Err(format!(
                "expected {} input channels for weight {} in {groups} groups, found {}",
                group_inputs * groups,
                weight.shape,
                x.shape
            ));
        }
        if *bias.shape != [outputs] {
            return Err(format!("expected a bias [{outputs}], found {}", bias.shape));
        }
        let Some([out_height, out_width]) = self.output_size([height, width], [kh, kw]) else {
            return Err(format!("a {kh}x{kw} window of {self:?} does not fit into {}", x.shape));
        };
        let output = [n, out_height, out_width, outputs];
        if let Some(residual) = residual.iter().find(|r| *r.shape != output) {
            return Err(format!("expected a residual of {output:?}, found {}", residual.shape));
        }
        Ok(vec![(output.into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].1.f32());
        let x_shape = inputs[0].0.shape.sizes().unwrap_or_default();
        let residual = inputs.get(3).map(|r| r.1.f32());
        vec![Data::F32(reference::conv2d::conv2d(
            x,
            x_shape,
            weight,
            sizes(inputs[1].0),
            bias,
            residual,
            self,
        ))]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        cpu::conv2d(self, node)
    }

    fn candidates(&self, node: &Lowering<'_>) -> Option<KernelCandidates> {
        let shape = self.shape(node);
        Some(KernelCandidates::new(&shape, &heuristics::conv2d::candidates(&shape, node.target)))
    }

    fn scratch(&self, node: &Lowering<'_>) -> Vec<usize> {
        let ConvKernel { way, product } = self.choice(node);
        match way {
            ConvAlgorithm::Winograd(winograd) => {
                winograd::scratch(winograd, sizes(node.inputs[0]), sizes(node.outputs[0]))
            }
            ConvAlgorithm::Pointwise | ConvAlgorithm::Window => {
                product::scratch(product, node.outputs[0].shape.elements())
            }
            ConvAlgorithm::DepthwiseRow | ConvAlgorithm::Depthwise | ConvAlgorithm::Direct => Vec::new(),
        }
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let (x, y) = (sizes(node.inputs[0]), sizes(node.outputs[0]));
        let ConvKernel { way, product } = self.choice(node);
        let [_, group_inputs, kernel_height, kernel_width] = sizes(node.inputs[1]);
        let params = Params {
            kernel_height,
            kernel_width,
            stride_height: self.stride[0],
            stride_width: self.stride[1],
            dilation_height: self.dilation[0],
            dilation_width: self.dilation[1],
            pad_top: self.padding.top,
            pad_left: self.padding.left,
            group_inputs,
            group_outputs: y[3] / self.groups,
            has_residual: u32::from(node.inputs.len() > 3),
            ..Params::pointwise(x, y, self.activation)
        };
        let ends = [node.input(0), node.input(3), node.output(0)];
        Ok(match way {
            ConvAlgorithm::Winograd(winograd) => winograd::lower(node, self, winograd, product, x, y),
            ConvAlgorithm::Pointwise | ConvAlgorithm::Window => {
                product::lower(node, product, params, Packing::taps, ends)
            }
            ConvAlgorithm::DepthwiseRow => {
                let constants = [("KERNEL", kernel_width as u32), ("RESIDUAL", params.has_residual)];
                by_channel(node, (&DEPTHWISE_ROW, 4, 4), &constants, params, ends)
            }
            ConvAlgorithm::Depthwise => by_channel(node, (&DEPTHWISE, 4, 4), &[], params, ends),
            ConvAlgorithm::Direct => by_channel(node, (&DIRECT, 1, 1), &[], params, ends),
        })
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        let [_, group_inputs, kh, kw] = sizes(node.inputs[1]);
        2 * (node.outputs[0].shape.elements() * group_inputs * kh * kw) as u64
    }
}

/// Lowers kernels in which each invocation computes `channels` x `pixels` outputs, with invocations along the channels.
fn by_channel(
    node: &Lowering<'_>,
    (shader, channels, pixels): (&'static Shader, usize, usize),
    constants: &[(&'static str, u32)],
    mut params: Params,
    [x, residual, y]: [Binding; 3],
) -> Vec<Dispatch> {
    let lanes = heuristics::lanes(node.target.class);
    params.blocks = params.out_channels.div_ceil(channels).div_ceil(lanes as usize);
    let weight = node.weight(1, Packing::taps(Block::Columns(lanes)));
    let kernel = Kernel::new(shader, &[], [&[("LANES", lanes)], constants].concat());
    let bindings = vec![x, weight, node.weight(2, Packing::FLAT), residual, y];
    let grid = [params.out_width.div_ceil(pixels) * params.blocks, params.out_height, params.images];
    vec![node.grid(kernel, bindings, params.words(), grid)]
}

impl Graph {
    /// Appends a [`Conv2d`] node without residual.
    ///
    /// # Errors
    /// The channels of `x` are not those of `weight` times the groups, or the window does not fit.
    pub fn conv2d(
        &mut self,
        name: &str,
        x: TensorId,
        weight: TensorId,
        bias: TensorId,
        conv: Conv2d,
    ) -> Result<TensorId, GraphError> {
        self.append(name, conv, vec![x, weight, bias])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_size_follows_the_pytorch_formula() {
        let op = |stride, dilation, padding| Conv2d {
            stride: [stride; 2],
            dilation: [dilation; 2],
            padding: Padding::uniform(padding),
            ..Conv2d::default()
        };
        assert_eq!(op(2, 1, 3).output_size([224, 225], [7, 7]), Some([112, 113]));
        assert_eq!(op(1, 2, 0).output_size([5, 6], [3, 3]), Some([1, 2]));
        assert_eq!(op(1, 1, 0).output_size([1, 1], [1, 1]), Some([1, 1]));
        assert_eq!(op(1, 2, 0).output_size([4, 9], [3, 3]), None, "dilated kernel reaches 5");
        assert_eq!(op(0, 1, 0).output_size([4, 4], [1, 1]), None);
        assert_eq!(op(1, 0, 0).output_size([4, 4], [1, 1]), None);
        assert_eq!(op(1, 1, 0).output_size([4, 4], [0, 1]), None);
        assert_eq!(op(1, 1, usize::MAX).output_size([4, 4], [1, 1]), None);
        assert_eq!(op(1, usize::MAX, 0).output_size([4, 4], [3, 3]), None);
    }

    #[test]
    fn same_padding_puts_the_smaller_half_first() {
        let padding = |top, bottom, left, right| Padding { top, bottom, left, right };
        assert_eq!(Padding::same([224, 224], [3, 3], [2, 2]), padding(0, 1, 0, 1));
        assert_eq!(Padding::same([225, 225], [3, 3], [2, 2]), padding(1, 1, 1, 1));
        assert_eq!(Padding::same([7, 8], [5, 2], [1, 1]), padding(2, 2, 0, 1));
        assert_eq!(Padding::same([8, 8], [1, 1], [2, 2]), Padding::default());
        for size in 1..20 {
            for kernel in 1..6 {
                for stride in 1..4 {
                    let (input, kernel, stride) = ([size; 2], [kernel; 2], [stride; 2]);
                    let padding = Padding::same(input, kernel, stride);
                    let op = Conv2d { stride, padding, ..Conv2d::default() };
                    assert_eq!(op.output_size(input, kernel), Some([size.div_ceil(stride[0]); 2]));
                }
            }
        }
    }
}
