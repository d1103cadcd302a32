// context[r, c] = sigmoid(query[r, Q - C + c]) * sum_p alpha[r, p] grid[n, p, c], with n = r / rows_per_image
//
// grid: [N, P, C]; alpha: [R, P]; query: [R, Q], the last C columns are the gate; context: [R, C]
// One invocation per value, lanes along the channels. FLOPs 2 R P C, bytes 4 (N P C + R P + 2 R C).

//!import activation
//!import flat

struct Params {
    rows: u32, rows_per_image: u32, pixels: u32, width: u32, query_width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> grid: array<f32>;
@group(0) @binding(2) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(3) var<storage, read_write> query: array<f32>;
@group(0) @binding(4) var<storage, read_write> context: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i >= p.rows * p.width {
        return;
    }
    let row = i / p.width;
    let channel = i % p.width;
    var at = row / p.rows_per_image * p.pixels * p.width + channel;
    var sum = 0.0;
    for (var pixel = 0u; pixel < p.pixels; pixel++) {
        sum += alpha[row * p.pixels + pixel] * grid[at];
        at += p.width;
    }
    let gate = query[(row + 1u) * p.query_width - p.width + channel];
    context[i] = sigmoid(vec4(gate)).x * sum;
}
