// Softmax of a row whose largest value is known. A NaN makes the whole row NaN.

#import nan

// x - largest; 0 for the largest itself, where inf - inf would be NaN. Compares bits: with fast math, a compiler may drop a comparison
// of floats here, as x - x is 0 without infinities.
fn distance_to(largest: f32, x: f32) -> f32 {
    if bitcast<u32>(x) == bitcast<u32>(largest) {
        return 0.0;
    }
    return x - largest;
}

// exp(x - largest).
fn mass(largest: f32, x: f32) -> f32 {
    return keep_nan(vec4(x), vec4(exp(distance_to(largest, x)))).x;
}

// The logarithm of the sum of a row's masses.
fn log_of_sum(sum: f32) -> f32 {
    return keep_nan(vec4(sum), vec4(log(sum))).x;
}
