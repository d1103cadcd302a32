// What an adapter can do at best with 16-bit floats: peaks.wgsl's multiply_add on them.

enable f16;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4<f32>>;

fn chain(start: vec4<f16>, x: f16) -> vec4<f16> {
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
    let x = f16(id.x & 7u) * 0.125h;
    var a = vec4(x);
    var b = vec4(x + 1.0h);
    var c = vec4(x + 2.0h);
    for (var i = 0u; i < 128u; i++) {
        a = chain(a, x);
        b = chain(b, x);
        c = chain(c, x);
    }
    target_[id.x & 1023u] = vec4<f32>(a + b + c);
}
