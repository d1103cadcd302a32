// i, f, g, o = W [x; h] + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')
//
// lstm_cell.wgsl for GPUs: a workgroup computes LANES units of ROWS rows, and its SLICES of LANES invocations take turns along the inputs
// and the state.
//
// hidden (h), c, h_next, c_next: [R, H]      weight: [H / LANES, X + H, LANES, 4], a vec4 for the gates i f g o of a unit      bias: [4 H]
// x: one or two tensors [R, FIRST], [R, SECOND] whose columns together are the input
// FLOPs 8 R H (X + H), bytes 16 H (X + H) + ...

#import lstm_cell
#import slices
#import weights

@group(0) @binding(1) var<storage, read_write> hidden: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<Weights>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> first: array<f32>;
@group(0) @binding(6) var<storage, read_write> second: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;
@group(0) @binding(8) var<storage, read_write> c_next: array<f32>;

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
    var w = block * (p.first + p.second + p.hidden) * LANES + local.x;
    // Rows past the end repeat the last one and are not stored.
#for INPUT in first second hidden
    for (var i = local.y; i < p.$INPUT; i += SLICES) {
        let weights = widened(weight[w + i * LANES]);
        for (var r = 0u; r < ROWS; r++) {
            sums[r] += $INPUT[min(row + r, last) * p.$INPUT + i] * weights;
        }
    }
    w += p.$INPUT * LANES;
#endfor
    let unit = block * LANES + local.x;
    for (var r = 0u; r < ROWS; r++) {
        let gates = sum_of_slices(local, sums[r]);
        if local.y == 0u && unit < p.hidden {
            store(row + r, unit, gates + gate_bias(unit));
        }
    }
}
