// y[n, oy, ox, c] = maximum of x[n, y, x, c] over the window of (oy, ox), padding left out
//
// x: [N, H, W, C]; y: [N, OH, OW, C]. One invocation per output value.

#import flat

struct Params {
    count: u32, channels: u32, in_height: u32, in_width: u32, out_height: u32, out_width: u32,
    kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
    pad_top: u32, pad_left: u32, count_include_pad: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i >= p.count {
        return;
    }
    let channel = i % p.channels;
    let pixel = i / p.channels;
    let out_x = pixel % p.out_width;
    let out_y = pixel / p.out_width % p.out_height;
    let image = pixel / p.out_width / p.out_height;
    // The window from its first to behind its last row and column, counted in the padded image.
    let top = out_y * p.stride_height;
    let left = out_x * p.stride_width;
    let y0 = max(top, p.pad_top) - p.pad_top;
    let x0 = max(left, p.pad_left) - p.pad_left;
    let y1 = min(top + p.kernel_height - p.pad_top, p.in_height);
    let x1 = min(left + p.kernel_width - p.pad_left, p.in_width);
    var largest = x[((image * p.in_height + y0) * p.in_width + x0) * p.channels + channel];
    for (var row = y0; row < y1; row++) {
        for (var column = x0; column < x1; column++) {
            largest = max(largest, x[((image * p.in_height + row) * p.in_width + column) * p.channels + channel]);
        }
    }
    y[i] = largest;
}
