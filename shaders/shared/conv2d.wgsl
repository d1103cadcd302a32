// What all convolution kernels share: their sizes, and where a window of an output pixel begins.

struct Params {
    pixels: u32, in_height: u32, in_width: u32, in_channels: u32,
    out_height: u32, out_width: u32, out_channels: u32,
    kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
    dilation_height: u32, dilation_width: u32, pad_top: u32, pad_left: u32,
    group_inputs: u32, group_outputs: u32, low: f32, high: f32, has_residual: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// The first row and column of the windows of four output pixels (negative inside the padding), and the image's row 0.
struct Origins {
    image: vec4<i32>,
    y: vec4<i32>,
    x: vec4<i32>,
}

fn origins(pixel: vec4<u32>) -> Origins {
    let row = pixel / p.out_width;
    let image = row / p.out_height;
    let y = (row - image * p.out_height) * p.stride_height;
    let x = (pixel - row * p.out_width) * p.stride_width;
    return Origins(
        vec4<i32>(image * p.in_height),
        vec4<i32>(y) - i32(p.pad_top),
        vec4<i32>(x) - i32(p.pad_left),
    );
}

// The input pixels under tap (ky, kx) of four windows; -1 where the tap lies in the padding.
fn taps(o: Origins, ky: u32, kx: u32) -> vec4<i32> {
    let y = o.y + i32(ky * p.dilation_height);
    let x = o.x + i32(kx * p.dilation_width);
    let inside = (y >= vec4(0)) & (y < vec4(i32(p.in_height))) & (x >= vec4(0)) & (x < vec4(i32(p.in_width)));
    return select(vec4(-1), (o.image + y) * i32(p.in_width) + x, inside);
}

// The activation of the last step.
fn limit(sum: vec4<f32>) -> vec4<f32> {
    return clamp(sum, vec4(p.low), vec4(p.high));
}
