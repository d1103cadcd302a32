//! Bytes of a photo to normalised floats, on all threads.

use super::kernel::{Kernel, Operands, Preparation};
use super::workers::Workers;
use crate::engine::graph::GraphError;
use crate::engine::ops::Preprocess;
use crate::engine::reference::preprocess::scale_and_shift;

/// Pixels of a task.
const PIXELS: usize = 8192;

/// Prepares the normalisation of photos.
pub(crate) fn preprocess(op: &Preprocess, node: &Preparation<'_>) -> Box<dyn Kernel> {
    let (scale, shift) = scale_and_shift(op.mean, op.std);
    Box::new(Normalisation {
        channels: node.inputs[0].shape.last(),
        results: node.outputs[0].shape.last(),
        scale,
        shift,
    })
}

#[derive(Debug)]
struct Normalisation {
    /// Bytes of a pixel.
    channels: usize,
    /// Floats of a pixel.
    results: usize,
    scale: [f32; 3],
    shift: [f32; 3],
}

impl Kernel for Normalisation {
    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError> {
        let pixels = node.inputs[0];
        let y: &mut [f32] = bytemuck::cast_slice_mut(node.outputs[0]);
        workers.chunks(y, PIXELS * self.results, |number, y| {
            let pixels = &pixels[number * PIXELS * self.channels..];
            match (self.channels, self.results) {
                (3, 3) => self.fill::<3, 3>(pixels, y),
                (3, _) => self.fill::<3, 4>(pixels, y),
                (_, 3) => self.fill::<4, 3>(pixels, y),
                _ => self.fill::<4, 4>(pixels, y),
            }
        });
        Ok(())
    }
}

impl Normalisation {
    /// `C` bytes of a pixel to `R` floats.
    fn fill<const C: usize, const R: usize>(&self, pixels: &[u8], y: &mut [f32]) {
        for (pixel, y) in pixels.as_chunks::<C>().0.iter().zip(y.as_chunks_mut::<R>().0) {
            *y = [0.0; R];
            for c in 0..3 {
                y[c] = f32::from(pixel[c]) * self.scale[c] + self.shift[c];
            }
        }
    }
}
