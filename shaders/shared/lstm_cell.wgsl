// What all kernels of LSTM cells share: sizes, and what follows the sums of the gates.
//
// The shader declares `c`, `bias`, `h_next` and `c_next`: arrays of floats.

#import activation
#import flat

struct Params {
    rows: u32, hidden: u32, first: u32, second: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// The bias of the gates i, f, g, o of a unit.
fn gate_bias(unit: u32) -> vec4<f32> {
    return vec4(bias[unit], bias[p.hidden + unit], bias[2u * p.hidden + unit], bias[3u * p.hidden + unit]);
}

// The next state of a unit in a row; nothing for rows past the last one.
fn store(row: u32, unit: u32, gates: vec4<f32>) {
    if row < p.rows {
        let at = row * p.hidden + unit;
        let open = sigmoid(gates);
        let cell = open.y * c[at] + open.x * stable_tanh(gates).z;
        c_next[at] = cell;
        h_next[at] = open.w * stable_tanh(vec4(cell)).x;
    }
}
