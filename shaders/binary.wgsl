// y = clamp(a OP b), element by element; an axis of size 1 is repeated along the other operand's (NumPy's broadcasting)
//
// y: up to six axes, neighbours joined where both operands allow it (src/engine/ops/axes.rs); a, b: steps along each axis, 0 along
// a repeated one. Sizes and steps count elements: floats, or with FOURS vectors of four along the innermost axis.
// One invocation per element of y. FLOPs 1 a float, bytes at most 12 a float.

#import flat
#import nan
#import values

struct Params {
    count: u32, kind: u32, low: f32, high: f32, inner: u32,
    size0: u32, size1: u32, size2: u32, size3: u32, size4: u32,
    a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a_outer: u32,
    b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b_outer: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<Value>;
@group(0) @binding(2) var<storage, read_write> b: array<Value>;
@group(0) @binding(3) var<storage, read_write> y: array<Value>;

fn combined(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    switch p.kind {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return select(b, a, (a > b) | is_nan(a)); }
        default: { return select(b, a, (a < b) | is_nan(a)); }
    }
}

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
    // The outermost axis takes what the inner ones, the innermost first, leave of the number.
    var rest = i;
    var at = vec2(0u);
#for AXIS in 0..5
    if $AXISu < p.inner {
        at += rest % p.size$AXIS * vec2(p.a$AXIS, p.b$AXIS);
        rest /= p.size$AXIS;
    }
#endfor
    at += rest * vec2(p.a_outer, p.b_outer);
    y[i] = value(clamp_keeping_nan(combined(vector(a[at.x]), vector(b[at.y])), p.low, p.high));
}
