// y[n, oy, ox, c] = maximum of x[n, y, x, c] over the window of (oy, ox), without padding; NaN if the window has one
//
// x: [N, H, W, C]; y: [N, OH, OW, C]. One invocation per output value.

#import flat
#import nan
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
    var largest_magnitude = 0u;
    for (var row = window.y0; row < window.y1; row++) {
        for (var column = window.x0; column < window.x1; column++) {
            let value = x[place(window, row, column)];
            largest = max(largest, value);
            largest_magnitude = max(largest_magnitude, magnitude(value));
        }
    }
    y[i] = nan_or(largest_magnitude, largest);
}
