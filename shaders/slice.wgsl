// y[i, j, ..] = x[start_0 + i step_0, start_1 + j step_1, ..]: a part of each axis
//
// Axes of y, with their steps in x. One invocation per element of y. FLOPs 0, bytes 8 a value.

#import axes
#import flat

@group(0) @binding(1) var<storage, read_write> x: array<Words>;
@group(0) @binding(2) var<storage, read_write> y: array<Words>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i < p.count {
        y[i] = x[place(i)];
    }
}
