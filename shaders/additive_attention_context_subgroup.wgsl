// context[r, c] = sigmoid(query[r, Q - C + c]) * sum_p alpha[r, p] grid[n, p, c], with n = r / rows_per_image
//
// additive_attention_context.wgsl for software drivers whose subgroup is one vector of the CPU. A workgroup is one subgroup and computes
// 32 channels, four in each lane, of ROWS rows of an image. Each lane reads the weight of one row and broadcasts it.
//
// grid: [N, P, C], C % 4 == 0; alpha: [R, P]; query: [R, Q], the last C columns are the gate; context: [R, C]
// FLOPs 2 R P C, bytes 4 (N P C + R P + 2 R C).

#import activation
#import flat
#import additive_attention
#import u64_pair

override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> grid: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(3) var<storage, read_write> query: array<f32>;
@group(0) @binding(4) var<storage, read_write> context: array<vec2<u64>>;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let columns = p.width / 4u;
    let place = context_place(workgroup_number(workgroup, workgroups), 32u, ROWS);
    if place.z * p.rows_per_image >= p.rows {
        return;
    }
    // Lanes past the last column repeat it, and so do rows past the last one.
    let column = min(place.x * 8u + lane, columns - 1u);
    let first = place.z * p.rows_per_image + place.y;
    let rows = min(ROWS, p.rows_per_image - place.y);
    let own = (first + min(lane, rows - 1u)) * p.pixels;
    var sums: array<vec4<f32>, 8>;
    var at = place.z * p.pixels * columns + column;
    for (var pixel = 0u; pixel < p.pixels; pixel++) {
        let a = alpha[own + pixel];
        let seen = unpack4x32float(grid[at]);
        // ROWS is a constant: code for rows above it is compiled away.
#for R in 0..8
        if ROWS > $Ru { sums[$R] += subgroupBroadcast(a, $Ru) * seen; }
#endfor
        at += columns;
    }

    // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
    for (var r = 0u; r < rows; r++) {
        let gate = (first + r + 1u) * p.query_width - p.width + 4u * column;
        let open = sigmoid(vec4(query[gate], query[gate + 1u], query[gate + 2u], query[gate + 3u]));
        context[(first + r) * columns + column] = pack4x32float(open * sums[min(r, 7u)]);
    }
}
