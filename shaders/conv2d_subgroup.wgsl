// y[m, o] = clamp(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// The matrix product of conv2d_gemm.wgsl with the reads of mat4_u64.wgsl: each lane reads two pixels and broadcasts them.
//
// x: [matrices, N, H, W, I], I % 4 == 0      bias: [O]
// weight: [O / 32, matrices], each [KH, KW, I] in blocks of mat4_u64.wgsl, zeros beyond O
// residual, y: [matrices, N, OH, OW, O], O % 4 == 0
//
//                 32 output channels, four in each lane
//               +-------------------------------+
//   16 pixels   |                               |    for four k at a time, a lane reads two pixels and its four channels
//               +-------------------------------+
//
// A workgroup is one subgroup and computes one such block. Each of the `matrices` is a product of its own, which is how the
// Winograd convolution uses this shader; they are 1 otherwise.
//
// WIDE    64 output channels, so that twice as many share each pixel; for CPUs with 32 vector registers
// HALF    16-bit weights, exact because the scale of a folded batch norm is kept apart: scale: [O] multiplies the sums
// PADDED  taps may lie outside of the image; the checks take a tenth of the time
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O), of each matrix.

#import conv2d
#import weight_mat4

// Sixteen pixels by four channels in each lane.
const PIXELS = 16u;
// Blocks of 32 channels that a workgroup computes.
#ifdef WIDE
const BLOCKS = 2u;
#else
const BLOCKS = 1u;
#endif

@group(0) @binding(1) var<storage, read_write> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<u64>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec2<u64>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec2<u64>>;
#ifdef HALF
@group(0) @binding(6) var<storage, read> scale: array<vec4<f32>>;
#endif

// Adds bias and residual to a sum and stores it.
fn store(row: u32, column: u32, sum: vec4<f32>) {
    var value = sum;
#ifdef HALF
    value = value * scale[column] + bias[column];
#endif
    if p.has_residual != 0u {
        value += unpack4x32float(residual[row + column]);
    }
    y[row + column] = pack4x32float(limit(value));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let pixels = p.images * p.out_height * p.out_width;
    let tiles = (pixels + PIXELS - 1u) / PIXELS;
    // Tiles vary fastest, so that the weights of a block stay in the cache.
    let number = workgroup_number(workgroup, workgroups);
    let block = number / tiles;
    let first = (number - block * tiles) * PIXELS;
    let matrix = block / p.blocks;
    let eight = (block - matrix * p.blocks) * BLOCKS * 8u;
    if matrix >= p.matrices {
        return;
    }
    // Lanes past the last channel or pixel repeat the last one, with the same result.
    let columns = p.out_channels / 4u;
    let column = min(eight + lane, columns - 1u);
    let near = place(matrix, min(first + lane, pixels - 1u));
    let far = place(matrix, min(first + lane + 8u, pixels - 1u));

#ifdef HALF
    let start = vec4(0.0);
#else
    let start = first_sum(bias[column]);
#endif
    var sums = array(
#for I in 0..PIXELS
        start,
#endfor
    );
    let quads = p.in_channels / 4u;
    let steps = p.kernel_height * p.kernel_width * quads;
#ifdef WIDE
    // The same in the next block of 32 channels: it exists, as WIDE needs a multiple of 64.
#ifdef HALF
    let beside = vec4(0.0);
#else
    let beside = first_sum(bias[column + 8u]);
#endif
    var others = array(
#for I in 0..PIXELS
        beside,
#endfor
    );
    let next_block = p.matrices * steps * STEP;
#endif
    var w = (eight / 8u * p.matrices + matrix) * steps * STEP + column - eight;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            // A tap in the padding reads another pixel, and a zero takes its place.
            let near_tap = taps(near.x, near.y, vec4(near.z), ky, kx).x;
            let far_tap = taps(far.x, far.y, vec4(far.z), ky, kx).x;
            let near_start = u32(max(near_tap, 0)) * quads;
            let far_start = u32(max(far_tap, 0)) * quads;
            for (var k = 0u; k < quads; k++) {
                var a = unpack4x32float(x[near_start + k]);
                var b = unpack4x32float(x[far_start + k]);
#ifdef PADDED
                a = select(vec4(0.0), a, near_tap >= 0);
                b = select(vec4(0.0), b, far_tap >= 0);
#endif
                let weights = weights_at(w);
#for I in 0..8
                sums[$I] += subgroupBroadcast(a, $Iu) * weights;
#endfor
#for I in 0..8
                sums[8u + $Iu] += subgroupBroadcast(b, $Iu) * weights;
#endfor
#ifdef WIDE
                let more = weights_at(w + next_block);
#for I in 0..8
                others[$I] += subgroupBroadcast(a, $Iu) * more;
#endfor
#for I in 0..8
                others[8u + $Iu] += subgroupBroadcast(b, $Iu) * more;
#endfor
#endif
                w += STEP;
            }
        }
    }

    // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
    // `min` hides it too: an index within an array bounds the loop.
    for (var i = 0u; i < p.tile; i++) {
        let row = (matrix * pixels + min(first + i, pixels - 1u)) * columns;
        store(row, column, sums[min(i, PIXELS - 1u)]);
#ifdef WIDE
        store(row, column + 8u, others[min(i, PIXELS - 1u)]);
#endif
    }
}
