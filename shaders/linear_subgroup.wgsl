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

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let columns = (p.outputs + 3u) / 4u;
    // Lanes past the last column repeat it, and so do rows past the last one.
    let column = min(workgroup.x * 8u + lane, columns - 1u);
    let first = workgroup.y * ROWS;
    let quads = p.inputs / 4u;
    let near = min(first + lane / 2u, p.rows - 1u) * quads;
    let far = min(first + 4u + lane / 2u, p.rows - 1u) * quads;
    let start = bias[column];
    var sums = array(start, start, start, start, start, start, start, start);
    var w = workgroup.x * quads * STEP + column - workgroup.x * 8u;
    for (var k = 0u; k < quads; k += 2u) {
        // Where there is no second step, it multiplies the first one's weights by zeros.
        let own = k + (lane & 1u);
        let is_inside = own < quads;
        let at = min(own, quads - 1u);
        let weights = columns_at(w);
        let more = columns_at(w + select(0u, STEP, k + 1u < quads));
        let a = select(vec4(0.0), unpaired(x[near + at]), is_inside);
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
            let b = select(vec4(0.0), unpaired(x[far + at]), is_inside);
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
        w += 2u * STEP;
    }

    // A loop whose length no compiler can guess: unrolled, it takes long to compile.
    for (var r = 0u; r < min(ROWS, p.rows - first); r++) {
        let sum = clamp(sums[min(r, 7u)], vec4(p.low), vec4(p.high));
        for (var o = 0u; o < min(4u, p.outputs - 4u * column); o++) {
            y[(first + r) * p.outputs + 4u * column + o] = sum[min(o, 3u)];
        }
    }
}
