// context[r, c] = sigmoid(query[r, Q - C + c]) * sum_p alpha[r, p] grid[n, p, c], with n = r / rows_per_image
//
// grid: [N, P, C]; alpha: [R, P]; query: [R, Q], the last C columns are the gate; context: [R, C]
//
// A workgroup is LANES channels of ROWS rows of one image, an invocation a channel: the grid is read once for all rows, and
// the weights are the same in all lanes. FLOPs 2 R P C, bytes 4 (N P C + R P + 2 R C).

#import activation

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

struct Params {
    rows: u32, rows_per_image: u32, pixels: u32, width: u32, query_width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> grid: array<f32>;
@group(0) @binding(2) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(3) var<storage, read_write> query: array<f32>;
@group(0) @binding(4) var<storage, read_write> context: array<f32>;

// What the weights of row `r` of the block begin at; rows past the last one repeat it.
fn weights_of(workgroup: vec3<u32>, r: u32) -> u32 {
    let row = min(workgroup.y * ROWS + r, p.rows_per_image - 1u);
    return (workgroup.z * p.rows_per_image + row) * p.pixels;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Lanes past the last channel repeat it.
    let channel = min(workgroup.x * LANES + local, p.width - 1u);
    // ROWS is a constant: what lies above it is compiled away.
#for R in 0..8
    let alpha$R = weights_of(workgroup, $Ru);
#endfor
    var sums = array(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    var at = workgroup.z * p.pixels * p.width + channel;
    for (var pixel = 0u; pixel < p.pixels; pixel++) {
        let seen = grid[at];
#for R in 0..8
        if ROWS > $Ru { sums[$R] += alpha[alpha$R + pixel] * seen; }
#endfor
        at += p.width;
    }

    // A loop whose length no compiler can guess: unrolled, it takes long to compile.
    for (var r = 0u; r < min(ROWS, p.rows_per_image - workgroup.y * ROWS); r++) {
        let row = workgroup.z * p.rows_per_image + workgroup.y * ROWS + r;
        let gate = query[(row + 1u) * p.query_width - p.width + channel];
        context[row * p.width + channel] = sigmoid(vec4(gate)).x * sums[min(r, 7u)];
    }
}
