// y[t, c] = clamp(Aᵀ m[., t, c] A + bias[c] + residual): a tile of outputs from its products
//
// m: [SIDE², tiles, C]       bias: [C]       residual, y: [N, OH, OW, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. What lies outside of the output is
// dropped. Loops as in conv2d_winograd_input.wgsl. FLOPs about 8 SIDE per row and column, bytes 4 (SIDE² tiles C + N OH OW C).

#import flat
#import fours
#import winograd

@group(0) @binding(1) var<storage, read_write> m: array<Four>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> residual: array<Four>;
@group(0) @binding(4) var<storage, read_write> y: array<Four>;

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

    var rows: array<array<vec4<f32>, TILE>, SIDE>;
    for (var i = 0u; i < p.side; i++) {
        var d: array<vec4<f32>, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            d[j] = unpacked(m[((i * SIDE + j) * p.tiles + tile) * p.columns + column]);
        }
        rows[min(i, SIDE - 1u)] = transformed(d);
    }
    for (var i = 0u; i < p.tile; i++) {
        let factors = ROWS[min(i, TILE - 1u)];
        let row = at.y * TILE + i;
        for (var j = 0u; j < TILE; j++) {
            var sum = bias[column] + factors[0] * rows[0][j];
            for (var k = 1u; k < SIDE; k++) {
                sum += factors[k] * rows[k][j];
            }
            let x = at.z * TILE + j;
            if row < p.height && x < p.width {
                let to = ((at.x * p.height + row) * p.width + x) * p.columns + column;
                if p.has_residual != 0u {
                    sum += unpacked(residual[to]);
                }
                y[to] = packed(clamp(sum, vec4(p.low), vec4(p.high)));
            }
        }
    }
}
