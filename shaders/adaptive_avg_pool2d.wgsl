// y[n, oy, ox, c] = mean of x[n, y, x, c] for y from floor(oy H / OH) to ceil((oy + 1) H / OH), x alike
//
// x: [N, H, W, C]; y: [N, OH, OW, C]; OH = OW = 1 is the global mean. One invocation per output value.

#import flat

struct Params {
    count: u32, channels: u32, in_height: u32, in_width: u32, out_height: u32, out_width: u32,
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
    let y0 = out_y * p.in_height / p.out_height;
    let x0 = out_x * p.in_width / p.out_width;
    let y1 = ((out_y + 1u) * p.in_height + p.out_height - 1u) / p.out_height;
    let x1 = ((out_x + 1u) * p.in_width + p.out_width - 1u) / p.out_width;
    var sum = 0.0;
    for (var row = y0; row < y1; row++) {
        for (var column = x0; column < x1; column++) {
            sum += x[((image * p.in_height + row) * p.in_width + column) * p.channels + channel];
        }
    }
    y[i] = sum / f32((y1 - y0) * (x1 - x0));
}
