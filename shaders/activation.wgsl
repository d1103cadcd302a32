// y = activation(x), element by element. One invocation per element, bytes 8 a float.
//
// FOURS  an element is four floats

#import activation
#import flat
#import values

struct Params {
    count: u32, activation: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;

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
    y[i] = value(activate(p.activation, vector(x[i])));
}
