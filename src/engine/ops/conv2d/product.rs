//! Matrix products, which most convolutions and the linear layers of many rows are.

use crate::engine::ops::activation::Activation;
use crate::engine::plan::heuristics::conv2d::GemmKernel;
use crate::engine::plan::{
    Binding, Block, Dispatch, Kernel, Lowering, Packing, Shader, WEIGHT_VARIANTS, flat_grid, params,
};

params! {
    images: usize, in_height: usize, in_width: usize, in_channels: usize,
    out_height: usize, out_width: usize, out_channels: usize,
    kernel_height: usize, kernel_width: usize, stride_height: usize, stride_width: usize,
    dilation_height: usize, dilation_width: usize, pad_top: usize, pad_left: usize,
    group_inputs: usize, group_outputs: usize, blocks: usize, low: f32, high: f32, has_residual: u32,
    matrices: usize, tile: usize, splits: usize,
}

pub(in crate::engine::ops) const GEMM: Shader = Shader {
    name: "conv2d_gemm",
    source: include_str!("../../../../shaders/conv2d_gemm.wgsl"),
    params: Params::FIELDS,
    variants: &[&["POINTWISE"], &[]],
};

pub(in crate::engine::ops) const SUBGROUP: Shader = Shader {
    name: "conv2d_subgroup",
    source: include_str!("../../../../shaders/conv2d_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: &SUBGROUP_VARIANTS,
};

/// The variants of the shader for subgroups: by padding, by storage and by block.
const SUBGROUP_VARIANTS: [&[&str]; 8] = [
    &[],
    &["PADDED"],
    &["HALF"],
    &["PADDED", "HALF"],
    &["WIDE"],
    &["PADDED", "WIDE"],
    &["HALF", "WIDE"],
    &["PADDED", "HALF", "WIDE"],
];

/// The variants of the shaders for GPUs: by tile and by storage.
const TILED_VARIANTS: [&[&str]; 4] = [&[], &["WIDE"], &["HALF"], &["WIDE", "HALF"]];

pub(in crate::engine::ops) const TILED: Shader = Shader {
    name: "conv2d_tiled",
    source: include_str!("../../../../shaders/conv2d_tiled.wgsl"),
    params: Params::FIELDS,
    variants: &TILED_VARIANTS,
};

pub(in crate::engine::ops) const REDUCE: Shader = Shader {
    name: "conv2d_reduce",
    source: include_str!("../../../../shaders/conv2d_reduce.wgsl"),
    params: reduce::Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

mod reduce {
    use crate::engine::plan::params;

    params! { count: usize, columns: usize, splits: u32, low: f32, high: f32, has_residual: u32 }
}

/// Pixels that one invocation of `conv2d_gemm` computes.
const GEMM_PIXELS: usize = 4;
/// Pixels that one workgroup of `conv2d_subgroup` computes.
const SUBGROUP_PIXELS: usize = 16;
/// Inputs of which `conv2d_tiled` has tiles, in fours.
const TILED_QUADS: usize = 4;

impl Params {
    /// Of a 1x1 window that moves by one pixel.
    pub(super) fn pointwise(x: [usize; 4], y: [usize; 4], activation: Activation) -> Params {
        let [images, in_height, in_width, in_channels] = x;
        let [_, out_height, out_width, out_channels] = y;
        let [low, high] = activation.clamp();
        Params {
            images,
            in_height,
            in_width,
            in_channels,
            out_height,
            out_width,
            out_channels,
            kernel_height: 1,
            kernel_width: 1,
            stride_height: 1,
            stride_width: 1,
            dilation_height: 1,
            dilation_width: 1,
            pad_top: 0,
            pad_left: 0,
            group_inputs: in_channels,
            group_outputs: out_channels,
            blocks: 0,
            low,
            high,
            has_residual: 0,
            matrices: 1,
            tile: 0,
            splits: 1,
        }
    }

    /// Pixels of all images, of one matrix.
    fn pixels(&self) -> usize {
        self.images * self.out_height * self.out_width
    }

    /// Whether input and output pixels are the same.
    fn is_pointwise(&self) -> bool {
        let Params { kernel_height, kernel_width, stride_height, stride_width, .. } = *self;
        [kernel_height, kernel_width, stride_height, stride_width] == [1; 4] && !self.is_padded()
    }

    /// Whether some tap of some window lies outside of the image.
    fn is_padded(&self) -> bool {
        let beyond = |outputs: usize, stride: usize, kernel: usize, dilation: usize, inputs: usize| {
            outputs.saturating_sub(1) * stride + (kernel - 1) * dilation >= inputs
        };
        let Params { out_height, stride_height, kernel_height, dilation_height, in_height, .. } = *self;
        let Params { out_width, stride_width, kernel_width, dilation_width, in_width, .. } = *self;
        self.pad_top > 0
            || self.pad_left > 0
            || beyond(out_height, stride_height, kernel_height, dilation_height, in_height)
            || beyond(out_width, stride_width, kernel_width, dilation_width, in_width)
    }
}

/// Bytes of the partial sums of all splits of a product with `results` results.
pub(in crate::engine::ops) fn scratch(product: GemmKernel, results: usize) -> Vec<usize> {
    match product {
        GemmKernel::Tiled { splits, .. } if splits > 1 => vec![4 * results * splits as usize],
        _ => Vec::new(),
    }
}

/// A linear layer as a 1x1 convolution over its rows. Operands lie as in [`Linear`](crate::engine::ops::Linear).
pub(in crate::engine::ops) fn pointwise(
    node: &Lowering<'_>,
    product: GemmKernel,
    [rows, inputs, outputs]: [usize; 3],
    activation: Activation,
) -> Vec<Dispatch> {
    let params = Params::pointwise([1, 1, rows, inputs], [1, 1, rows, outputs], activation);
    lower(node, product, params, Packing::inputs, [node.input(0), Binding::Absent, node.output(0)])
}

/// Products `[matrices, rows, I]` times `[matrices, I, O]`, without bias, from one binding to another.
pub(super) fn matrices(
    node: &Lowering<'_>,
    product: GemmKernel,
    [matrices, rows, inputs, outputs]: [usize; 4],
    packing: impl Fn(Block) -> Packing,
    [x, y]: [Binding; 2],
) -> Vec<Dispatch> {
    let params = Params {
        matrices,
        ..Params::pointwise([1, 1, rows, inputs], [1, 1, rows, outputs], Activation::Identity)
    };
    lower(node, product, params, packing, [x, Binding::Absent, y])
}

/// `ends` are input, residual and output.
pub(super) fn lower(
    node: &Lowering<'_>,
    product: GemmKernel,
    params: Params,
    packing: impl Fn(Block) -> Packing,
    ends: [Binding; 3],
) -> Vec<Dispatch> {
    match product {
        GemmKernel::Subgroup { wide } => vec![subgroup(node, wide, params, packing, ends)],
        GemmKernel::Gemm(workgroup) => vec![gemm(node, workgroup, params, packing, ends)],
        GemmKernel::Tiled { wide, splits } => tiled(node, wide, splits, params, packing, ends),
    }
}

fn gemm(
    node: &Lowering<'_>,
    [across, rows]: [u32; 2],
    mut params: Params,
    packing: impl Fn(Block) -> Packing,
    [x, residual, y]: [Binding; 3],
) -> Dispatch {
    let mut constants = vec![("LANES", across)];
    if rows > 1 {
        constants.push(("TILES", rows));
    }
    // Lanes run along output channels, four each.
    params.blocks = params.out_channels.div_ceil(4).div_ceil(across as usize);
    let is_pointwise = params.is_pointwise();
    let [stretches, lines] = if is_pointwise {
        // All pixels of all images make one long row.
        let pixels = params.pixels();
        [params.images, params.in_height, params.out_height] = [1; 3];
        [params.in_width, params.out_width] = [pixels; 2];
        [pixels.div_ceil(GEMM_PIXELS).div_ceil(rows as usize), 1]
    } else {
        [params.out_width.div_ceil(GEMM_PIXELS), params.out_height.div_ceil(rows as usize)]
    };
    let weight = node.weight(1, packing(Block::Columns(across)));
    let kernel = Kernel::new(&GEMM, GEMM.variants[usize::from(!is_pointwise)], constants);
    let bindings = vec![x, weight, node.weight(2, Packing::FLAT), residual, y];
    let grid = [stretches * params.blocks, lines, params.images * params.matrices];
    node.grid(kernel, bindings, params.words(), grid)
}

/// The weight, of 16 bits where they hold it, and its scale then. Several matrices come from weights that are
/// transformed, which makes them longer.
fn weight(
    node: &Lowering<'_>,
    params: &Params,
    packing: impl Fn(bool) -> Packing,
) -> (Binding, Option<Binding>) {
    match node.scaled_weight(1, packing(true)).filter(|_| params.matrices == 1) {
        Some([weight, scale]) => (weight, Some(scale)),
        None => (node.weight(1, packing(false)), None),
    }
}

/// For drivers on a CPU whose subgroups are its vectors.
fn subgroup(
    node: &Lowering<'_>,
    wide: bool,
    mut params: Params,
    packing: impl Fn(Block) -> Packing,
    [x, residual, y]: [Binding; 3],
) -> Dispatch {
    params.tile = SUBGROUP_PIXELS;
    params.blocks = params.out_channels.div_ceil(Block::Mat4.columns() * if wide { 2 } else { 1 });
    let tiles = params.matrices * params.blocks * params.pixels().div_ceil(SUBGROUP_PIXELS);
    let (weight, scale) = weight(node, &params, |half| packing(Block::mat4(half)));
    let mut bindings = vec![x, weight, node.weight(2, Packing::FLAT), residual, y];
    bindings.extend(scale);
    let flags = [params.is_padded(), scale.is_some(), wide].map(usize::from);
    let defines = SUBGROUP_VARIANTS[flags[0] + 2 * flags[1] + 4 * flags[2]];
    Dispatch {
        kernel: Kernel::new(&SUBGROUP, defines, Vec::new()),
        bindings,
        params: params.words(),
        workgroups: flat_grid(tiles, node.target.max_workgroups),
    }
}

/// For GPUs: in tiles that a workgroup shares, and, if the inputs are split, with a second step that adds the parts.
fn tiled(
    node: &Lowering<'_>,
    wide: bool,
    splits: u32,
    mut params: Params,
    packing: impl Fn(Block) -> Packing,
    [x, residual, y]: [Binding; 3],
) -> Vec<Dispatch> {
    const PARTS: Binding = Binding::Scratch(0);
    let side = if wide { 64 } else { 32 };
    let (pixels, columns) = (params.pixels(), params.out_channels / 4);
    params.tile = TILED_QUADS;
    params.splits = splits as usize;
    params.blocks = params.out_channels.div_ceil(side);
    let tiles = params.matrices * params.splits * params.blocks * pixels.div_ceil(side);
    let (weight, scale) = weight(node, &params, |_| packing(Block::Columns(side as u32 / 4)));
    let bias = node.weight(2, Packing::FLAT);
    let is_split = splits > 1;
    let mut bindings = match is_split {
        true => vec![x, weight, bias, Binding::Absent, PARTS],
        false => vec![x, weight, bias, residual, y],
    };
    bindings.extend(scale);
    let defines = TILED_VARIANTS[usize::from(wide) + 2 * usize::from(scale.is_some())];
    let mut steps = vec![Dispatch {
        kernel: Kernel::new(&TILED, defines, Vec::new()),
        bindings,
        params: params.words(),
        workgroups: flat_grid(tiles, node.target.max_workgroups),
    }];
    if is_split {
        let count = pixels * columns;
        let Params { low, high, has_residual, .. } = params;
        let words = reduce::Params { count, columns, splits, low, high, has_residual }.words();
        let mut bindings = vec![PARTS, bias, residual, y];
        bindings.extend(scale);
        let defines = WEIGHT_VARIANTS[usize::from(scale.is_some())];
        steps.extend(node.flat(Kernel::new(&REDUCE, defines, Vec::new()), bindings, words, count));
    }
    steps
}
