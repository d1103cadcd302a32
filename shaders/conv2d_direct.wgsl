// y[m, o] = clamp(sum_{taps, i in the group of o} x[tap of m, i] w[tap, i, o] + bias[o] + residual[m, o])
//
// x: [N, H, W, I]       weight: [O / 4 / LANES, KH, KW, I / groups, LANES, 4], zeros beyond O       bias: [O]
// residual, y: [N, OH, OW, O]
//
// Any channels, groups and windows: one invocation per output value, lanes along the output channels.
// FLOPs 2 M O KH KW I / groups, bytes 4 (N H W I + KH KW I O / groups + M O).

#import conv2d

override LANES: u32 = 8u;

@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let own = stretch_place(workgroup, workgroups, p.out_width, p.out_height);
    let out_x = own.y;
    let out_y = own.z;
    let image = own.w;
    let channel = own.x * LANES + local.x;
    if channel >= p.out_channels || image >= p.images {
        return;
    }
    let rows = p.kernel_height * p.kernel_width * p.group_inputs;
    let group = channel / p.group_outputs;
    var sum = bias[channel];
    // Weights lie in blocks of 4 LANES channels, this workgroup's LANES channels in a quarter of one.
    let quarter = channel % (4u * LANES);
    var w = channel / (4u * LANES) * rows * 4u * LANES + quarter;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let tap = taps(image, out_y, vec4(out_x), ky, kx).x;
            if tap >= 0 {
                let at = u32(tap) * p.in_channels + group * p.group_inputs;
                for (var i = 0u; i < p.group_inputs; i++) {
                    sum += x[at + i] * weight[w + i * 4u * LANES];
                }
            }
            w += p.group_inputs * 4u * LANES;
        }
    }
    let at = ((image * p.out_height + out_y) * p.out_width + out_x) * p.out_channels + channel;
    if p.has_residual != 0u {
        sum += residual[at];
    }
    y[at] = limit(vec4(sum)).x;
}
