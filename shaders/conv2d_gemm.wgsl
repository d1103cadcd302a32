// y[m, o] = activation(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// A dense convolution as a matrix product that is never laid out: m runs over output pixels, k over the taps of
// the window and, inside them, the input channels.
//
// x: [N, H, W, I]       weight: [KH, KW, I, O]       bias: [O]       residual, y: [N, OH, OW, O], O % 4 == 0
//
//                 4 output channels
//               +-------------------+
//   8 pixels    |  two mat4x4: one  |    a column of `low` is a pixel 0..3, of `high` a pixel 4..7;
//               |  per 4 pixels     |    weights of 4 k x 4 o make a mat4x4 that multiplies both
//               +-------------------+
//
// A workgroup is LANES such blocks along the channels times TILES along the pixels. With TILES = 1 all lanes share
// their pixels, which software drivers turn into one load and a broadcast.
//
// POINTWISE  1x1 window without padding: the taps are found once
// WINDOW     any window; SCALAR: I % 4 != 0, one input channel at a time
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O).

//!import activation
//!import conv2d

override LANES: u32 = 8u;
override TILES: u32 = 1u;

#ifdef SCALAR
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
#else
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
#endif
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

#ifdef SCALAR
// One input channel of four pixels; zero in the padding.
fn fetch(tap: vec4<i32>, k: u32) -> vec4<f32> {
    let at = vec4<u32>(max(tap, vec4(0))) * p.in_channels + k;
    return select(vec4(0.0), vec4(x[at.x], x[at.y], x[at.z], x[at.w]), tap >= vec4(0));
}
#else
// Four input channels of each of four pixels; zero in the padding.
fn fetch(tap: vec4<i32>, k: u32) -> mat4x4<f32> {
#ifdef POINTWISE
    let at = vec4<u32>(tap) + k;
    return mat4x4(x[at.x], x[at.y], x[at.z], x[at.w]);
#else
    let at = vec4<u32>(max(tap, vec4(0))) + k;
    let inside = tap >= vec4(0);
    let zero = vec4(0.0);
    return mat4x4(
        select(zero, x[at.x], inside.x),
        select(zero, x[at.y], inside.y),
        select(zero, x[at.z], inside.z),
        select(zero, x[at.w], inside.w),
    );
#endif
}
#endif

fn store(pixel: u32, channel: u32, sum: vec4<f32>) {
    if pixel < p.pixels {
        let at = pixel * (p.out_channels / 4u) + channel;
        var value = sum;
        if p.has_residual != 0u {
            value += residual[at];
        }
        y[at] = activate(p.activation, value);
    }
}

@compute @workgroup_size(LANES, TILES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = p.out_channels / 4u;
    let channel = workgroup.x * LANES + local.x;
    let first = ((workgroup.z * workgroups.y + workgroup.y) * TILES + local.y) * 8u;
    if channel >= columns || first >= p.pixels {
        return;
    }
    // Pixels past the end repeat the last one and are not stored.
    let last = vec4(p.pixels - 1u);
    let low_origins = origins(min(first + vec4(0u, 1u, 2u, 3u), last));
    let high_origins = origins(min(first + vec4(4u, 5u, 6u, 7u), last));

    let start = bias[channel];
    var low = mat4x4(start, start, start, start);
    var high = low;
    var w = channel;
#ifdef POINTWISE
    let depth = p.in_channels / 4u;
    let low_tap = taps(low_origins, 0u, 0u) * i32(depth);
    let high_tap = taps(high_origins, 0u, 0u) * i32(depth);
    for (var k = 0u; k < depth; k++) {
        let weights = mat4x4(weight[w], weight[w + columns], weight[w + 2u * columns], weight[w + 3u * columns]);
        low += weights * fetch(low_tap, k);
        high += weights * fetch(high_tap, k);
        w += 4u * columns;
    }
#else
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
#ifdef SCALAR
            let low_tap = taps(low_origins, ky, kx);
            let high_tap = taps(high_origins, ky, kx);
            for (var k = 0u; k < p.in_channels; k++) {
                let weights = weight[w];
                let l = fetch(low_tap, k);
                let h = fetch(high_tap, k);
                low += mat4x4(weights * l.x, weights * l.y, weights * l.z, weights * l.w);
                high += mat4x4(weights * h.x, weights * h.y, weights * h.z, weights * h.w);
                w += columns;
            }
#else
            let depth = p.in_channels / 4u;
            let low_tap = taps(low_origins, ky, kx) * i32(depth);
            let high_tap = taps(high_origins, ky, kx) * i32(depth);
            for (var k = 0u; k < depth; k++) {
                let weights = mat4x4(weight[w], weight[w + columns], weight[w + 2u * columns], weight[w + 3u * columns]);
                low += weights * fetch(low_tap, k);
                high += weights * fetch(high_tap, k);
                w += 4u * columns;
            }
#endif
        }
    }
#endif

    store(first, channel, low[0]);
    store(first + 1u, channel, low[1]);
    store(first + 2u, channel, low[2]);
    store(first + 3u, channel, low[3]);
    store(first + 4u, channel, high[0]);
    store(first + 5u, channel, high[1]);
    store(first + 6u, channel, high[2]);
    store(first + 7u, channel, high[3]);
}
