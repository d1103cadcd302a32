// y[m, w] = x[indices[m], w], zero for an index outside of x
//
// x: [R, W]; indices: [M]; y: [M, W]. One invocation per value.

#import flat

struct Params {
    count: u32, width: u32, rows: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    let row = indices[i / p.width];
    var value = 0.0;
    if row < p.rows {
        value = x[row * p.width + i % p.width];
    }
    y[i] = value;
}
