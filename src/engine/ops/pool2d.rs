//! 2-D pooling: attributes and output size shared by maximum and average pooling.

use std::ops::Range;

use super::conv2d::window_count;
use crate::engine::graph::{DType, Tensor};
use crate::engine::ops::{Infer, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};

params! {
    count: usize, channels: usize, in_height: usize, in_width: usize, out_height: usize, out_width: usize,
    kernel_height: usize, kernel_width: usize, stride_height: usize, stride_width: usize,
    pad_top: usize, pad_left: usize, count_include_pad: u32,
}

/// The `Params` of both pooling shaders.
pub(super) const FIELDS: &[&str] = Params::FIELDS;

/// Attributes of a pooling window, as in PyTorch with `ceil_mode=False`. `[usize; 2]` is
/// `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Steps between neighbouring windows.
    pub stride: [usize; 2],
    /// Rows above and below, columns left and right; at most half the kernel.
    pub padding: [usize; 2],
    /// Whether an average counts padding among the values it divides by; no meaning to a maximum.
    pub count_include_pad: bool,
}

impl Pool2d {
    /// Output `[OH, OW]` for an input `[H, W]`.
    ///
    /// `None` where the kernel does not fit, a stride or a kernel side is 0, the image is empty, or the
    /// padding exceeds half the kernel (a window could then hold nothing but padding).
    pub fn output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let axis = |a: usize| {
            let (kernel, padding) = (self.kernel[a], self.padding[a]);
            if input[a] == 0 || padding > kernel / 2 {
                return None;
            }
            window_count(input[a], [padding; 2], kernel, self.stride[a], 1)
        };
        Some([axis(0)?, axis(1)?])
    }

    /// The rows (`axis` 0) or columns (`axis` 1) of the image that lie in window `index`.
    pub fn window(&self, axis: usize, index: usize, size: usize) -> Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        start.saturating_sub(self.padding[axis])..end.min(size)
    }
}

impl Pool2d {
    /// The shape rule of both pooling operations.
    pub(super) fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        let sizes = x.shape.sizes().and_then(|[n, h, w, c]| Some((n, self.output_size([h, w])?, c)));
        match sizes {
            Some((n, [height, width], c)) => Ok(vec![([n, height, width, c].into(), DType::F32)]),
            None => Err(format!("expected [N, H, W, C] that holds a window of {self:?}, found {}", x.shape)),
        }
    }

    /// One invocation per output value, for both pooling shaders.
    pub(super) fn lower(&self, node: &Lowering<'_>, shader: &'static Shader) -> Vec<Dispatch> {
        let [_, in_height, in_width, channels] = node.inputs[0].shape.sizes().unwrap_or_default();
        let [_, out_height, out_width, _] = node.outputs[0].shape.sizes().unwrap_or_default();
        let count = node.outputs[0].shape.elements();
        let params = Params {
            count,
            channels,
            in_height,
            in_width,
            out_height,
            out_width,
            kernel_height: self.kernel[0],
            kernel_width: self.kernel[1],
            stride_height: self.stride[0],
            stride_width: self.stride[1],
            pad_top: self.padding[0],
            pad_left: self.padding[1],
            count_include_pad: u32::from(self.count_include_pad),
        };
        node.flat(shader, vec![node.input(0), node.output(0)], params.words(), count)
    }

    /// One addition or comparison for each value in a window.
    pub(super) fn flops(&self, node: &Lowering<'_>) -> u64 {
        (node.outputs[0].shape.elements() * self.kernel[0] * self.kernel[1]) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_size_rounds_down() {
        let pool = |kernel, stride, padding| Pool2d {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            count_include_pad: true,
        };
        assert_eq!(pool(3, 2, 1).output_size([112, 111]), Some([56, 56]));
        assert_eq!(pool(2, 2, 0).output_size([5, 4]), Some([2, 2]));
        assert_eq!(pool(3, 1, 0).output_size([2, 3]), None);
        assert_eq!(pool(3, 1, 2).output_size([5, 5]), None);
        assert_eq!(pool(2, 1, 1).output_size([0, 5]), None);
        assert_eq!(pool(2, 0, 0).output_size([5, 5]), None);
        assert_eq!(pool(0, 1, 0).output_size([5, 5]), None);
    }

    #[test]
    fn windows_are_clipped_to_the_image() {
        let pool = Pool2d { kernel: [3, 2], stride: [2, 2], padding: [1, 0], count_include_pad: false };
        assert_eq!(pool.window(0, 0, 4), 0..2);
        assert_eq!(pool.window(0, 1, 4), 1..4);
        assert_eq!(pool.window(0, 2, 5), 3..5);
        assert_eq!(pool.window(1, 1, 4), 2..4);
    }
}
