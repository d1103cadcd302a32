// Non-linearities by the numbers of `Activation::code`, in forms that stay finite for any number; NaN stays NaN.

#import nan

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    // exp of a non-positive number only: 1 / (1 + e) for x >= 0, e / (1 + e) below.
    let e = exp(-abs(x));
    return keep_nan(x, select(e, vec4(1.0), x >= vec4(0.0)) / (1.0 + e));
}

fn stable_tanh(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-2.0 * abs(x));
    return keep_nan(x, sign(x) * ((1.0 - e) / (1.0 + e)));
}

fn activate(kind: u32, x: vec4<f32>) -> vec4<f32> {
    switch kind {
        case 1u: { return keep_nan(x, max(x, vec4(0.0))); }
        case 2u: { return clamp_keeping_nan(x, 0.0, 6.0); }
        case 3u: { return sigmoid(x); }
        case 4u: { return stable_tanh(x); }
        default: { return x; }
    }
}
