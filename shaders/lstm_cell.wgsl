// i, f, g, o = W [x; h] + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')
//
// hidden (h), c, h_next, c_next: [R, H]      weight: [H / LANES, X + H, LANES, 4], a vec4 for the gates i f g o of a unit      bias: [4 H]
// x: one or two tensors [R, FIRST], [R, SECOND] whose columns together are the input
//
// One invocation computes a unit in ROWS rows, so that all of them share each weight it reads; lanes run along the units and share
// x and h. FLOPs 8 R H (X + H), bytes 16 H (X + H) + ...

#import lstm_cell
#import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> hidden: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<Weights>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> first: array<f32>;
@group(0) @binding(6) var<storage, read_write> second: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;
@group(0) @binding(8) var<storage, read_write> c_next: array<f32>;

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
    let start = gate_bias(unit);
    // ROWS is a constant: code for rows above it is compiled away.
#for R in 0..8
    var sum$R = start;
#endfor
    var w = block * (p.first + p.second + p.hidden) * LANES + local.x;
#for INPUT in first second hidden
#for R in 0..8
    let $INPUT$R = min(row + $Ru, last) * p.$INPUT;
#endfor
    for (var i = 0u; i < p.$INPUT; i++) {
        let weights = widened(weight[w]);
#for R in 0..8
        if ROWS > $Ru { sum$R += $INPUT[$INPUT$R + i] * weights; }
#endfor
        w += LANES;
    }
#endfor
#for R in 0..8
    if ROWS > $Ru { store(row + $Ru, unit, sum$R); }
#endfor
}
