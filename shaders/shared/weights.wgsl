// Four weights side by side.
//
// HALF  as 16-bit floats, two in a word, for weights that 16 bits hold exactly

#ifdef HALF
alias Weights = vec2<u32>;

fn widened(halves: Weights) -> vec4<f32> {
    return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
#else
alias Weights = vec4<f32>;

fn widened(weights: Weights) -> vec4<f32> {
    return weights;
}
#endif
