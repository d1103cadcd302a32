// What an adapter can do at best; src/gpu/peaks.rs knows the counts.
//
// multiply_add: three independent chains of eight vec4s a round, 128 rounds: as many as hide what an addition takes, and no more
// than sixteen vector registers hold. copy: a vec4 for each invocation.

// What is multiplied and added; src/gpu/peaks.rs puts f16 in its place.
alias Number = f32;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4<f32>>;

@compute @workgroup_size(1)
fn nothing() {
    // Both bindings have to be used somewhere in the module.
}

// Eight in a row: what is carried from round to round costs more than arithmetic on some drivers.
fn chain(start: vec4<Number>, x: Number) -> vec4<Number> {
    let a = start * x + x;
    let b = a * x + x;
    let c = b * x + x;
    let d = c * x + x;
    let e = d * x + x;
    let f = e * x + x;
    let g = f * x + x;
    return g * x + x;
}

@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = Number(id.x & 7u) * 0.125;
    var a = vec4(x);
    var b = vec4(x + 1.0);
    var c = vec4(x + 2.0);
    for (var i = 0u; i < 128u; i++) {
        a = chain(a, x);
        b = chain(b, x);
        c = chain(c, x);
    }
    target_[id.x & 1023u] = vec4<f32>(a + b + c);
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
