// r, z, n_x = W_ih x + b_ih;  r, z, n_h += W_hh h + b_hh;  n = tanh(n_x + sigmoid(r) n_h);  h' = (1 - sigmoid(z)) n + sigmoid(z) h
//
// gru_cell.wgsl for GPUs: a workgroup computes LANES units of ROWS rows, and its SLICES of LANES invocations take turns along the inputs
// and the state.
//
// inputs: [R, X]      hidden (h), h_next: [R, H]      bias_ih, bias_hh: [3 H]
// weight_inputs, weight_hidden: [H / LANES, X or H, LANES, 4], a vec4 holding r z n 0 or r z 0 n of a unit
// FLOPs 6 R H (X + H), bytes 16 H (X + H) + ...

#import gru_cell
#import slices
#import weights

@group(0) @binding(1) var<storage, read_write> inputs: array<f32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;
@group(0) @binding(3) var<storage, read> weight_inputs: array<Weights>;
@group(0) @binding(4) var<storage, read> weight_hidden: array<Weights>;
@group(0) @binding(5) var<storage, read> bias_ih: array<f32>;
@group(0) @binding(6) var<storage, read> bias_hh: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;

@compute @workgroup_size(LANES, SLICES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let blocks = (p.hidden + LANES - 1u) / LANES;
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let row = place.y * ROWS;
    if row >= p.rows {
        return;
    }
    let last = p.rows - 1u;
    var sums: array<vec4<f32>, ROWS_AT_MOST>;
    var w = 0u;
    // Rows past the end repeat the last one and are not stored.
#for SOURCE in inputs hidden
    w = block * p.$SOURCE * LANES + local.x;
    for (var i = local.y; i < p.$SOURCE; i += SLICES) {
        let weights = widened(weight_$SOURCE[w + i * LANES]);
        for (var r = 0u; r < ROWS; r++) {
            sums[r] += $SOURCE[min(row + r, last) * p.$SOURCE + i] * weights;
        }
    }
#endfor
    let unit = block * LANES + local.x;
    for (var r = 0u; r < ROWS; r++) {
        let sum = sum_of_slices(local, sums[r]);
        if local.y == 0u && row + r < p.rows && unit < p.hidden {
            let at = (row + r) * p.hidden + unit;
            h_next[at] = next_state(sum + sums_bias(unit), hidden[at]);
        }
    }
}
