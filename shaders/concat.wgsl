// y[.., offset + i, ..] = x[.., i, ..]: one operand of a concatenation along an axis; each has a dispatch of its own, which writes its
// part of y, since there may be more operands than storage buffers
//
// Axes of x, with their steps in y. One invocation per element of x. FLOPs 0, bytes 8 a value.

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
        y[place(i)] = x[i];
    }
}
