// i, f, g, o = W [x; h] + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')
//
// h, c, h_next, c_next: [R, H]      weight: [H / LANES, X + H, LANES, 4], a vec4 holding the gates i f g o of a unit      bias: [4 H]
// x: one or two tensors [R, FIRST], [R, SECOND] whose columns together are the input
//
// One invocation computes a unit in ROWS rows, so that each weight is read once for all of them; lanes run along the
// units and share x and h. FLOPs 8 R H (X + H), bytes 16 H (X + H) + ...

#import activation
#import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

struct Params {
    rows: u32, hidden: u32, first: u32, second: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> hidden: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<Weights>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> first: array<f32>;
@group(0) @binding(6) var<storage, read_write> second: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;
@group(0) @binding(8) var<storage, read_write> c_next: array<f32>;

fn store(row: u32, unit: u32, gates: vec4<f32>) {
    if row < p.rows {
        let at = row * p.hidden + unit;
        let open = sigmoid(gates);
        let cell = open.y * c[at] + open.x * stable_tanh(gates).z;
        c_next[at] = cell;
        h_next[at] = open.w * stable_tanh(vec4(cell)).x;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let unit = workgroup.x * LANES + local.x;
    if unit >= p.hidden {
        return;
    }
    let row = workgroup.y * ROWS;
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let start = vec4(bias[unit], bias[p.hidden + unit], bias[2u * p.hidden + unit], bias[3u * p.hidden + unit]);
    // ROWS is a constant: what lies above it is compiled away.
#for R in 0..8
    var sum$R = start;
#endfor
    var w = workgroup.x * (p.first + p.second + p.hidden) * LANES + local.x;
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
