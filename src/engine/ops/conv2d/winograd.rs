//! Winograd's way to a 3x3 convolution: fewer multiplications for more additions.
//!
//! `F(m, 3)` computes `m x m` outputs from `n x n` inputs, `n = m + 2`, as `Aᵀ [(G g Gᵀ) * (Bᵀ d B)] A` (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", arXiv 1509.09308): the products in the middle, summed over the input
//! channels, are `n²` matrix products. The matrices follow from polynomials through `n - 1` points and infinity. F(4, 3) takes
//! 0, ±√½ and ±√2, where sums stay smaller than with the usual 0, ±1 and ±2.

use super::Conv2d;
use crate::engine::plan::heuristics::conv2d::GemmKernel;
use crate::engine::plan::{
    AdapterClass, Binding, Dispatch, Kernel, Lowering, Packing, Shader, Target, params,
};
use std::f32::consts::SQRT_2;

/// Which of the two is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Winograd {
    /// F(2, 3): 16 products for 4 outputs.
    F2,
    /// F(4, 3): 36 products for 16 outputs.
    F4,
}

impl Winograd {
    /// Rows and columns of a tile of outputs.
    pub(crate) fn tile(self) -> usize {
        match self {
            Winograd::F2 => 2,
            Winograd::F4 => 4,
        }
    }

    /// Rows and columns of a tile of inputs.
    pub(crate) fn side(self) -> usize {
        self.tile() + 2
    }

    /// Rows and columns of tiles that cover the given rows and columns of outputs.
    pub(crate) fn tiles(self, size: [usize; 2]) -> [usize; 2] {
        size.map(|n| n.div_ceil(self.tile()))
    }

    /// `G`, by rows: (1, p, p²) over the product of the distances from p to the other points.
    fn points(self) -> &'static [[f32; 3]] {
        const F2: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
        const F4: [[f32; 3]; 6] = [
            [1.0, 0.0, 0.0],
            [-2.0 / 3.0, -SQRT_2 / 3.0, -1.0 / 3.0],
            [-2.0 / 3.0, SQRT_2 / 3.0, -1.0 / 3.0],
            [1.0 / 6.0, SQRT_2 / 6.0, 1.0 / 3.0],
            [1.0 / 6.0, -SQRT_2 / 6.0, 1.0 / 3.0],
            [0.0, 0.0, 1.0],
        ];
        match self {
            Winograd::F2 => &F2,
            Winograd::F4 => &F4,
        }
    }

    /// `G g Gᵀ` of 3x3 filters side by side: `[F, 9]` to `[n², F]`.
    pub(crate) fn filters(self, filters: &[f32]) -> Vec<f32> {
        let count = filters.len() / 9;
        // All filters at a time, which compilers turn into vectors.
        let combined = |weights: &[f32; 3], [a, b, c]: [&[f32]; 3]| -> Vec<f32> {
            let values = a.iter().zip(b).zip(c);
            values.map(|((a, b), c)| weights[0] * a + weights[1] * b + weights[2] * c).collect()
        };
        let taps: [Vec<f32>; 9] =
            std::array::from_fn(|tap| filters.iter().skip(tap).step_by(9).copied().collect());
        let points = self.points();
        let mut transformed = Vec::with_capacity(points.len().pow(2) * count);
        for weights in points {
            let columns = [0, 1, 2].map(|x| combined(weights, [&taps[x], &taps[3 + x], &taps[6 + x]]));
            for weights in points {
                transformed.extend(combined(weights, columns.each_ref().map(Vec::as_slice)));
            }
        }
        transformed
    }

    fn defines(self, target: &Target) -> &'static [&'static str] {
        let family = match target.class {
            AdapterClass::Hardware => 0,
            AdapterClass::Software if !target.int64 => 1,
            AdapterClass::Software => 2,
        };
        VARIANTS[usize::from(self == Winograd::F4) + 2 * family]
    }
}

