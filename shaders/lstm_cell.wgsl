// i, f, g, o = W [x; h] + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')
//
// h, c, h_next, c_next: [R, H]      weight: [H / LANES, X + H, LANES, 4], a vec4 holding the gates i f g o of a unit      bias: [4 H]
// x: one or two tensors [R, FIRST], [R, SECOND] whose columns together are the input
//
// One invocation computes a unit in ROWS rows, so that each weight is read once for all of them; lanes run along the
// units and share x and h. FLOPs 8 R H (X + H), bytes 16 H (X + H) + ...

//!import activation
//!import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

struct Params {
    rows: u32, hidden: u32, first: u32, second: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> h: array<f32>;
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

// The sums of up to eight rows.
struct Gates {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let unit = workgroup.x * LANES + local.x;
    if unit >= p.hidden {
        return;
    }
    let row = workgroup.y * ROWS;
    // Rows past the end repeat the last one and are not stored.
    let rows = min(row + vec4(0u, 1u, 2u, 3u), vec4(p.rows - 1u));
    let more = min(row + vec4(4u, 5u, 6u, 7u), vec4(p.rows - 1u));
    let start = vec4(bias[unit], bias[p.hidden + unit], bias[2u * p.hidden + unit], bias[3u * p.hidden + unit]);
    var s = Gates(start, start, start, start, start, start, start, start);
    var w = workgroup.x * (p.first + p.second + p.hidden) * LANES + local.x;
    // ROWS is a constant: what lies above it is compiled away.
    var at = rows * p.first;
    var beyond = more * p.first;
    for (var i = 0u; i < p.first; i++) {
        let weights = widened(weight[w]);
        s.a += first[at.x + i] * weights;
        if ROWS > 1u { s.b += first[at.y + i] * weights; }
        if ROWS > 2u { s.c += first[at.z + i] * weights; }
        if ROWS > 3u { s.d += first[at.w + i] * weights; }
        if ROWS > 4u { s.e += first[beyond.x + i] * weights; }
        if ROWS > 5u { s.f += first[beyond.y + i] * weights; }
        if ROWS > 6u { s.g += first[beyond.z + i] * weights; }
        if ROWS > 7u { s.h += first[beyond.w + i] * weights; }
        w += LANES;
    }
    at = rows * p.second;
    beyond = more * p.second;
    for (var i = 0u; i < p.second; i++) {
        let weights = widened(weight[w]);
        s.a += second[at.x + i] * weights;
        if ROWS > 1u { s.b += second[at.y + i] * weights; }
        if ROWS > 2u { s.c += second[at.z + i] * weights; }
        if ROWS > 3u { s.d += second[at.w + i] * weights; }
        if ROWS > 4u { s.e += second[beyond.x + i] * weights; }
        if ROWS > 5u { s.f += second[beyond.y + i] * weights; }
        if ROWS > 6u { s.g += second[beyond.z + i] * weights; }
        if ROWS > 7u { s.h += second[beyond.w + i] * weights; }
        w += LANES;
    }
    at = rows * p.hidden;
    beyond = more * p.hidden;
    for (var i = 0u; i < p.hidden; i++) {
        let weights = widened(weight[w]);
        s.a += h[at.x + i] * weights;
        if ROWS > 1u { s.b += h[at.y + i] * weights; }
        if ROWS > 2u { s.c += h[at.z + i] * weights; }
        if ROWS > 3u { s.d += h[at.w + i] * weights; }
        if ROWS > 4u { s.e += h[beyond.x + i] * weights; }
        if ROWS > 5u { s.f += h[beyond.y + i] * weights; }
        if ROWS > 6u { s.g += h[beyond.z + i] * weights; }
        if ROWS > 7u { s.h += h[beyond.w + i] * weights; }
        w += LANES;
    }
    store(row, unit, s.a);
    if ROWS > 1u { store(row + 1u, unit, s.b); }
    if ROWS > 2u { store(row + 2u, unit, s.c); }
    if ROWS > 3u { store(row + 3u, unit, s.d); }
    if ROWS > 4u { store(row + 4u, unit, s.e); }
    if ROWS > 5u { store(row + 5u, unit, s.f); }
    if ROWS > 6u { store(row + 6u, unit, s.g); }
    if ROWS > 7u { store(row + 7u, unit, s.h); }
}
