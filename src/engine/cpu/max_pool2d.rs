//! The maximum of each window, on all threads.

use super::kernel::{Kernel, Operands, Preparation};
use super::workers::Workers;
use crate::engine::graph::GraphError;
use crate::engine::ops::Pool2d;

/// Prepares a pooling.
pub(crate) fn max_pool2d(op: &Pool2d, node: &Preparation<'_>) -> Option<Box<dyn Kernel>> {
    let [_, height, width, channels] = node.inputs[0].shape.sizes()?;
    let [_, rows, columns, _] = node.outputs[0].shape.sizes()?;
    Some(Box::new(Pooling { op: *op, input: [height, width], output: [rows, columns], channels }))
}

#[derive(Debug)]
struct Pooling {
    op: Pool2d,
    /// Rows and columns of the images.
    input: [usize; 2],
    /// Rows and columns of the results.
    output: [usize; 2],
    channels: usize,
}

impl Kernel for Pooling {
    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let x: &[f32] = bytemuck::cast_slice(node.inputs[0]);
        let y: &mut [f32] = bytemuck::cast_slice_mut(node.outputs[0]);
        let ([height, width], [rows, columns], channels) = (self.input, self.output, self.channels);
        let row = columns * channels;
        // Whole rows, a few thousand floats at a time.
        let at_a_time = 4096usize.div_ceil(row);
        workers.chunks(y, at_a_time * row, |number, y| {
            for (index, y) in (number * at_a_time..).zip(y.chunks_exact_mut(row)) {
                let image = &x[index / rows * height * width * channels..][..height * width * channels];
                for (column, y) in y.chunks_exact_mut(channels).enumerate() {
                    y.fill(f32::NEG_INFINITY);
                    for line in self.op.window(0, index % rows, height) {
                        for at in self.op.window(1, column, width) {
                            let pixel = &image[(line * width + at) * channels..][..channels];
                            for (most, &value) in y.iter_mut().zip(pixel) {
                                // A NaN stays.
                                *most = if value > *most || value.is_nan() { value } else { *most };
                            }
                        }
                    }
                }
            }
        });
        Ok(())
    }
}
