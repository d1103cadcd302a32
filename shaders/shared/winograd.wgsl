// What the two transforms of a Winograd convolution share; see src/engine/ops/conv2d/winograd.rs.
//
// F4        F(4, 3): tiles of 4x4 outputs, else F(2, 3)
// INT64     values are read and written as words of 64 bits
// SOFTWARE  for software drivers: a loop over rows, whose bound in `Params` hides the length from the compiler, as an unrolled transform
//           takes long to compile. GPUs get the unrolled one: with constant indices, a tile stays in registers

#import nan

struct Params {
    count: u32, height: u32, width: u32, columns: u32, tiles: u32, tile_rows: u32, tile_columns: u32,
    side: u32, tile: u32, pad_top: u32, pad_left: u32, low: f32, high: f32, has_residual: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

#ifdef F4
const SIDE = 6u;
const TILE = 4u;
// The points are 0, a, -a, b, -b and infinity.
const A = 0.70710678;
const B = 1.41421356;
#else
const SIDE = 4u;
const TILE = 2u;
#endif

// The activation of the last step.
fn limit(sum: vec4<f32>) -> vec4<f32> {
    return clamp_keeping_nan(sum, p.low, p.high);
}

// Image, row and column of a tile.
fn place(tile: u32) -> vec3<u32> {
    let row = tile / p.tile_columns;
    let image = row / p.tile_rows;
    return vec3(image, row - image * p.tile_rows, tile - row * p.tile_columns);
}
