// What the two ends of a Winograd convolution share: F(2, 3), or with F4 F(4, 3); see src/ops/conv2d/winograd.rs.

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

// Image, row and column of a tile.
fn place(tile: u32) -> vec3<u32> {
    let row = tile / p.tile_columns;
    let image = row / p.tile_rows;
    return vec3(image, row - image * p.tile_rows, tile - row * p.tile_columns);
}
