// y[t, c] = clamp(Aᵀ m[., t, c] A + bias[c] + residual): a tile of outputs from its products
//
// m: [SIDE², tiles, C]       bias: [C]       residual, y: [N, OH, OW, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. Pixels outside of the output are
// dropped. FLOPs about 8 SIDE per row and column, bytes 4 (SIDE² tiles C + N OH OW C). Variants: see shared/winograd.wgsl.

#import flat
#import vec4_u64
#import winograd

@group(0) @binding(1) var<storage, read_write> m: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> residual: array<Stored>;
@group(0) @binding(4) var<storage, read_write> y: array<Stored>;

#ifdef SOFTWARE
// Aᵀ.
#ifdef F4
const ROWS = array(
    array(1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    array(0.0, A, -A, B, -B, 0.0),
    array(0.0, 0.5, 0.5, 2.0, 2.0, 0.0),
    array(0.0, 0.5 * A, -0.5 * A, 2.0 * B, -2.0 * B, 1.0),
);
#else
const ROWS = array(
    array(1.0, 1.0, 1.0, 0.0),
    array(0.0, 1.0, -1.0, 1.0),
);
#endif
#endif

// Aᵀ m.
fn transformed(m: array<vec4<f32>, SIDE>) -> array<vec4<f32>, TILE> {
#ifdef F4
    let even_a = m[1] + m[2];
    let odd_a = m[1] - m[2];
    let even_b = m[3] + m[4];
    let odd_b = m[3] - m[4];
    return array(
        m[0] + even_a + even_b, A * odd_a + B * odd_b, 0.5 * even_a + 2.0 * even_b,
        0.5 * A * odd_a + 2.0 * B * odd_b + m[5],
    );
#else
    return array(m[0] + m[1] + m[2], m[1] - m[2] + m[3]);
#endif
}

// Row `i` of the products of a tile.
fn input_row(i: u32, tile: u32, column: u32) -> array<vec4<f32>, SIDE> {
    return array(
#for J in 0..SIDE
        unpacked(m[((i * SIDE + $Ju) * p.tiles + tile) * p.columns + column]),
#endfor
    );
}

// Adds the residual to output (i, j) of a tile and stores it.
fn store(at: vec3<u32>, i: u32, j: u32, column: u32, sum: vec4<f32>) {
    let row = at.y * TILE + i;
    let x = at.z * TILE + j;
    if row < p.height && x < p.width {
        let to = ((at.x * p.height + row) * p.width + x) * p.columns + column;
        var value = sum;
        if p.has_residual != 0u {
            value += unpacked(residual[to]);
        }
        y[to] = packed(limit(value));
    }
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
    var rows: array<array<vec4<f32>, TILE>, SIDE>;
    for (var i = 0u; i < p.side; i++) {
        rows[min(i, SIDE - 1u)] = transformed(input_row(i, tile, column));
    }
    for (var i = 0u; i < p.tile; i++) {
        let factors = ROWS[min(i, TILE - 1u)];
        for (var j = 0u; j < TILE; j++) {
            var sum = bias[column] + factors[0] * rows[0][j];
            for (var k = 1u; k < SIDE; k++) {
                sum += factors[k] * rows[k][j];
            }
            store(at, i, j, column, sum);
        }
    }
#else
#for I in 0..SIDE
    let row$I = transformed(input_row($Iu, tile, column));
#endfor
#for J in 0..TILE
    let result$J = transformed(array(
#for I in 0..SIDE
        row$I[$J],
#endfor
    ));
#for I in 0..TILE
    store(at, $Iu, $Ju, column, bias[column] + result$J[$I]);
#endfor
#endfor
#endif
}
