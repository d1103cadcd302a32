// r, z, n_x = W_ih x + b_ih;  r, z, n_h += W_hh h + b_hh;  n = tanh(n_x + sigmoid(r) n_h);  h' = (1 - sigmoid(z)) n + sigmoid(z) h
//
// gru_cell.wgsl for subgroups that are one vector of a CPU, where X and H are multiples of four. See linear_subgroup.wgsl.
//
// inputs: [R, X]      hidden (h), h_next: [R, H]      bias_ih, bias_hh: [3 H]
// weight_inputs, weight_hidden: see shared/mat4_u64.wgsl, with the columns r z n 0 or r z 0 n of a unit
// FLOPs 6 R H (X + H), bytes 16 H (X + H) + ...

#import gru_cell
#import mat4_u64

override ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> inputs: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> weight_inputs: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read> weight_hidden: array<vec4<u64>>;
@group(0) @binding(5) var<storage, read> bias_ih: array<f32>;
@group(0) @binding(6) var<storage, read> bias_hh: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_next: array<f32>;

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
    let start = sums_bias(unit);
    var sums = array(
#for R in 0..16
        start,
#endfor
    );
    let near = min(first_row + lane, p.rows - 1u);
    let far = min(near + 8u, p.rows - 1u);
    var w = 0u;
#for SOURCE in inputs hidden
    let quads_$SOURCE = p.$SOURCE / 4u;
    w = block * quads_$SOURCE * STEP + unit - block * 8u;
    for (var k = 0u; k < quads_$SOURCE; k++) {
#ifdef HALF
        let weights = weights_of(weight_$SOURCE[w]);
#else
        let weights = weights_of(weight_$SOURCE[w], weight_$SOURCE[w + 8u]);
#endif
        // ROWS is a constant: what lies above it is compiled away.
        let near_values = unpack4x32float($SOURCE[near * quads_$SOURCE + k]);
#for R in 0..8
        if ROWS > $Ru { sums[$R] += subgroupBroadcast(near_values, $Ru) * weights; }
#endfor
        if ROWS > 8u {
            let far_values = unpack4x32float($SOURCE[far * quads_$SOURCE + k]);
#for R in 0..8
            if ROWS > 8u + $Ru { sums[8u + $Ru] += subgroupBroadcast(far_values, $Ru) * weights; }
#endfor
        }
        w += STEP;
    }
#endfor

    // A loop whose length no compiler can guess: unrolled, it takes long to compile.
    for (var r = 0u; r < min(ROWS, p.rows - first_row); r++) {
        let at = (first_row + r) * p.hidden + unit;
        h_next[at] = next_state(sums[min(r, 15u)], unpack4x32float(hidden[at / 4u])[at % 4u]);
    }
}
