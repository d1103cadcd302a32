// y[t, c] = clamp(Aᵀ m[., t, c] A + bias[c] + residual): a tile of outputs from its products
//
// m: [SIDE², tiles, C]       bias: [C]       residual, y: [N, OH, OW, C], C % 4 == 0
//
// One invocation per tile and four channels, lanes along the channels: rows first, then columns. What lies outside of the output is
// dropped. Loops as in conv2d_winograd_input.wgsl. FLOPs about 8 SIDE per row and column, bytes 4 (SIDE² tiles C + N OH OW C).

//!import flat
//!import winograd

@group(0) @binding(1) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

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

    var rows: array<vec4<f32>, SIDE * TILE>;
    for (var i = 0u; i < p.side; i++) {
        var d: array<vec4<f32>, SIDE>;
        for (var j = 0u; j < p.side; j++) {
            d[min(j, SIDE - 1u)] = m[((i * SIDE + j) * p.tiles + tile) * p.columns + column];
        }
        let row = transformed(d);
        for (var j = 0u; j < TILE; j++) {
            rows[min(i, SIDE - 1u) * TILE + j] = row[j];
        }
    }
    for (var j = 0u; j < p.tile; j++) {
        var d: array<vec4<f32>, SIDE>;
        for (var i = 0u; i < SIDE; i++) {
            d[i] = rows[i * TILE + min(j, TILE - 1u)];
        }
        var result = transformed(d);
        for (var i = 0u; i < p.tile; i++) {
            let row = at.y * TILE + i;
            let x = at.z * TILE + j;
            if row < p.height && x < p.width {
                let to = ((at.x * p.height + row) * p.width + x) * p.columns + column;
                var sum = result[min(i, TILE - 1u)] + bias[column];
                if p.has_residual != 0u {
                    sum += residual[to];
                }
                y[to] = clamp(sum, vec4(p.low), vec4(p.high));
            }
        }
    }
}
