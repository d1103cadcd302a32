//! Convolutions as products: the windows of a padded image are rows of a few runs of floats, which need not be copied.

use super::depthwise;
use super::kernel::{Kernel, Operands, Preparation};
use super::packed::Layout;
use super::product::{Product, Rows};
use super::workers::Workers;
use crate::engine::graph::{GraphError, Tensor};
use crate::engine::ops::{Conv2d, Padding};

/// Prepares a convolution.
pub(crate) fn conv2d(op: &Conv2d, node: &mut Preparation<'_>) -> Option<Box<dyn Kernel>> {
    let [_, group_inputs, kh, kw] = sizes(node.inputs[1])?;
    let [_, _, _, channels] = sizes(node.inputs[0])?;
    let [images, height, width, outputs] = sizes(node.outputs[0])?;
    let padded = Padded::of(node.inputs[0], op.padding)?;
    if op.groups == channels && group_inputs == 1 && outputs == channels {
        return depthwise::prepare(op, padded, [kh, kw], node);
    }
    let [image, row] = padded.strides();
    let strides = [image, op.stride[0] * row, op.stride[1] * channels];
    // The pixels of a window's row follow each other, if no channel and no pixel between them is left out.
    let is_dense = op.groups == 1 && op.dilation[1] == 1;
    let columns = if is_dense { 1 } else { kw };
    let runs = (0..kh).flat_map(|y| (0..columns).map(move |x| [y, x]));
    let runs = runs.map(|[y, x]| y * op.dilation[0] * row + x * op.dilation[1] * channels);
    let rows = Rows {
        sizes: [images, height, width],
        strides,
        group_stride: group_inputs,
        runs: runs.collect(),
        run: if is_dense { kw * channels } else { group_inputs },
    };
    let layout = Layout { groups: op.groups, taps: kh * kw, instructions: node.instructions };
    let weights = node.packed(1, layout)?;
    let bias = node.constant(2)?.read().into_owned();
    let product = Product::new(weights, bias, op.activation.bounds()?, rows, node.instructions);
    Some(Box::new(Convolution { padded, product }))
}

/// The four sizes of images or of a weight.
fn sizes(tensor: &Tensor) -> Option<[usize; 4]> {
    tensor.shape.sizes()
}

#[derive(Debug)]
struct Convolution {
    padded: Padded,
    product: Product,
}

impl Kernel for Convolution {
    fn scratch(&self) -> usize {
        self.padded.scratch()
    }

    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let x: &[f32] = bytemuck::cast_slice(node.inputs[0]);
        let x = self.padded.fill(x, node.scratch, workers);
        let residual = node.inputs.get(3).map(|residual| bytemuck::cast_slice(residual));
        self.product.run(x, residual, bytemuck::cast_slice_mut(node.outputs[0]), workers);
        Ok(())
    }
}

/// Images with zeros around them.
#[derive(Debug)]
pub(super) struct Padded {
    sizes: [usize; 4],
    padding: Padding,
}

impl Padded {
    fn of(images: &Tensor, padding: Padding) -> Option<Padded> {
        Some(Padded { sizes: sizes(images)?, padding })
    }

    /// Channels of a pixel.
    pub(super) fn channels(&self) -> usize {
        self.sizes[3]
    }

    /// Rows and columns, with the zeros.
    fn size(&self) -> [usize; 2] {
        let Padding { top, bottom, left, right } = self.padding;
        [top + self.sizes[1] + bottom, left + self.sizes[2] + right]
    }

    /// Floats of an image, and of a row of it.
    pub(super) fn strides(&self) -> [usize; 2] {
        let [height, width] = self.size();
        [height * width * self.sizes[3], width * self.sizes[3]]
    }

    /// Floats that [`Padded::fill`] needs.
    pub(super) fn scratch(&self) -> usize {
        if self.padding == Padding::default() { 0 } else { self.sizes[0] * self.strides()[0] }
    }

    /// The images with their zeros: themselves, if there are none.
    pub(super) fn fill<'a>(&self, x: &'a [f32], scratch: &'a mut [f32], workers: &Workers) -> &'a [f32] {
        if self.padding == Padding::default() {
            return x;
        }
        let [_, height, width, channels] = self.sizes;
        let ([padded_height, _], [_, row]) = (self.size(), self.strides());
        let (top, left) = (self.padding.top, self.padding.left * channels);
        // Whole rows, a few thousand floats at a time.
        let at_a_time = 4096usize.div_ceil(row);
        workers.chunks(scratch, at_a_time * row, |number, rows| {
            for (index, padded) in (number * at_a_time..).zip(rows.chunks_mut(row)) {
                let (image, y) = (index / padded_height, (index % padded_height).wrapping_sub(top));
                if y < height {
                    let (before, rest) = padded.split_at_mut(left);
                    let (inside, after) = rest.split_at_mut(width * channels);
                    before.fill(0.0);
                    inside.copy_from_slice(&x[(image * height + y) * width * channels..][..width * channels]);
                    after.fill(0.0);
                } else {
                    padded.fill(0.0);
                }
            }
        });
        scratch
    }
}
