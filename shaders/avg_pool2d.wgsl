// y[n, oy, ox, c] = mean of x[n, y, x, c] over the window of (oy, ox), in which padding counts as zeros or not at all
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
    var sum = 0.0;
    for (var row = window.y0; row < window.y1; row++) {
        for (var column = window.x0; column < window.x1; column++) {
            sum += x[place(window, row, column)];
        }
    }
    let inside = (window.y1 - window.y0) * (window.x1 - window.x0);
    y[i] = sum / f32(select(inside, p.kernel_height * p.kernel_width, p.count_include_pad != 0u));
}
