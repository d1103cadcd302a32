// y[r, o] = clamp(sum_i x[r, i] w[i, o] + bias[o])
//
// x: [R, I]       weight: [O / 4 / LANES, I, LANES, 4], zeros beyond O       bias: [O]       y: [R, O]
//
// For few rows, where reading the weights is what takes the time: an invocation computes 4 outputs of ROWS rows, so
// that each weight is read once for all of them. Lanes run along the outputs and share x.
// FLOPs 2 R I O, bytes 4 (R I + I O + R O).

//!import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

struct Params {
    rows: u32, inputs: u32, outputs: u32, low: f32, high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<Weights>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn store(row: u32, output: u32, sum: vec4<f32>) {
    if row >= p.rows {
        return;
    }
    let value = clamp(sum, vec4(p.low), vec4(p.high));
    let at = row * p.outputs + output;
    y[at] = value.x;
    if output + 1u < p.outputs { y[at + 1u] = value.y; }
    if output + 2u < p.outputs { y[at + 2u] = value.z; }
    if output + 3u < p.outputs { y[at + 3u] = value.w; }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let columns = (p.outputs + 3u) / 4u;
    let column = workgroup.x * LANES + local.x;
    if column >= columns {
        return;
    }
    let first = workgroup.y * ROWS;
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let start = bias[column];
    // ROWS is a constant: what lies above it is compiled away.
    var a = start; let xa = first * p.inputs;
    var b = start; let xb = min(first + 1u, last) * p.inputs;
    var c = start; let xc = min(first + 2u, last) * p.inputs;
    var d = start; let xd = min(first + 3u, last) * p.inputs;
    var e = start; let xe = min(first + 4u, last) * p.inputs;
    var f = start; let xf = min(first + 5u, last) * p.inputs;
    var g = start; let xg = min(first + 6u, last) * p.inputs;
    var h = start; let xh = min(first + 7u, last) * p.inputs;
    var w = workgroup.x * p.inputs * LANES + local.x;
    for (var i = 0u; i < p.inputs; i++) {
        let weights = widened(weight[w]);
        a += x[xa + i] * weights;
        if ROWS > 1u { b += x[xb + i] * weights; }
        if ROWS > 2u { c += x[xc + i] * weights; }
        if ROWS > 3u { d += x[xd + i] * weights; }
        if ROWS > 4u { e += x[xe + i] * weights; }
        if ROWS > 5u { f += x[xf + i] * weights; }
        if ROWS > 6u { g += x[xg + i] * weights; }
        if ROWS > 7u { h += x[xh + i] * weights; }
        w += LANES;
    }
    let output = column * 4u;
    store(first, output, a);
    if ROWS > 1u { store(first + 1u, output, b); }
    if ROWS > 2u { store(first + 2u, output, c); }
    if ROWS > 3u { store(first + 3u, output, d); }
    if ROWS > 4u { store(first + 4u, output, e); }
    if ROWS > 5u { store(first + 5u, output, f); }
    if ROWS > 6u { store(first + 6u, output, g); }
    if ROWS > 7u { store(first + 7u, output, h); }
}
