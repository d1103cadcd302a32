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

fn relu(x: vec4<f32>) -> vec4<f32> {
    return keep_nan(x, max(x, vec4(0.0)));
}

fn relu6(x: vec4<f32>) -> vec4<f32> {
    return clamp_keeping_nan(x, 0.0, 6.0);
}

// The probability that a standard normal variable is below x. That it is below -|x| is exp(-x^2 / 2) t P(t) with t = 1 / (1 + 0.3 |x|),
// and the polynomial P, fitted for |x| <= 14.5, makes a relative error of 1.7e-7: nothing cancels in the tail.
fn normal_probability(x: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.3 * abs(x));
    var tail = vec4(0.035423726);
    tail = tail * t - 0.15615842;
    tail = tail * t + 0.20455673;
    tail = tail * t - 0.05203398;
    tail = tail * t + 0.12769176;
    tail = tail * t + 0.100175954;
    tail = tail * t + 0.12071214;
    tail = tail * t + 0.119632006;
    tail *= t * exp(-0.5 * x * x);
    return keep_nan(x, select(tail, 1.0 - tail, x >= vec4(0.0)));
}

// Drivers may give any number for the logarithms of zero, of infinity and of what is below zero.
fn natural_log(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    var result = bitcast<vec4<u32>>(log(x));
    result = select(result, vec4(0x7f800000u), bits == vec4(0x7f800000u));
    result = select(result, vec4(0x7fc00000u), bits > vec4(0x80000000u));
    result = select(result, vec4(0xff800000u), (bits & vec4(0x7fffffffu)) == vec4(0u));
    return keep_nan(x, bitcast<vec4<f32>>(result));
}

fn activate(kind: u32, x: vec4<f32>) -> vec4<f32> {
    switch kind {
        case 1u: { return relu(x); }
        case 2u: { return relu6(x); }
        case 3u: { return sigmoid(x); }
        case 4u: { return stable_tanh(x); }
        case 5u: { return x * normal_probability(x); }
        case 6u: { return x * sigmoid(x); }
        case 7u: { return relu6(x + 3.0) / 6.0; }
        case 8u: { return x * (relu6(x + 3.0) / 6.0); }
        case 9u: { return natural_log(x); }
        default: { return x; }
    }
}