const VARIANTS: &[&[&str]] =
    &[&[], &["F4"], &["SOFTWARE"], &["F4", "SOFTWARE"], &["SOFTWARE", "INT64"], &["F4", "SOFTWARE", "INT64"]];

params! {
    count: usize, height: usize, width: usize, columns: usize, tiles: usize, tile_rows: usize, tile_columns: usize,
    side: usize, tile: usize, pad_top: usize, pad_left: usize, low: f32, high: f32, has_residual: u32,
}

pub(in crate::engine::ops) const INPUT: Shader = Shader {
    name: "conv2d_winograd_input",
    source: include_str!("../../../../shaders/conv2d_winograd_input.wgsl"),
    params: Params::FIELDS,
    variants: VARIANTS,
};

pub(in crate::engine::ops) const OUTPUT: Shader = Shader {
    name: "conv2d_winograd_output",
    source: include_str!("../../../../shaders/conv2d_winograd_output.wgsl"),
    params: Params::FIELDS,
    variants: VARIANTS,
};

/// The transformed input and the products, which live as long as the convolution.
const TRANSFORMED: Binding = Binding::Scratch(0);
const PRODUCTS: Binding = Binding::Scratch(1);

/// Tiles over all images of a result `[N, OH, OW, O]`.
fn tiles(winograd: Winograd, [images, height, width, _]: [usize; 4]) -> usize {
    let [rows, columns] = winograd.tiles([height, width]);
    images * rows * columns
}

/// Bytes of what lives as long as the convolution.
pub(super) fn scratch(winograd: Winograd, x: [usize; 4], y: [usize; 4]) -> Vec<usize> {
    [x[3], y[3]].map(|channels| 4 * winograd.side().pow(2) * tiles(winograd, y) * channels).to_vec()
}

/// Transforms the input, multiplies, transforms back.
pub(super) fn lower(
    node: &Lowering<'_>,
    conv: &Conv2d,
    winograd: Winograd,
    product: GemmKernel,
    x: [usize; 4],
    y: [usize; 4],
) -> Vec<Dispatch> {
    let tiles = tiles(winograd, y);
    let [tile_rows, tile_columns] = winograd.tiles([y[1], y[2]]);
    let [low, high] = conv.activation.clamp();
    let params = |[_, height, width, channels]: [usize; 4]| Params {
        count: tiles * channels / 4,
        height,
        width,
        columns: channels / 4,
        tiles,
        tile_rows,
        tile_columns,
        side: winograd.side(),
        tile: winograd.tile(),
        pad_top: conv.padding.top,
        pad_left: conv.padding.left,
        low,
        high,
        has_residual: u32::from(node.inputs.len() > 3),
    };
    let kernel = |shader| Kernel::new(shader, winograd.defines(node.target), Vec::new());
    let (before, after) = (params(x), params(y));
    let mut steps = node.flat(kernel(&INPUT), vec![node.input(0), TRANSFORMED], before.words(), before.count);
    steps.extend(super::product::matrices(
        node,
        product,
        [winograd.side().pow(2), tiles, x[3], y[3]],
        |block| Packing::winograd(winograd, block),
        [TRANSFORMED, PRODUCTS],
    ));
    let bindings = vec![PRODUCTS, node.weight(2, Packing::FLAT), node.input(3), node.output(0)];
    steps.extend(node.flat(kernel(&OUTPUT), bindings, after.words(), after.count));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_the_values_of_their_polynomials() {
        // The filter x² at every point, in both directions: 0, 1/2 or 2 over the distances, and 1 at infinity.
        let filter = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let transformed = Winograd::F4.filters(&filter);
        let row = [0.0, -1.0 / 3.0, -1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0];
        let expected = row.iter().flat_map(|a| row.map(|b| a * b));
        assert!(transformed.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7), "{transformed:?}");
        // Two filters side by side.
        let both = Winograd::F2.filters(&[[1.0; 9], [2.0; 9]].concat());
        assert_eq!(both[..6], [1.0, 2.0, 1.5, 3.0, 0.5, 1.0]);
    }
}
