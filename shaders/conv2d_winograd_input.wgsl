// v[n, t, c] = (Bᵀ d B)[n]: the input tile d of t, in channel c, at the n-th pair of points
//
// x: [N, H, W, C]       v: [SIDE², tiles, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. Tiles overlap by two pixels; what
// lies outside of the image is zero. Loops that read or write have bounds that no compiler can guess, not even from the lengths of
// arrays: unrolled, they take a software driver long to compile. FLOPs about 8 SIDE per row and column, bytes 4 (N H W C + SIDE² tiles C).

#import flat
#import fours
#import winograd

@group(0) @binding(1) var<storage, read_write> x: array<Four>;
@group(0) @binding(2) var<storage, read_write> v: array<Four>;

// Bᵀ.
#ifdef F4
const ROWS = array(
    array(1.0, 0.0, -2.5, 0.0, 1.0, 0.0),
    array(0.0, -2.0 * A, -2.0, A, 1.0, 0.0),
    array(0.0, 2.0 * A, -2.0, -A, 1.0, 0.0),
    array(0.0, -0.5 * B, -0.5, B, 1.0, 0.0),
    array(0.0, 0.5 * B, -0.5, -B, 1.0, 0.0),
    array(0.0, 1.0, 0.0, -2.5, 0.0, 1.0),
);
#else
const ROWS = array(
    array(1.0, 0.0, -1.0, 0.0),
    array(0.0, 1.0, 1.0, 0.0),
    array(0.0, -1.0, 1.0, 0.0),
    array(0.0, -1.0, 0.0, 1.0),
);
#endif

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

    var rows: array<array<vec4<f32>, SIDE>, SIDE>;
    for (var i = 0u; i < p.side; i++) {
        let y = top + i32(i);
        let line = (at.x * p.height + u32(clamp(y, 0, i32(p.height) - 1))) * p.width;
        var d: array<vec4<f32>, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            let x_at = left + i32(j);
            // What lies outside reads some pixel of the image and counts for nothing.
            let value = unpacked(x[(line + u32(clamp(x_at, 0, i32(p.width) - 1))) * p.columns + column]);
            let is_inside = y >= 0 && y < i32(p.height) && x_at >= 0 && x_at < i32(p.width);
            d[j] = select(vec4(0.0), value, is_inside);
        }
        rows[min(i, SIDE - 1u)] = transformed(d);
    }
    for (var i = 0u; i < p.side; i++) {
        let factors = ROWS[min(i, SIDE - 1u)];
        var d: array<vec4<f32>, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            var sum = factors[0] * rows[0][j];
            for (var k = 1u; k < SIDE; k++) {
                sum += factors[k] * rows[k][j];
            }
            d[j] = sum;
        }
        for (var j = 0u; j < SIDE; j++) {
            v[((i * SIDE + j) * p.tiles + tile) * p.columns + column] = packed(d[j]);
        }
    }
}
