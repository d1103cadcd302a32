// context[r, c] = sigmoid(query[r, Q - C + c]) * sum_p alpha[r, p] grid[n, p, c], with n = r / rows_per_image
//
// grid: [N, P, C]; alpha: [R, P]; query: [R, Q], the last C columns are the gate; context: [R, C]
//
// A workgroup computes LANES channels of ROWS rows of one image, an invocation one channel: all rows share what it reads of the grid,
// and all lanes share the weights. FLOPs 2 R P C, bytes 4 (N P C + R P + 2 R C).
//
// SOFTWARE  for software drivers: the last loop stays a loop

#import activation
#import flat
#import additive_attention

override LANES: u32 = 8u;
override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> grid: array<f32>;
@group(0) @binding(2) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(3) var<storage, read_write> query: array<f32>;
@group(0) @binding(4) var<storage, read_write> context: array<f32>;

// Where the weights of row `r` of the block begin; rows past the last one repeat it.
fn weights_of(place: vec3<u32>, r: u32) -> u32 {
    let row = min(place.y + r, p.rows_per_image - 1u);
    return (place.z * p.rows_per_image + row) * p.pixels;
}

// The gated sum of row `r` of the block.
fn store(place: vec3<u32>, r: u32, channel: u32, sum: f32) {
    let row = place.z * p.rows_per_image + place.y + r;
    let gate = query[(row + 1u) * p.query_width - p.width + channel];
    context[row * p.width + channel] = sigmoid(vec4(gate)).x * sum;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let place = context_place(workgroup_number(workgroup, workgroups), LANES, ROWS);
    if place.z * p.rows_per_image >= p.rows {
        return;
    }
    // Lanes past the last channel repeat it.
    let channel = min(place.x * LANES + local, p.width - 1u);
    // ROWS is a constant: code for rows above it is compiled away.
#for R in 0..8
    let alpha$R = weights_of(place, $Ru);
#endfor
    var sums = array(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    var at = place.z * p.pixels * p.width + channel;
    for (var pixel = 0u; pixel < p.pixels; pixel++) {
        let seen = grid[at];
#for R in 0..8
        if ROWS > $Ru { sums[$R] += alpha[alpha$R + pixel] * seen; }
#endfor
        at += p.width;
    }

    let rows = min(ROWS, p.rows_per_image - place.y);
#ifdef SOFTWARE
    // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
    for (var r = 0u; r < rows; r++) { store(place, r, channel, sums[min(r, 7u)]); }
#else
    // A GPU keeps the sums in registers only if every index is a constant.
#for R in 0..8
    if $Ru < rows { store(place, $Ru, channel, sums[$R]); }
#endfor
#endif
}
