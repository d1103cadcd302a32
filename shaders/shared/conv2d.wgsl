// What all convolution kernels share: sizes, the pixels under a tap of the window, and how sums begin and end.

#import flat
#import nan

struct Params {
    images: u32, in_height: u32, in_width: u32, in_channels: u32,
    out_height: u32, out_width: u32, out_channels: u32,
    kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
    dilation_height: u32, dilation_width: u32, pad_top: u32, pad_left: u32,
    group_inputs: u32, group_outputs: u32, blocks: u32, low: f32, high: f32, has_residual: u32,
    matrices: u32, tile: u32, splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Block of channels, stretch of pixels, row and image of a workgroup; the grid has [blocks * stretches, rows, images].
fn stretch_place(workgroup: vec3<u32>, workgroups: vec3<u32>, stretches: u32, rows: u32) -> vec4<u32> {
    let place = grid_layer(workgroup, workgroups, p.blocks * stretches, rows);
    let stretch = place.x / p.blocks;
    return vec4(place.x - stretch * p.blocks, stretch, place.yz);
}

// Image, row and column of an output pixel of a matrix.
fn place(matrix: u32, pixel: u32) -> vec3<u32> {
    let row = pixel / p.out_width;
    let image = row / p.out_height;
    return vec3(matrix * p.images + image, row - image * p.out_height, pixel - row * p.out_width);
}

// The input pixels under tap (ky, kx) of the windows of four output pixels in row y of an image; -1 in the padding.
fn taps(image: u32, y: u32, x: vec4<u32>, ky: u32, kx: u32) -> vec4<i32> {
    let row = i32(y * p.stride_height + ky * p.dilation_height) - i32(p.pad_top);
    let column = vec4<i32>(x * p.stride_width + kx * p.dilation_width) - i32(p.pad_left);
    let row_inside = row >= 0 && row < i32(p.in_height);
    let inside = vec4(row_inside) & (column >= vec4(0)) & (column < vec4(i32(p.in_width)));
    return select(vec4(-1), (i32(image * p.in_height) + row) * i32(p.in_width) + column, inside);
}

// Initial sum: the bias, or 0 for the matrices of a Winograd convolution, whose output transform adds it.
fn first_sum(bias: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), bias, p.matrices == 1u);
}

// The activation of the last step.
fn limit(sum: vec4<f32>) -> vec4<f32> {
    return clamp_keeping_nan(sum, p.low, p.high);
}
