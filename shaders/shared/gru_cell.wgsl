// What all kernels of GRU cells share: sizes, and what precedes and follows the sums of a unit: r, z, n_x (from the inputs) and n_h (from
// the state).
//
// The shader declares `bias_ih` and `bias_hh`: arrays of floats.

#import activation
#import flat

struct Params {
    rows: u32, inputs: u32, hidden: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Where the sums of a unit start.
fn sums_bias(unit: u32) -> vec4<f32> {
    let z = p.hidden + unit;
    let n = z + p.hidden;
    return vec4(bias_ih[unit] + bias_hh[unit], bias_ih[z] + bias_hh[z], bias_ih[n], bias_hh[n]);
}

// The next state of a unit.
fn next_state(sums: vec4<f32>, state: f32) -> f32 {
    let open = sigmoid(sums);
    let n = stable_tanh(vec4(sums.z + open.x * sums.w)).x;
    return (1.0 - open.y) * n + open.y * state;
}
