// y[m, o] = clamp(sum_s parts[s, m, o] + bias[o] + residual[m, o])
//
// The second step of a matrix product whose k is split. parts: [SPLITS, M, O]      bias: [O]      residual, y: [M, O], O % 4 == 0
// The parts are added in their order, so that runs repeat bit for bit. One invocation for four channels.
//
// HALF  the sums are multiplied by scale: [O]

#import flat
#import nan

struct Params {
    count: u32, columns: u32, splits: u32, low: f32, high: f32, has_residual: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
#ifdef HALF
@group(0) @binding(5) var<storage, read> scale: array<vec4<f32>>;
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i >= p.count {
        return;
    }
    let column = i % p.columns;
    var sum = vec4(0.0);
    for (var split = 0u; split < p.splits; split++) {
        sum += parts[split * p.count + i];
    }
#ifdef HALF
    sum *= scale[column];
#endif
    sum += bias[column];
    if p.has_residual != 0u {
        sum += residual[i];
    }
    y[i] = clamp_keeping_nan(sum, p.low, p.high);
}
