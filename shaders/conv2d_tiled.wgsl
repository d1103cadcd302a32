// y[m, o] = clamp(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// The implicit matrix product of conv2d_gemm.wgsl for GPUs: 64 invocations load tiles of both operands into workgroup memory and share
// them; each computes PIXELS x COLUMNS blocks of one pixel and four channels in registers.
//
// x: [matrices, N, H, W, I], I % 4 == 0      weight: [O / 4 / LANES, matrices, KH, KW, I, LANES, 4], zeros beyond O      bias: [O]
// residual, y: [matrices, N, OH, OW, O], O % 4 == 0
//
//                     8 COLUMNS x 4 output channels
//                   +-------------------------------+
//   8 PIXELS        |                               |    for 16 k at a time: a tile of pixels [4, 8 PIXELS, 4 k] and one of
//                   +-------------------------------+    weights [16 k, LANES, 4] in workgroup memory
//
// Small images have too few tiles for a GPU: then k is split, each of `splits` workgroups sums over a range of the input channels, and
// conv2d_reduce.wgsl adds their sums; y is then [splits, N, OH, OW, O], without bias, residual and activation.
//
// WIDE  64 pixels x 64 channels a workgroup, not 32 x 32: twice the arithmetic for each value read
// HALF  16-bit weights; scale: [O] multiplies the sums
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O), of each matrix.

#import conv2d
#import weights

#ifdef WIDE
const PIXELS = 8u;
const COLUMNS = 2u;
#else
const PIXELS = 4u;
const COLUMNS = 1u;
#endif
const SIDE = 8u;
const LANES = SIDE * COLUMNS;
// Pixels that an invocation loads, four of 16 channels of each.
const LOADS = PIXELS / 2u;

@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<Weights>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
#ifdef HALF
@group(0) @binding(6) var<storage, read> scale: array<vec4<f32>>;
#endif

var<workgroup> sh_pixels: array<vec4<f32>, 4u * SIDE * PIXELS>;
var<workgroup> sh_weights: array<vec4<f32>, 16u * LANES>;

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let pixels = p.images * p.out_height * p.out_width;
    let tiles = (pixels + SIDE * PIXELS - 1u) / (SIDE * PIXELS);
    let number = workgroup_number(workgroup, workgroups);
    let tile = number / p.blocks;
    let block = number - tile * p.blocks;
    let part = tile / tiles;
    let matrix = part / p.splits;
    let split = part - matrix * p.splits;
    if matrix >= p.matrices {
        return;
    }
    let first = (tile - part * tiles) * SIDE * PIXELS;

    // This invocation loads the same four of 16 channels of LOADS pixels; past the end, those of the last pixel.
    let own_quad = index % 4u;
    var places: array<vec3<u32>, LOADS>;
    for (var i = 0u; i < LOADS; i++) {
        places[i] = place(matrix, min(first + index / 4u + 16u * i, pixels - 1u));
    }
    let quads = p.in_channels / 4u;
    // A split is a multiple of 16 channels.
    let share = (quads + 4u * p.splits - 1u) / (4u * p.splits) * 4u;
    let start = split * share;
    let end = min(start + share, quads);

    var sums: array<vec4<f32>, PIXELS * COLUMNS>;
    var rows = (block * p.matrices + matrix) * p.kernel_height * p.kernel_width * p.in_channels;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            var from_: array<i32, LOADS>;
            for (var i = 0u; i < LOADS; i++) {
                from_[i] = taps(places[i].x, places[i].y, vec4(places[i].z), ky, kx).x;
            }
            for (var chunk = start; chunk < end; chunk += 4u) {
                // A tap in the padding, or a channel past the last, reads another value, and a zero takes its place.
                let quad = chunk + own_quad;
                for (var i = 0u; i < LOADS; i++) {
                    let value = x[u32(max(from_[i], 0)) * quads + min(quad, quads - 1u)];
                    let is_inside = from_[i] >= 0 && quad < end;
                    sh_pixels[own_quad * SIDE * PIXELS + index / 4u + 16u * i] = select(vec4(0.0), value, is_inside);
                }
                for (var i = 0u; i < 2u * COLUMNS; i++) {
                    let at = index + 64u * i;
                    let row = rows + min(4u * chunk + at / LANES, p.in_channels - 1u);
                    sh_weights[at] = widened(weight[row * LANES + at % LANES]);
                }
                workgroupBarrier();
                // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
                for (var k = 0u; k < p.tile; k++) {
                    var values: array<vec4<f32>, PIXELS>;
                    for (var i = 0u; i < PIXELS; i++) {
                        values[i] = sh_pixels[(k * PIXELS + i) * SIDE + local.y];
                    }
                    for (var j = 0u; j < COLUMNS; j++) {
                        let column = 4u * k * LANES + j * SIDE + local.x;
                        let a = sh_weights[column];
                        let b = sh_weights[column + LANES];
                        let c = sh_weights[column + 2u * LANES];
                        let d = sh_weights[column + 3u * LANES];
                        for (var i = 0u; i < PIXELS; i++) {
                            let value = values[i];
                            sums[i * COLUMNS + j] += value.x * a + value.y * b + value.z * c + value.w * d;
                        }
                    }
                }
                workgroupBarrier();
            }
            rows += p.in_channels;
        }
    }

    let columns = p.out_channels / 4u;
    for (var i = 0u; i < PIXELS; i++) {
        for (var j = 0u; j < COLUMNS; j++) {
            let pixel = first + i * SIDE + local.y;
            let column = block * LANES + j * SIDE + local.x;
            if pixel < pixels && column < columns {
                let at = (part * pixels + pixel) * columns + column;
                var sum = sums[i * COLUMNS + j];
                if p.matrices * p.splits == 1u {
#ifdef HALF
                    sum *= scale[column];
#endif
                    sum += bias[column];
                    if p.has_residual != 0u {
                        sum += residual[at];
                    }
                    sum = limit(sum);
                }
                y[at] = sum;
            }
        }
    }
}
