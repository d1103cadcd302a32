//! Transposed 2-D convolution, with bias.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{
    Block, Dispatch, Kernel, Lowering, Packing, Shader, flat_grid, heuristics, params,
};
use crate::engine::reference;

/// Every input pixel adds its values, times the weights, to a window of the output, as `torch.nn.ConvTranspose2d` of one group without
/// dilation. `[usize; 2]` is `[vertical, horizontal]`.
///
/// Operands: `x [N, H, W, I]`, constants `weight [I, O, KH, KW]` and `bias [O]`. Result: `[N, OH, OW, O]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// Steps between the windows of neighbouring input pixels.
    pub stride: [usize; 2],
    /// Rows cut off above and below, columns left and right.
    pub padding: [usize; 2],
    /// Rows added below and columns at the right, below the stride: of all output sizes that a convolution brings to the size of the input,
    /// they select one.
    pub output_padding: [usize; 2],
}

impl Default for ConvTranspose2d {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], output_padding: [0; 2] }
    }
}

params! {
    images: usize, in_height: usize, in_width: usize, in_channels: usize,
    out_height: usize, out_width: usize, out_channels: usize, kernel_height: usize, kernel_width: usize,
    stride_height: usize, stride_width: usize, pad_top: usize, pad_left: usize,
}

