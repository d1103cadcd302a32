// The elements that a kernel reads and writes at a time.
//
// FOURS  four neighbouring floats, else one, of which functions of vectors compute the first component

#ifdef FOURS
alias Value = vec4<f32>;

fn vector(value: Value) -> vec4<f32> {
    return value;
}

fn value(vector: vec4<f32>) -> Value {
    return vector;
}
#else
alias Value = f32;

fn vector(value: Value) -> vec4<f32> {
    return vec4(value);
}

fn value(vector: vec4<f32>) -> Value {
    return vector.x;
}
#endif
