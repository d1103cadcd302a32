// What an adapter can do at best; src/gpu/peaks.rs knows the counts.
//
// multiply_add: eight independent chains of vec4s a round, sixty-four rounds. copy: a vec4 for each invocation.

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4<f32>>;

@compute @workgroup_size(1)
fn nothing() {
    // Both bindings have to be used somewhere in the module.
}

@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = vec4(f32(id.x & 7u) * 0.125);
    var a = x;
    var b = x + 1.0;
    var c = x + 2.0;
    var d = x + 3.0;
    var e = x + 4.0;
    var f = x + 5.0;
    var g = x + 6.0;
    var h = x + 7.0;
    for (var i = 0u; i < 64u; i++) {
        a = a * x + x;
        b = b * x + x;
        c = c * x + x;
        d = d * x + x;
        e = e * x + x;
        f = f * x + x;
        g = g * x + x;
        h = h * x + x;
    }
    target_[id.x & 1023u] = a + b + c + d + e + f + g + h;
}

@compute @workgroup_size(64)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + local;
    if i < arrayLength(&source) {
        target_[i] = source[i];
    }
}
