// v[n, t, c] = (Bᵀ d B)[n]: the input tile d of t, in channel c, at the n-th pair of points
//
// x: [N, H, W, C]       v: [SIDE², tiles, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. Tiles overlap by two pixels; pixels
// outside of the image are zero. FLOPs about 8 SIDE per row and column, bytes 4 (N H W C + SIDE² tiles C).
// Variants: see shared/winograd.wgsl.

#import flat
#import vec4_u64
#import winograd

@group(0) @binding(1) var<storage, read_write> x: array<Stored>;
@group(0) @binding(2) var<storage, read_write> v: array<Stored>;

#ifdef SOFTWARE
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

// Row `i` of the inputs of a tile; zeros outside of the image.
fn input_row(at: vec3<u32>, i: u32, column: u32) -> array<vec4<f32>, SIDE> {
    let y = i32(at.y * TILE + i) - i32(p.pad_top);
    let left = i32(at.z * TILE) - i32(p.pad_left);
    let line = (at.x * p.height + u32(clamp(y, 0, i32(p.height) - 1))) * p.width;
    let row_inside = (y >= 0) & (y < i32(p.height));
    return array(
#for J in 0..SIDE
        input(line, left + $J, column, row_inside),
#endfor
    );
}

// Pixel `at` of the row that begins at `line`; zero outside of the image, which all pixels are unless `row_inside`.
fn input(line: u32, at: i32, column: u32, row_inside: bool) -> vec4<f32> {
    // A pixel outside of the image reads another one, and a zero takes its place.
    let value = unpacked(x[(line + u32(clamp(at, 0, i32(p.width) - 1))) * p.columns + column]);
    return select(vec4(0.0), value, row_inside & (at >= 0) & (at < i32(p.width)));
}

fn store(i: u32, j: u32, tile: u32, column: u32, value: vec4<f32>) {
    v[((i * SIDE + j) * p.tiles + tile) * p.columns + column] = packed(value);
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
#ifdef SOFTWARE
    var rows: array<array<vec4<f32>, SIDE>, SIDE>;
    for (var i = 0u; i < p.side; i++) {
        rows[min(i, SIDE - 1u)] = transformed(input_row(at, i, column));
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
            store(i, j, tile, column, d[j]);
        }
    }
#else
#for I in 0..SIDE
    let row$I = transformed(input_row(at, $Iu, column));
#endfor
#for J in 0..SIDE
    let result$J = transformed(array(
#for I in 0..SIDE
        row$I[$J],
#endfor
    ));
#for I in 0..SIDE
    store($Iu, $Ju, tile, column, result$J[$I]);
#endfor
#endfor
#endif
}
