// y[r, o] = clamp(sum_i x[r, i] w[i, o] + bias[o])
//
// linear.wgsl for GPUs, where an invocation for every 4 outputs would be too few: a workgroup computes 4 LANES outputs of ROWS rows, and
// its SLICES of LANES invocations take turns along the inputs. Workgroup memory holds their sums, added in the order of slices.
//
// x: [R, I]       weight: [O / 4 / LANES, I, LANES, 4], zeros beyond O       bias: [O]       y: [R, O]
// FLOPs 2 R I O, bytes 4 (R I + I O + R O).

#import linear
#import slices
#import weights

@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<Weights>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES, SLICES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let blocks = (p.outputs + 4u * LANES - 1u) / (4u * LANES);
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let first = place.y * ROWS;
    if first >= p.rows {
        return;
    }
    var sums: array<vec4<f32>, ROWS_AT_MOST>;
    for (var i = local.y; i < p.inputs; i += SLICES) {
        let weights = widened(weight[(block * p.inputs + i) * LANES + local.x]);
        for (var r = 0u; r < ROWS; r++) {
            // Rows past the end repeat the last one and are not stored.
            sums[r] += x[min(first + r, p.rows - 1u) * p.inputs + i] * weights;
        }
    }
    let column = block * LANES + local.x;
    for (var r = 0u; r < ROWS; r++) {
        let sum = sum_of_slices(local, sums[r]);
        if local.y == 0u && first + r < p.rows && 4u * column < p.outputs {
            let value = limit(sum + bias[column]);
            for (var o = 0u; o < min(4u, p.outputs - 4u * column); o++) {
                y[(first + r) * p.outputs + 4u * column + o] = value[o];
            }
        }
    }
}