pub(super) const SHADER: Shader = Shader {
    name: "conv_transpose2d",
    source: include_str!("../../../shaders/conv_transpose2d.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

/// Pixels that an invocation computes: neighbours under the same taps.
const PIXELS: usize = 4;
/// Positions are 32-bit integers, a few strides beyond the image too.
const LARGEST: usize = 1 << 28;

impl ConvTranspose2d {
    /// Output `[OH, OW]` for an input `[H, W]` and a kernel `[KH, KW]`: `(input - 1) * stride + kernel + output_padding - 2 * padding`.
    ///
    /// `None` where nothing is left, a stride or a kernel side is 0, the output padding is not below the stride, or a stride or the size
    /// before padding is above 2^28.
    pub fn output_size(&self, input: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let axis = |a: usize| {
            let (stride, extra) = (self.stride[a], self.output_padding[a]);
            if kernel[a] == 0 || extra >= stride || stride > LARGEST {
                return None;
            }
            let full =
                input[a].checked_sub(1)?.checked_mul(stride)?.checked_add(kernel[a])?.checked_add(extra)?;
            let full = Some(full).filter(|&full| full <= LARGEST)?;
            full.checked_sub(self.padding[a].checked_mul(2)?).filter(|&size| size > 0)
        };
        Some([axis(0)?, axis(1)?])
    }
}

/// The four sizes of an image, or of a weight; checked by `infer`.
fn sizes(tensor: &Tensor) -> [usize; 4] {
    tensor.shape.sizes().unwrap_or_default()
}

impl Operation for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x"), Operand::weight("weight"), Operand::weight("bias")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, weight, bias] = exactly(inputs)?;
        let (Some([images, height, width, channels]), Some([in_channels, outputs, kh, kw])) =
            (x.shape.sizes(), weight.shape.sizes())
        else {
            return Err(format!(
                "expected [N, H, W, I] and a weight [I, O, KH, KW], found {} and {}",
                x.shape, weight.shape
            ));
        };
        if channels != in_channels {
            return Err(format!(
                "expected {in_channels} input channels for weight {}, found {}",
                weight.shape, x.shape
            ));
        }
        if *bias.shape != [outputs] {
            return Err(format!("expected a bias [{outputs}], found {}", bias.shape));
        }
        let Some([out_height, out_width]) = self.output_size([height, width], [kh, kw]) else {
            return Err(format!(
                "expected an output padding below the stride, and a result that is larger than the padding, found {self:?} \
                 with a {kh}x{kw} window for {}",
                x.shape
            ));
        };
        Ok(vec![([images, out_height, out_width, outputs].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].1.f32());
        let [x_shape, weight_shape] = [0, 1].map(|i| sizes(inputs[i].0));
        vec![Data::F32(reference::conv_transpose2d::conv_transpose2d(
            x,
            x_shape,
            weight,
            weight_shape,
            bias,
            self,
        ))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let [images, in_height, in_width, in_channels] = sizes(node.inputs[0]);
        let [_, out_height, out_width, out_channels] = sizes(node.outputs[0]);
        let [_, _, kernel_height, kernel_width] = sizes(node.inputs[1]);
        let params = Params {
            images,
            in_height,
            in_width,
            in_channels,
            out_height,
            out_width,
            out_channels,
            kernel_height,
            kernel_width,
            stride_height: self.stride[0],
            stride_width: self.stride[1],
            pad_top: self.padding[0],
            pad_left: self.padding[1],
        };
        let [lanes, tiles] = heuristics::conv2d::gemm_workgroup(node.target.class);
        let blocks = out_channels.div_ceil(4).div_ceil(lanes as usize);
        // Of each row, for each column within a stride.
        let stretches = self.stride[1].min(out_width) * out_width.div_ceil(self.stride[1]).div_ceil(PIXELS);
        let bands = (images * out_height * stretches).div_ceil(tiles as usize);
        let mut constants = vec![("LANES", lanes)];
        if tiles > 1 {
            constants.push(("TILES", tiles));
        }
        let weight = node.weight(1, Packing::transposed_taps(Block::Columns(lanes)));
        Ok(vec![Dispatch {
            kernel: Kernel::new(&SHADER, &[], constants),
            bindings: vec![node.input(0), weight, node.weight(2, Packing::FLAT), node.output(0)],
            params: params.words(),
            workgroups: flat_grid(bands * blocks, node.target.max_workgroups),
        }])
    }

    /// Those of all taps, also of those whose results are cut off.
    fn flops(&self, node: &Lowering<'_>) -> u64 {
        let [_, outputs, kh, kw] = sizes(node.inputs[1]);
        2 * (node.inputs[0].shape.elements() * outputs * kh * kw) as u64
    }
}

impl Graph {
    /// Appends a [`ConvTranspose2d`] node: `x [N, H, W, I]`, `weight [I, O, KH, KW]` and `bias [O]` to `[N, OH, OW, O]`.
    ///
    /// # Errors
    /// The channels of `x` are not those of `weight`, or there is no output of these sizes.
    pub fn conv_transpose2d(
        &mut self,
        name: &str,
        x: TensorId,
        weight: TensorId,
        bias: TensorId,
        conv: ConvTranspose2d,
    ) -> Result<TensorId, GraphError> {
        self.append(name, conv, vec![x, weight, bias])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ops::{Conv2d, Padding};

    #[test]
    fn output_size_undoes_that_of_the_convolution() {
        for (input, kernel, stride, padding) in
            [(9, 3, 2, 1), (10, 3, 2, 1), (7, 4, 3, 0), (8, 2, 2, 0), (5, 5, 1, 2)]
        {
            let (kernel, stride) = ([kernel; 2], [stride; 2]);
            let conv = Conv2d { stride, padding: Padding::uniform(padding), ..Conv2d::default() };
            let output = conv.output_size([input; 2], kernel).unwrap();
            let extra = (input + 2 * padding - kernel[0]) % stride[0];
            let back = ConvTranspose2d { stride, padding: [padding; 2], output_padding: [extra; 2] };
            assert_eq!(back.output_size(output, kernel), Some([input; 2]));
        }
    }

    #[test]
    fn impossible_sizes_have_no_output() {
        let op = ConvTranspose2d { stride: [2; 2], padding: [1; 2], output_padding: [1; 2] };
        let size = |op: ConvTranspose2d, kernel| op.output_size([1; 2], [kernel; 2]);
        assert_eq!(size(op, 3), Some([2, 2]));
        assert_eq!(size(op, 1), None, "all is cut off");
        assert_eq!(size(op, 0), None);
        assert_eq!(size(ConvTranspose2d { output_padding: [2, 0], ..op }, 3), None);
        assert_eq!(size(ConvTranspose2d { stride: [0; 2], ..op }, 3), None);
        assert_eq!(size(ConvTranspose2d { stride: [1 << 32; 2], ..op }, 3), None);
        assert_eq!(size(ConvTranspose2d { padding: [usize::MAX; 2], ..op }, 3), None);
        assert_eq!(op.output_size([usize::MAX; 2], [3; 2]), None);
    }
}
