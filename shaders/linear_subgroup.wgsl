// y[r, o] = clamp(sum_i x[r, i] w[i, o] + bias[o])
//
// linear.wgsl with the reads of quads.wgsl. A workgroup is one subgroup: 32 outputs, four in each lane, of ROWS rows. Each lane
// reads four values of one row, for two steps of at most four rows, and hands them to all others.
//
// x: [R, I], I % 4 == 0       weight: blocks of quads.wgsl, zeros beyond O       bias: [O]       y: [R, O]
// FLOPs 2 R I O, bytes 4 (R I + I O + R O).

//!import quads

override ROWS: u32 = 1u;

struct Params {
    rows: u32, inputs: u32, outputs: u32, low: f32, high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<u64>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Four values of a row: zeros past their end, where the last ones are read, and rows past the last one repeat it.
fn input(row: u32, k: u32, quads: u32) -> vec4<f32> {
    let values = x[min(row, p.rows - 1u) * quads + min(k, quads - 1u)];
    return select(vec4(0.0), unpaired(values), k < quads);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let columns = (p.outputs + 3u) / 4u;
    // Lanes past the last column repeat it.
    let column = min(workgroup.x * 8u + lane, columns - 1u);
    let first = workgroup.y * ROWS;
    let quads = p.inputs / 4u;
    let start = bias[column];
    var sums = array(
        start, start, start, start, start, start, start, start, start, start, start, start, start, start, start, start,
    );
    var w = workgroup.x * quads * STEP + column - workgroup.x * 8u;
    for (var k = 0u; k < quads; k += 2u) {
        // Where there is no second step, it multiplies the first one's weights by zeros.
        let weights = columns_at(w);
        let more = columns_at(w + select(0u, STEP, k + 1u < quads));
        let own = k + (lane & 1u);
        let a = input(first + lane / 2u, own, quads);
        // ROWS is a constant: what lies above it is compiled away.
        sums[0] += subgroupBroadcast(a, 0u) * weights;
        sums[0] += subgroupBroadcast(a, 1u) * more;
        if ROWS > 1u {
            sums[1] += subgroupBroadcast(a, 2u) * weights;
            sums[1] += subgroupBroadcast(a, 3u) * more;
        }
        if ROWS > 2u {
            sums[2] += subgroupBroadcast(a, 4u) * weights;
            sums[2] += subgroupBroadcast(a, 5u) * more;
        }
        if ROWS > 3u {
            sums[3] += subgroupBroadcast(a, 6u) * weights;
            sums[3] += subgroupBroadcast(a, 7u) * more;
        }
        if ROWS > 4u {
            let b = input(first + 4u + lane / 2u, own, quads);
            sums[4] += subgroupBroadcast(b, 0u) * weights;
            sums[4] += subgroupBroadcast(b, 1u) * more;
            if ROWS > 5u {
                sums[5] += subgroupBroadcast(b, 2u) * weights;
                sums[5] += subgroupBroadcast(b, 3u) * more;
            }
            if ROWS > 6u {
                sums[6] += subgroupBroadcast(b, 4u) * weights;
                sums[6] += subgroupBroadcast(b, 5u) * more;
            }
            if ROWS > 7u {
                sums[7] += subgroupBroadcast(b, 6u) * weights;
                sums[7] += subgroupBroadcast(b, 7u) * more;
            }
        }
        if ROWS > 8u {
            let c = input(first + 8u + lane / 2u, own, quads);
            sums[8] += subgroupBroadcast(c, 0u) * weights;
            sums[8] += subgroupBroadcast(c, 1u) * more;
            if ROWS > 9u {
                sums[9] += subgroupBroadcast(c, 2u) * weights;
                sums[9] += subgroupBroadcast(c, 3u) * more;
            }
            if ROWS > 10u {
                sums[10] += subgroupBroadcast(c, 4u) * weights;
                sums[10] += subgroupBroadcast(c, 5u) * more;
            }
            if ROWS > 11u {
                sums[11] += subgroupBroadcast(c, 6u) * weights;
                sums[11] += subgroupBroadcast(c, 7u) * more;
            }
        }
        if ROWS > 12u {
            let d = input(first + 12u + lane / 2u, own, quads);
            sums[12] += subgroupBroadcast(d, 0u) * weights;
            sums[12] += subgroupBroadcast(d, 1u) * more;
            if ROWS > 13u {
                sums[13] += subgroupBroadcast(d, 2u) * weights;
                sums[13] += subgroupBroadcast(d, 3u) * more;
            }
            if ROWS > 14u {
                sums[14] += subgroupBroadcast(d, 4u) * weights;
                sums[14] += subgroupBroadcast(d, 5u) * more;
            }
            if ROWS > 15u {
                sums[15] += subgroupBroadcast(d, 6u) * weights;
                sums[15] += subgroupBroadcast(d, 7u) * more;
            }
        }
        w += 2u * STEP;
    }

    // A loop whose length no compiler can guess: unrolled, it takes long to compile.
    for (var r = 0u; r < min(ROWS, p.rows - first); r++) {
        let sum = clamp(sums[min(r, 15u)], vec4(p.low), vec4(p.high));
        for (var o = 0u; o < min(4u, p.outputs - 4u * column); o++) {
            y[(first + r) * p.outputs + 4u * column + o] = sum[min(o, 3u)];
        }
    }
}
