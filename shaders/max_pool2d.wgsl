// y[n, oy, ox, c] = maximum of x[n, y, x, c] over the window of (oy, ox), without padding; NaN if the window has one
//
// x: [N, H, W, C]; y: [N, OH, OW, C]. One invocation per output value.

#import flat
#import pool2d

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
    let window = window_of(i);
    var largest = x[place(window, window.y0, window.x0)];
    // The largest absolute value as an integer, which orders NaN above infinity.
    var magnitude = 0u;
    for (var row = window.y0; row < window.y1; row++) {
        for (var column = window.x0; column < window.x1; column++) {
            let value = x[place(window, row, column)];
            largest = max(largest, value);
            magnitude = max(magnitude, bitcast<u32>(value) & 0x7fffffffu);
        }
    }
    y[i] = select(largest, bitcast<f32>(magnitude), magnitude > 0x7f800000u);
}
