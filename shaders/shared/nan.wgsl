// A NaN among the operands must reach the result. But drivers may give any number for min, max, clamp and exp of a NaN, and compilers may
// assume that floats are no NaN. So a NaN is known by its bits.

fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// `result`, a function of x; x itself where it is NaN.
fn keep_nan(x: vec4<f32>, result: vec4<f32>) -> vec4<f32> {
    // As integers, absolute values of NaN are above infinity. There all bits are set, which is a NaN too: on software drivers a
    // comparison takes longer.
    let above = vec4(0x7f800000) - (bitcast<vec4<i32>>(x) & vec4(0x7fffffff));
    return bitcast<vec4<f32>>(bitcast<vec4<i32>>(result) | (above >> vec4(31u)));
}

// x between two bounds, which may be infinite.
fn clamp_keeping_nan(x: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    return keep_nan(x, clamp(x, vec4(low), vec4(high)));
}

// The absolute value as an integer, in whose order NaN is above infinity. The largest of many tells whether one is NaN.
fn magnitude(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

// `result`; NaN where the largest magnitude of what it was made from is that of a NaN.
fn nan_or(largest: u32, result: f32) -> f32 {
    return select(result, bitcast<f32>(largest), largest > 0x7f800000u);
}
