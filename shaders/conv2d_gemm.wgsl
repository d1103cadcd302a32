// y[m, o] = clamp(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// A dense convolution as an implicit matrix product: m runs over output pixels, k over the taps of the window and, within a tap,
// the input channels.
//
// x: [matrices, N, H, W, I]       weight: [O / 4 / LANES, matrices, KH, KW, I, LANES, 4]       bias: [O]
// residual, y: [matrices, N, OH, OW, O], O % 4 == 0
//
//                 4 output channels
//               +-------------------+
//   4 pixels    |  a vec4 for each  |    for each k, one vec4 of weights serves all four pixels
//               +-------------------+
//
// The four pixels are neighbours in a row. A workgroup is LANES such blocks along the channels times TILES rows (of
// a long row: stretches of it); with TILES = 1 all lanes share their pixels, which software drivers turn into one load and a broadcast.
//
// POINTWISE  1x1 window, stride 1, no padding: input and output pixels are the same, all in one long row. Each of the
//            `matrices` is then a product of its own, which is how the Winograd convolution uses this shader
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O), of each matrix.

#import conv2d

override LANES: u32 = 8u;
override TILES: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(LANES, TILES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = p.out_channels / 4u;
    // A compile-time constant, so that the driver can prove that all lanes read the same pixels.
    let local_tile = select(local.y, 0u, TILES == 1u);
    let tiles = (p.out_width + 3u) / 4u;
#ifdef POINTWISE
    let own = stretch_place(workgroup, workgroups, (tiles + TILES - 1u) / TILES, 1u);
    let tile = own.y * TILES + local_tile;
    let row = 0u;
#else
    let own = stretch_place(workgroup, workgroups, tiles, (p.out_height + TILES - 1u) / TILES);
    let tile = own.y;
    let row = own.z * TILES + local_tile;
#endif
    let block = own.x;
    let image = own.w;
    let channel = block * LANES + local.x;
    if channel >= columns || row >= p.out_height || tile * 4u >= p.out_width || image >= p.images * p.matrices {
        return;
    }
    // Pixels past the end repeat the last one, with the same result.
    let out_x = min(tile * 4u + vec4(0u, 1u, 2u, 3u), vec4(p.out_width - 1u));

    let start = first_sum(bias[channel]);
#for P in x y z w
    var sum_$P = start;
#endfor
#ifdef POINTWISE
    var w = (block * p.matrices + image) * p.in_channels * LANES + local.x;
    let from_ = (image * p.in_width + out_x) * p.in_channels;
    for (var k = 0u; k < p.in_channels; k++) {
        let weights = weight[w];
#for P in x y z w
        sum_$P += x[from_.$P + k] * weights;
#endfor
        w += LANES;
    }
#else
    var w = block * p.kernel_height * p.kernel_width * p.in_channels * LANES + local.x;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let tap = taps(image, row, out_x, ky, kx);
            // A tap in the padding reads another pixel, and a zero takes its place.
            let from_ = vec4<u32>(max(tap, vec4(0))) * p.in_channels;
            for (var k = 0u; k < p.in_channels; k++) {
                let weights = weight[w];
                let values = select(vec4(0.0), vec4(x[from_.x + k], x[from_.y + k], x[from_.z + k], x[from_.w + k]), tap >= vec4(0));
#for P in x y z w
                sum_$P += values.$P * weights;
#endfor
                w += LANES;
            }
        }
    }
#endif

    let base = (image * p.out_height + row) * p.out_width;
    let at = (base + out_x) * columns + channel;
    if p.has_residual != 0u {
#for P in x y z w
        sum_$P += residual[at.$P];
#endfor
    }
#for P in x y z w
    y[at.$P] = limit(sum_$P);
#endfor
}
