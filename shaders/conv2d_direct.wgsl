// y[m, o] = clamp(sum_{taps, i in the group of o} x[tap of m, i] w[tap, i, o] + bias[o] + residual[m, o])
//
// x: [N, H, W, I]       weight: [KH, KW, I / groups, pad4(O)]       bias: [O]       residual, y: [N, OH, OW, O]
//
// Any channels, groups and windows: one invocation per output value, lanes along the output channels.
// FLOPs 2 M O KH KW I / groups, bytes 4 (N H W I + KH KW I O / groups + M O).

//!import conv2d

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
    let channel = workgroup.x * LANES + local.x;
    let pixel = workgroup.z * workgroups.y + workgroup.y;
    if channel >= p.out_channels || pixel >= p.pixels {
        return;
    }
    let columns = (p.out_channels + 3u) / 4u * 4u;
    let group = channel / p.group_outputs;
    let o = origins(vec4(pixel));
    var sum = bias[channel];
    var w = channel;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let tap = taps(o, ky, kx).x;
            if tap >= 0 {
                let at = u32(tap) * p.in_channels + group * p.group_inputs;
                for (var i = 0u; i < p.group_inputs; i++) {
                    sum += x[at + i] * weight[w + i * columns];
                }
            }
            w += p.group_inputs * columns;
        }
    }
    let at = pixel * p.out_channels + channel;
    if p.has_residual != 0u {
        sum += residual[at];
    }
    y[at] = clamp(sum, p.low, p.high);
}
