// c[m, n] = sum_k a[m, k] b[k, n], for each matrix of a batch
//
// a: [.., M, K]       b: [.., K, N]       c: [matrices, M, N]
// Either operand may lie transposed, and repeat its matrices: Params holds the steps along all axes.
//
//                 4 columns
//               +-----------+
//   4 rows      |           |    for each k, four values of `a` and four of `b` serve sixteen products
//               +-----------+
//
// An invocation computes such a block in registers, without barriers. Lanes run along the columns and share the values of `a`,
// which software drivers turn into one load and a broadcast.
// FLOPs 2 matrices M K N, bytes 4 matrices (M K + K N + M N).

#import matmul

override LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let blocks = (p.columns + 4u * LANES - 1u) / (4u * LANES);
    let bands = (p.rows + 3u) / 4u;
    let number = workgroup_number(workgroup, workgroups);
    let band = number / blocks;
    let matrix = band / bands;
    let row = (band - matrix * bands) * 4u;
    let column = ((number - band * blocks) * LANES + local.x) * 4u;
    if matrix >= p.matrices || column >= p.columns {
        return;
    }
    let start = starts(matrix);
    var a_at = start.x + rows_from(row);
    var b_at = start.y + columns_from(column);
#for P in x y z w
    var sum_$P = vec4(0.0);
#endfor
    for (var k = 0u; k < p.depth; k++) {
        let values = vec4(b[b_at.x], b[b_at.y], b[b_at.z], b[b_at.w]);
#for P in x y z w
        sum_$P += a[a_at.$P] * values;
#endfor
        a_at += p.a_depth;
        b_at += p.b_depth;
    }
    store(matrix, row, column, sum_x);
    store(matrix, row + 1u, column, sum_y);
    store(matrix, row + 2u, column, sum_z);
    store(matrix, row + 3u, column, sum_w);
}
