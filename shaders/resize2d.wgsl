// y[n, oy, ox, c] = the value of image x[n] at the place of pixel (oy, ox), between its four nearest pixels
//
// x: [N, H, W, C]; y: [N, OH, OW, C]. One invocation per output value. FLOPs 9, bytes 4 to 20 a value.
// Places are fractions of integers, and so the same on all devices: (max(step d + plus, minus) - minus) / whole.
//
// NEAREST  the pixel at floor(d ratio), with the ratio of the sizes as a float, as PyTorch has it

#import flat

struct Params {
    count: u32, channels: u32, in_height: u32, in_width: u32, out_height: u32, out_width: u32,
    y_step: u32, y_plus: u32, y_minus: u32, y_whole: u32,
    x_step: u32, x_plus: u32, x_minus: u32, x_whole: u32, y_ratio: f32, x_ratio: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn mixed(low: f32, high: f32, weight: f32) -> f32 {
    return low * (1.0 - weight) + high * weight;
}

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
    let pixel = i / p.channels;
    let channel = i - pixel * p.channels;
    let row = pixel / p.out_width;
    let out_x = pixel - row * p.out_width;
    let image = row / p.out_height;
    let out_y = row - image * p.out_height;
    let first = image * p.in_height;
#ifdef NEAREST
    let in_y = first + min(u32(f32(out_y) * p.y_ratio), p.in_height - 1u);
    let in_x = min(u32(f32(out_x) * p.x_ratio), p.in_width - 1u);
    y[i] = x[(in_y * p.in_width + in_x) * p.channels + channel];
#else
    let at_y = max(p.y_step * out_y + p.y_plus, p.y_minus) - p.y_minus;
    let at_x = max(p.x_step * out_x + p.x_plus, p.x_minus) - p.x_minus;
    let low_y = at_y / p.y_whole;
    let low_x = at_x / p.x_whole;
    let weight_y = f32(at_y - low_y * p.y_whole) / f32(p.y_whole);
    let weight_x = f32(at_x - low_x * p.x_whole) / f32(p.x_whole);
    let rows = (first + min(vec2(low_y, low_y + 1u), vec2(p.in_height - 1u))) * p.in_width;
    let columns = min(vec2(low_x, low_x + 1u), vec2(p.in_width - 1u));
    let above = (rows.x + columns) * p.channels + channel;
    let below = (rows.y + columns) * p.channels + channel;
    y[i] = mixed(mixed(x[above.x], x[above.y], weight_x), mixed(x[below.x], x[below.y], weight_x), weight_y);
#endif
}
