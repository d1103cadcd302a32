// y[m, o] = clamp(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// A dense convolution as a matrix product that is never laid out: m runs over output pixels, k over the taps of
// the window and, inside them, the input channels.
//
// x: [N, H, W, I]       weight: [KH, KW, I, O]       bias: [O]       residual, y: [N, OH, OW, O], O % 4 == 0
//
//                 4 output channels
//               +-------------------+
//   8 pixels    |  a vec4 for each  |    for each k, one vec4 of weights serves all eight pixels
//               +-------------------+
//
// A workgroup is LANES such blocks along the channels times TILES along the pixels. With TILES = 1 all lanes share
// their pixels, which software drivers turn into one load and a broadcast.
//
// POINTWISE  1x1 window without padding: the taps are found once, and all of them lie inside
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O).

//!import conv2d

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
    let channel = workgroup.x * LANES + local.x;
    // Told by a constant, so that a driver sees that all lanes share their pixels.
    let tile = select(local.y, 0u, TILES == 1u);
    let first = ((workgroup.z * workgroups.y + workgroup.y) * TILES + tile) * 8u;
    if channel >= columns || first >= p.pixels {
        return;
    }
    // Pixels past the end repeat the last one: they are computed and stored again, with the same result.
    let low_pixel = min(first + vec4(0u, 1u, 2u, 3u), vec4(p.pixels - 1u));
    let high_pixel = min(first + vec4(4u, 5u, 6u, 7u), vec4(p.pixels - 1u));
    let low_origins = origins(low_pixel);
    let high_origins = origins(high_pixel);

    let start = bias[channel];
    var a = start;
    var b = start;
    var c = start;
    var d = start;
    var e = start;
    var f = start;
    var g = start;
    var h = start;
    var w = channel;
#ifdef POINTWISE
    let low = vec4<u32>(taps(low_origins, 0u, 0u)) * p.in_channels;
    let high = vec4<u32>(taps(high_origins, 0u, 0u)) * p.in_channels;
    for (var k = 0u; k < p.in_channels; k++) {
        let weights = weight[w];
        a += x[low.x + k] * weights;
        b += x[low.y + k] * weights;
        c += x[low.z + k] * weights;
        d += x[low.w + k] * weights;
        e += x[high.x + k] * weights;
        f += x[high.y + k] * weights;
        g += x[high.z + k] * weights;
        h += x[high.w + k] * weights;
        w += columns;
    }
#else
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let low_tap = taps(low_origins, ky, kx);
            let high_tap = taps(high_origins, ky, kx);
            // A tap in the padding reads some pixel of the image and counts for nothing.
            let low = vec4<u32>(max(low_tap, vec4(0))) * p.in_channels;
            let high = vec4<u32>(max(high_tap, vec4(0))) * p.in_channels;
            for (var k = 0u; k < p.in_channels; k++) {
                let weights = weight[w];
                let l = select(vec4(0.0), vec4(x[low.x + k], x[low.y + k], x[low.z + k], x[low.w + k]), low_tap >= vec4(0));
                let u = select(vec4(0.0), vec4(x[high.x + k], x[high.y + k], x[high.z + k], x[high.w + k]), high_tap >= vec4(0));
                a += l.x * weights;
                b += l.y * weights;
                c += l.z * weights;
                d += l.w * weights;
                e += u.x * weights;
                f += u.y * weights;
                g += u.z * weights;
                h += u.w * weights;
                w += columns;
            }
        }
    }
#endif

    let low_at = low_pixel * columns + channel;
    let high_at = high_pixel * columns + channel;
    if p.has_residual != 0u {
        a += residual[low_at.x];
        b += residual[low_at.y];
        c += residual[low_at.z];
        d += residual[low_at.w];
        e += residual[high_at.x];
        f += residual[high_at.y];
        g += residual[high_at.z];
        h += residual[high_at.w];
    }
    y[low_at.x] = limit(a);
    y[low_at.y] = limit(b);
    y[low_at.z] = limit(c);
    y[low_at.w] = limit(d);
    y[high_at.x] = limit(e);
    y[high_at.y] = limit(f);
    y[high_at.z] = limit(g);
    y[high_at.w] = limit(h);
}
