//! Convolutions with one filter for each channel.

use super::conv2d::Padded;
use super::kernel::{Kernel, Operands, Preparation};
use super::memory::Block;
use super::vector::{Depthwise, Ending, Instructions};
use super::workers::Workers;
use crate::engine::graph::GraphError;
use crate::engine::ops::Conv2d;

/// Prepares a convolution in which each channel of the result has one filter over the same channel of the images.
pub(super) fn prepare(
    op: &Conv2d,
    padded: Padded,
    [kh, kw]: [usize; 2],
    node: &mut Preparation<'_>,
) -> Option<Box<dyn Kernel>> {
    let channels = padded.channels();
    let [_, height, width, _] = node.outputs[0].shape.sizes()?;
    let [_, row] = padded.strides();
    let tap = |tap: usize| tap / kw * op.dilation[0] * row + tap % kw * op.dilation[1] * channels;
    let weight = packed(&node.constant(1)?.read(), channels, kh * kw, node.instructions.lanes());
    Some(Box::new(DepthwiseConvolution {
        size: [height, width],
        strides: [op.stride[0] * row, op.stride[1] * channels],
        taps: (0..kh * kw).map(tap).collect(),
        padded,
        weight,
        scale: vec![1.0; channels],
        bias: node.constant(2)?.read().into_owned(),
        bounds: op.activation.bounds()?,
        instructions: node.instructions,
    }))
}

/// `[C, taps]` to a vector of channels for each tap, for each vector of channels.
fn packed(weight: &[f32], channels: usize, taps: usize, lanes: usize) -> Block {
    let vectors = channels.div_ceil(lanes);
    let mut block = Block::new(vectors * taps * lanes * size_of::<f32>());
    for (channel, weight) in weight.chunks_exact(taps).enumerate() {
        let first = channel / lanes * taps * lanes + channel % lanes;
        let places = block.floats_mut()[first..].iter_mut().step_by(lanes);
        places.zip(weight).for_each(|(place, value)| *place = *value);
    }
    block
}

#[derive(Debug)]
struct DepthwiseConvolution {
    /// Rows and columns of the result.
    size: [usize; 2],
    /// Floats of the padded images from one of them to the next.
    strides: [usize; 2],
    taps: Vec<usize>,
    padded: Padded,
    weight: Block,
    scale: Vec<f32>,
    bias: Vec<f32>,
    bounds: [f32; 2],
    instructions: Instructions,
}

impl Kernel for DepthwiseConvolution {
    fn scratch(&self) -> usize {
        self.padded.scratch()
    }

    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let x: &[f32] = bytemuck::cast_slice(node.inputs[0]);
        let x = self.padded.fill(x, node.scratch, workers);
        let residual: Option<&[f32]> = node.inputs.get(3).map(|residual| bytemuck::cast_slice(residual));
        let y: &mut [f32] = bytemuck::cast_slice_mut(node.outputs[0]);
        let ([height, width], channels) = (self.size, self.padded.channels());
        let ending = Ending { scale: &self.scale, bias: &self.bias, bounds: self.bounds };
        // Whole rows, so many that a task is worth while.
        let row = width * channels;
        let at_a_time = 16384usize.div_ceil(row * self.taps.len() / 9 + 1);
        workers.chunks(y, at_a_time * row, |number, y| {
            let mut starts = Vec::with_capacity(width);
            for (index, y) in (number * at_a_time..).zip(y.chunks_mut(row)) {
                let first = index / height * self.padded.strides()[0] + index % height * self.strides[0];
                starts.clear();
                starts.extend((0..width).map(|x| first + x * self.strides[1]));
                let weight = self.weight.floats();
                let pixels = Depthwise { x, starts: &starts, taps: &self.taps, weight, channels };
                let residual = residual.map(|residual| &residual[index * row..(index + 1) * row]);
                self.instructions.depthwise(&pixels, &ending, residual, y);
            }
        });
        Ok(())
    }
}
