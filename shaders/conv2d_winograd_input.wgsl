// v[n, t, c] = (Bᵀ d B)[n]: the input tile d of t, in channel c, at the n-th pair of points
//
// x: [N, H, W, C]       v: [SIDE², tiles, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. Tiles overlap by two pixels; what
// lies outside of the image is zero. Loops that read or write have bounds that no compiler can guess, not even from the lengths of
// arrays: unrolled, they take a software driver long to compile. FLOPs about 8 SIDE per row and column, bytes 4 (N H W C + SIDE² tiles C).

//!import flat
//!import winograd

@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;

// Bᵀ d.
fn transformed(d: array<vec4<f32>, SIDE>) -> array<vec4<f32>, SIDE> {
#ifdef F4
    let even_a = d[4] - 2.0 * d[2];
    let odd_a = A * (d[3] - 2.0 * d[1]);
    let even_b = d[4] - 0.5 * d[2];
    let odd_b = B * (d[3] - 0.5 * d[1]);
    return array(
        d[0] - 2.5 * d[2] + d[4], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
        d[1] - 2.5 * d[3] + d[5],
    );
#else
    return array(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]);
#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = flat_index(workgroup, workgroups, local);
    if index >= p.count {
        return;
    }
    let tile = index / p.columns;
    let column = index - tile * p.columns;
    let at = place(tile);
    let top = i32(at.y * TILE) - i32(p.pad_top);
    let left = i32(at.z * TILE) - i32(p.pad_left);

    var rows: array<vec4<f32>, SIDE * SIDE>;
    for (var i = 0u; i < p.side; i++) {
        let y = top + i32(i);
        var d: array<vec4<f32>, SIDE>;
        for (var j = 0u; j < p.side; j++) {
            let x_at = left + i32(j);
            var value = vec4(0.0);
            if y >= 0 && y < i32(p.height) && x_at >= 0 && x_at < i32(p.width) {
                value = x[((at.x * p.height + u32(y)) * p.width + u32(x_at)) * p.columns + column];
            }
            d[min(j, SIDE - 1u)] = value;
        }
        let row = transformed(d);
        for (var j = 0u; j < SIDE; j++) {
            rows[min(i, SIDE - 1u) * SIDE + j] = row[j];
        }
    }
    for (var j = 0u; j < p.side; j++) {
        var d: array<vec4<f32>, SIDE>;
        for (var i = 0u; i < SIDE; i++) {
            d[i] = rows[i * SIDE + min(j, SIDE - 1u)];
        }
        var result = transformed(d);
        for (var i = 0u; i < p.side; i++) {
            v[((i * SIDE + j) * p.tiles + tile) * p.columns + column] = result[min(i, SIDE - 1u)];
        }
    }
}
