//! Winograd's way to a 3x3 convolution: fewer multiplications for more additions.
//!
//! `F(m, 3)` computes `m x m` outputs from `n x n` inputs, `n = m + 2`, as `Aᵀ [(G g Gᵀ) * (Bᵀ d B)] A` (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", arXiv 1509.09308): the products in the middle, summed over the input
//! channels, are `n²` matrix products. The matrices follow from polynomials through `n - 1` points and infinity. F(4, 3) takes
//! 0, ±√½ and ±√2, where sums stay smaller than with the usual 0, ±1 and ±2.

use super::Conv2d;
use crate::ops::dispatch::{Lowering, Shader, params};
use crate::ops::{Binding, Dispatch, Kernel, Packing};
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

    /// `G g Gᵀ` of a 3x3 filter, row by row.
    pub(crate) fn filter(self, g: &[f32; 9]) -> impl Iterator<Item = f32> {
        let points = self.points();
        points.iter().flat_map(move |a| {
            let columns = [0, 1, 2].map(|x| a[0] * g[x] + a[1] * g[3 + x] + a[2] * g[6 + x]);
            points.iter().map(move |b| b[0] * columns[0] + b[1] * columns[1] + b[2] * columns[2])
        })
    }

    fn defines(self) -> &'static [&'static str] {
        match self {
            Winograd::F2 => VARIANTS[0],
            Winograd::F4 => VARIANTS[1],
        }
    }
}

const VARIANTS: &[&[&str]] = &[&[], &["F4"]];

params! {
    count: usize, height: usize, width: usize, columns: usize, tiles: usize, tile_rows: usize, tile_columns: usize,
    side: usize, tile: usize, pad_top: usize, pad_left: usize, low: f32, high: f32, has_residual: u32,
}

pub(in crate::ops) const INPUT: Shader = Shader {
    name: "conv2d_winograd_input",
    source: include_str!("../../../shaders/conv2d_winograd_input.wgsl"),
    params: Params::FIELDS,
    variants: VARIANTS,
};

pub(in crate::ops) const OUTPUT: Shader = Shader {
    name: "conv2d_winograd_output",
    source: include_str!("../../../shaders/conv2d_winograd_output.wgsl"),
    params: Params::FIELDS,
    variants: VARIANTS,
};

/// The transformed input and the products, which live as long as the convolution.
const TRANSFORMED: Binding = Binding::Scratch(0);
const PRODUCTS: Binding = Binding::Scratch(1);

/// Tiles over all images of a result `[N, OH, OW, O]`.
fn tiles(winograd: Winograd, [images, height, width, _]: [usize; 4]) -> usize {
    images * height.div_ceil(winograd.tile()) * width.div_ceil(winograd.tile())
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
    x: [usize; 4],
    y: [usize; 4],
) -> Vec<Dispatch> {
    let tiles = tiles(winograd, y);
    let [low, high] = conv.activation.clamp();
    let params = |[_, height, width, channels]: [usize; 4]| Params {
        count: tiles * channels / 4,
        height,
        width,
        columns: channels / 4,
        tiles,
        tile_rows: y[1].div_ceil(winograd.tile()),
        tile_columns: y[2].div_ceil(winograd.tile()),
        side: winograd.side(),
        tile: winograd.tile(),
        pad_top: conv.padding.top,
        pad_left: conv.padding.left,
        low,
        high,
        has_residual: u32::from(node.inputs.len() > 3),
    };
    let kernel = |shader| Kernel { shader, defines: winograd.defines(), constants: Vec::new() };
    let (before, after) = (params(x), params(y));
    let mut steps = node.flat(kernel(&INPUT), vec![node.input(0), TRANSFORMED], before.words(), before.count);
    steps.extend(super::products(
        node,
        [winograd.side().pow(2), tiles, x[3], y[3]],
        |block| Packing::winograd(winograd, block),
        [TRANSFORMED, PRODUCTS],
    ));
    let bindings = vec![PRODUCTS, node.weight(2, Packing::FLAT), node.input(3), node.output(0)];
    steps.extend(node.flat(kernel(&OUTPUT), bindings, after.words(), after.count));
    steps
}
