// y[r, e] = table[tokens[r], e], zero for an id outside of the table
//
// tokens: [R]; table: [V, E]; y: [R, E]. One invocation per value.

#import flat
#import weights

struct Params {
    count: u32, width: u32, entries: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<Weights>;
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
    let token = tokens[i / p.width];
    var value = 0.0;
    if token < p.entries {
        let at = token * p.width + i % p.width;
        value = widened(table[at / 4u])[at % 4u];
    }
    y[i] = value;
}
