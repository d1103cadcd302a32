// y[r, o] = clamp(sum_i x[r, i] w[i, o] + bias[o])
//
// linear.wgsl with the reads of mat4_u64.wgsl. A workgroup is one subgroup and computes 32 outputs, four in each lane, of ROWS rows. The
// lanes read eight values of each of four rows, four values a lane, and broadcast them.
//
// x: [R, I], I % 4 == 0       weight: blocks of mat4_u64.wgsl, zeros beyond O       bias: [O]       y: [R, O]
// FLOPs 2 R I O, bytes 4 (R I + I O + R O).

#import linear
#import weight_mat4

override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<u64>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Values 4 k to 4 k + 3 of a row; zeros past its end. Rows past the last one repeat it.
fn input(row: u32, k: u32, quads: u32) -> vec4<f32> {
    let values = x[min(row, p.rows - 1u) * quads + min(k, quads - 1u)];
    return select(vec4(0.0), unpack4x32float(values), k < quads);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let columns = (p.outputs + 3u) / 4u;
    let blocks = (columns + 7u) / 8u;
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let first = min(place.y * ROWS, p.rows);
    // Lanes past the last column repeat it.
    let column = min(block * 8u + lane, columns - 1u);
    let quads = p.inputs / 4u;
    let start = bias[column];
    var sums = array(
#for R in 0..16
        start,
#endfor
    );
    var w = block * quads * STEP + column - block * 8u;
    for (var k = 0u; k < quads; k += 2u) {
        // Past the end, the second step multiplies the first one's weights by zeros.
        let weights = weights_at(w);
        let more = weights_at(w + select(0u, STEP, k + 1u < quads));
        let own = k + (lane & 1u);
        // ROWS is a constant: code for rows above it is compiled away.
#for B in 0..4
        if ROWS > 4u * $Bu {
            let values = input(first + 4u * $Bu + lane / 2u, own, quads);
#for R in 0..4
            if ROWS > 4u * $Bu + $Ru {
                sums[4u * $Bu + $Ru] += subgroupBroadcast(values, 2u * $Ru) * weights;
                sums[4u * $Bu + $Ru] += subgroupBroadcast(values, 2u * $Ru + 1u) * more;
            }
#endfor
        }
#endfor
        w += 2u * STEP;
    }

    // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
    for (var r = 0u; r < min(ROWS, p.rows - first); r++) {
        let sum = limit(sums[min(r, 15u)]);
        for (var o = 0u; o < min(4u, p.outputs - 4u * column); o++) {
            y[(first + r) * p.outputs + 4u * column + o] = sum[min(o, 3u)];
        }
    }
}
