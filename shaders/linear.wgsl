// y[r, o] = clamp(sum_i x[r, i] w[i, o] + bias[o])
//
// x: [R, I]       weight: [O / 4 / LANES, I, LANES, 4], zeros beyond O       bias: [O]       y: [R, O]
//
// For few rows, where reads of weights take most of the time: an invocation computes 4 outputs of ROWS rows, so that all of them share
// each weight it reads. Lanes run along the outputs and share x.
// FLOPs 2 R I O, bytes 4 (R I + I O + R O).

#import linear
#import weights

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<Weights>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn store(row: u32, output: u32, sum: vec4<f32>) {
    if row >= p.rows {
        return;
    }
    let value = limit(sum);
    let at = row * p.outputs + output;
    y[at] = value.x;
    if output + 1u < p.outputs { y[at + 1u] = value.y; }
    if output + 2u < p.outputs { y[at + 2u] = value.z; }
    if output + 3u < p.outputs { y[at + 3u] = value.w; }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = (p.outputs + 3u) / 4u;
    let blocks = (columns + LANES - 1u) / LANES;
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let column = block * LANES + local.x;
    let first = place.y * ROWS;
    if column >= columns || first >= p.rows {
        return;
    }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let start = bias[column];
    // ROWS is a constant: code for rows above it is compiled away.
#for R in 0..8
    var sum$R = start;
    let x$R = min(first + $Ru, last) * p.inputs;
#endfor
    var w = block * p.inputs * LANES + local.x;
    for (var i = 0u; i < p.inputs; i++) {
        let weights = widened(weight[w]);
#for R in 0..8
        if ROWS > $Ru { sum$R += x[x$R + i] * weights; }
#endfor
        w += LANES;
    }
    let output = column * 4u;
#for R in 0..8
    if ROWS > $Ru { store(first + $Ru, output, sum$R); }
#endfor
}
