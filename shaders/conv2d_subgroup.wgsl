// y[m, o] = clamp(sum_k x[m, k] w[k, o] + bias[o] + residual[m, o])
//
// The matrix product of conv2d_gemm.wgsl for subgroups of eight lanes, each lane of which reads one pixel for all
// others: a software driver spends more time on reading than on arithmetic.
//
// x: [N, H, W, I]       weight: [O / 4 / 8, KH, KW, I, 8, 4]       bias: [O]       residual, y: [N, OH, OW, O], O % 4 == 0
//
//                 4 output channels
//               +-------------------+
//   8 pixels    |  a vec4 for each  |    for each k, a lane reads one value of x and one vec4 of weights
//               +-------------------+
//
// A workgroup is one subgroup: eight such blocks along the channels, whose eight pixels are neighbours in a row. Where
// the window is one pixel, all pixels make one long row.
//
// FLOPs 2 M O KH KW I, bytes 4 (N H W I + KH KW I O + M O).

//!import conv2d

// Eight: as many as there are sums.
override LANES: u32 = 8u;

@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let block = workgroup.x;
    let tiles = (p.out_width + LANES - 1u) / LANES;
    let number = workgroup.z * workgroups.y + workgroup.y;
    let line = number / tiles;
    let first = (number - line * tiles) * LANES;
    let image = line / p.out_height;
    let row = line - image * p.out_height;
    if image >= p.images {
        return;
    }
    // Lanes past the last channel or pixel repeat the last one, so that all lanes stay alive to be read from.
    let columns = p.out_channels / 4u;
    let channel = min(block * LANES + lane, columns - 1u);
    let pixel = min(first + lane, p.out_width - 1u);

    let start = bias[channel];
    var a = start;
    var b = start;
    var c = start;
    var d = start;
    var e = start;
    var f = start;
    var g = start;
    var h = start;
    var w = block * LANES * (p.kernel_height * p.kernel_width * p.in_channels - 1u) + channel;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let tap = taps(image, row, vec4(pixel), ky, kx).x;
            // A tap in the padding reads some pixel of the image and counts for nothing.
            let from_ = u32(max(tap, 0)) * p.in_channels;
            for (var k = 0u; k < p.in_channels; k++) {
                let value = select(0.0, x[from_ + k], tap >= 0);
                let weights = weight[w];
                a += subgroupBroadcast(value, 0u) * weights;
                b += subgroupBroadcast(value, 1u) * weights;
                c += subgroupBroadcast(value, 2u) * weights;
                d += subgroupBroadcast(value, 3u) * weights;
                e += subgroupBroadcast(value, 4u) * weights;
                f += subgroupBroadcast(value, 5u) * weights;
                g += subgroupBroadcast(value, 6u) * weights;
                h += subgroupBroadcast(value, 7u) * weights;
                w += LANES;
            }
        }
    }

    // A loop, because drivers on a CPU take long to compile reads and writes by address.
    var sums = array(a, b, c, d, e, f, g, h);
    let base = (line * p.out_width + first) * columns + channel;
    for (var i = 0u; i < min(LANES, p.out_width - first); i++) {
        let at = base + i * columns;
        var sum = sums[i];
        if p.has_residual != 0u {
            sum += residual[at];
        }
        y[at] = limit(sum);
    }
}
