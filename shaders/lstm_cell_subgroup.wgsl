// i, f, g, o = W [x; h] + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')
//
// lstm_cell.wgsl with the reads of mat4_u64.wgsl. A workgroup is one subgroup and computes eight units of ROWS rows: one unit in each
// lane, whose four columns are its gates. Each lane reads four values of one row, or of two, and broadcasts them.
//
// hidden (h), c, h_next, c_next: [R, H]       weight: blocks of mat4_u64.wgsl, gates i f g o of a unit side by side       bias: [4 H]
// x: one or two tensors [R, FIRST], [R, SECOND] whose columns together are the input. All sizes are multiples of four.
// FLOPs 8 R H (X + H), bytes 16 H (X + H) + ...

#import lstm_cell
#import weight_mat4

override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> hidden: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> first: array<vec2<u64>>;
@group(0) @binding(6) var<storage, read_write> second: array<vec2<u64>>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;
@group(0) @binding(8) var<storage, read_write> c_next: array<f32>;

// Values 4 k to 4 k + 3 of a row of [first; second; hidden], whose widths divided by four are `sizes`.
fn input(row: u32, k: u32, sizes: vec3<u32>) -> vec4<f32> {
    let state = sizes.x + sizes.y;
    if k < sizes.x {
        return unpack4x32float(first[row * sizes.x + k]);
    }
    if k < state {
        return unpack4x32float(second[row * sizes.y + k - sizes.x]);
    }
    return unpack4x32float(hidden[row * sizes.z + k - state]);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let blocks = (p.hidden + 7u) / 8u;
    let place = grid_row(workgroup, workgroups, blocks);
    let block = place.x;
    let first_row = min(place.y * ROWS, p.rows);
    // Lanes past the last unit repeat it, and so do rows past the last one.
    let unit = min(block * 8u + lane, p.hidden - 1u);
    let start = gate_bias(unit);
    var sums = array(
#for R in 0..16
        start,
#endfor
    );
    let near = min(first_row + lane, p.rows - 1u);
    let far = min(near + 8u, p.rows - 1u);
    let sizes = vec3(p.first, p.second, p.hidden) / 4u;
    let quads = sizes.x + sizes.y + sizes.z;
    var w = block * quads * STEP + unit - block * 8u;
    for (var k = 0u; k < quads; k++) {
        let weights = weights_at(w);
        // ROWS is a constant: code for rows above it is compiled away.
        let near_values = input(near, k, sizes);
#for R in 0..8
        if ROWS > $Ru { sums[$R] += subgroupBroadcast(near_values, $Ru) * weights; }
#endfor
        if ROWS > 8u {
            let far_values = input(far, k, sizes);
#for R in 0..8
            if ROWS > 8u + $Ru { sums[8u + $Ru] += subgroupBroadcast(far_values, $Ru) * weights; }
#endfor
        }
        w += STEP;
    }

    // The bound hides the length from the compiler: an unrolled loop takes a software driver long to compile.
    for (var r = 0u; r < min(ROWS, p.rows - first_row); r++) {
        store(first_row + r, unit, sums[min(r, 15u)]);
    }
}
