// y[m, c] = x[m, c] * scale[c] + shift[c]
//
// x, y: [.., C]; scale, shift: [C]. One invocation per value. FLOPs 2, bytes 8 a value.

#import flat

struct Params {
    count: u32, channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

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
    let c = i % p.channels;
    y[i] = x[i] * scale[c] + shift[c];
}
