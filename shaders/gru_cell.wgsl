// r, z, n_x = W_ih x + b_ih;  r, z, n_h += W_hh h + b_hh;  n = tanh(n_x + sigmoid(r) n_h);  h' = (1 - sigmoid(z)) n + sigmoid(z) h
//
// inputs: [R, X]      hidden (h), h_next: [R, H]      bias_ih, bias_hh: [3 H]
// weight_inputs, weight_hidden: [H / LANES, X or H, LANES, 4], a vec4 holding r z n 0 or r z 0 n of a unit
//
// One invocation computes a unit in ROWS rows, so that each weight is read once for all of them; lanes run along the
// units and share what they read of the inputs and the state. FLOPs 6 R H (X + H), bytes 16 H (X + H) + ...

#import gru_cell
#import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> inputs: array<f32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;
@group(0) @binding(3) var<storage, read> weight_inputs: array<Weights>;
@group(0) @binding(4) var<storage, read> weight_hidden: array<Weights>;
@group(0) @binding(5) var<storage, read> bias_ih: array<f32>;
@group(0) @binding(6) var<storage, read> bias_hh: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let blocks = (p.hidden + LANES - 1u) / LANES;
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let unit = block * LANES + local.x;
    let row = place.y * ROWS;
    if unit >= p.hidden || row >= p.rows {
        return;
    }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let start = sums_bias(unit);
    // ROWS is a constant: what lies above it is compiled away.
#for R in 0..8
    var sums$R = start;
#endfor
    var w = 0u;
#for SOURCE in inputs hidden
    w = block * p.$SOURCE * LANES + local.x;
#for R in 0..8
    let $SOURCE$R = min(row + $Ru, last) * p.$SOURCE;
#endfor
    for (var i = 0u; i < p.$SOURCE; i++) {
        let weights = widened(weight_$SOURCE[w]);
#for R in 0..8
        if ROWS > $Ru { sums$R += $SOURCE[$SOURCE$R + i] * weights; }
#endfor
        w += LANES;
    }
#endfor
#for R in 0..8
    if ROWS > $Ru && row + $Ru < p.rows {
        h_next[hidden$R + unit] = next_state(sums$R, hidden[hidden$R + unit]);
    }
#endfor
}
