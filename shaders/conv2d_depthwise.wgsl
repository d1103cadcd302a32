// y[m, c] = clamp(sum_taps x[tap of m, c] w[tap, c] + bias[c] + residual[m, c]): one filter for each channel
//
// x: [N, H, W, C]       weight: [C / 4 / LANES, KH, KW, LANES, 4]       bias: [C]       residual, y: [N, OH, OW, C], C % 4 == 0
//
// An invocation computes 4 channels of 4 neighbouring pixels in a row, so that it uses each weight four times. Lanes run along the
// channels. FLOPs 2 M C KH KW, bytes 4 (N H W C + M C).

#import conv2d

override LANES: u32 = 8u;

@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = p.out_channels / 4u;
    let own = stretch_place(workgroup, workgroups, (p.out_width + 3u) / 4u, p.out_height);
    let block = own.x;
    let tile = own.y;
    let out_y = own.z;
    let image = own.w;
    let channel = block * LANES + local.x;
    if channel >= columns || image >= p.images {
        return;
    }
    // Pixels past the end repeat the last one, with the same result.
    let out_x = min(tile * 4u + vec4(0u, 1u, 2u, 3u), vec4(p.out_width - 1u));
    let start = bias[channel];
#for P in x y z w
    var sum_$P = start;
#endfor
    var w = block * p.kernel_height * p.kernel_width * LANES + local.x;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let tap = taps(image, out_y, out_x, ky, kx);
            // A tap in the padding reads another pixel, and a zero takes its place.
            let at = vec4<u32>(max(tap, vec4(0))) * columns + channel;
            let inside = tap >= vec4(0);
            let weights = weight[w];
#for P in x y z w
            sum_$P += select(vec4(0.0), x[at.$P], inside.$P) * weights;
#endfor
            w += LANES;
        }
    }
    let at = ((image * p.out_height + out_y) * p.out_width + out_x) * columns + channel;
    if p.has_residual != 0u {
#for P in x y z w
        sum_$P += residual[at.$P];
#endfor
    }
#for P in x y z w
    y[at.$P] = limit(sum_$P);
#endfor
}
