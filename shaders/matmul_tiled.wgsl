// c[m, n] = sum_k a[m, k] b[k, n], for each matrix of a batch
//
// matmul.wgsl for GPUs: 16x16 invocations bring tiles of both operands into workgroup memory and share them, each computing a block of
// four rows and four columns in registers.
//
// a: [.., M, K]       b: [.., K, N]       c: [matrices, M, N]
// Either operand may lie transposed, and repeat its matrices: Params holds the steps along all axes.
//
//                   64 columns
//                 +------------+
//   64 rows       |            |    for 16 k at a time: a tile of `a` [16 k, 16, 4 rows] and one of `b` [16 k, 16, 4 columns]
//                 +------------+
//
// FLOPs 2 matrices M K N, bytes 4 matrices (M K N / 64 + K N M / 64 + M N).

#import matmul

const SIDE = 16u;
const DEPTH = 16u;
// One more than is used, so that invocations that bring neighbouring k write to different banks.
const PITCH = SIDE + 1u;

var<workgroup> sh_a: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> sh_b: array<vec4<f32>, DEPTH * PITCH>;

// What invocation `index` brings of an operand: number k of the tile's, and which four rows or columns. Neighbours bring values that
// are neighbours in memory.
fn place(index: u32, along_k: bool) -> vec2<u32> {
    let place = vec2(index % SIDE, index / SIDE);
    return select(place.yx, place, along_k);
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let across = (p.columns + 4u * SIDE - 1u) / (4u * SIDE);
    let down = (p.rows + 4u * SIDE - 1u) / (4u * SIDE);
    let number = workgroup_number(workgroup, workgroups);
    let band = number / across;
    let matrix = band / down;
    if matrix >= p.matrices {
        return;
    }
    let first_row = (band - matrix * down) * 4u * SIDE;
    let first_column = (number - band * across) * 4u * SIDE;

    let start = starts(matrix);
    let a_place = place(index, p.a_depth == 1u);
    let b_place = place(index, p.b_depth == 1u);
    let rows = start.x + rows_from(first_row + 4u * a_place.y);
    let columns = start.y + columns_from(first_column + 4u * b_place.y);
#for P in x y z w
    var sum_$P = vec4(0.0);
#endfor
    for (var first_k = 0u; first_k < p.depth; first_k += DEPTH) {
        // Past the last k, both operands bring zeros in place of what they read.
        let a_k = first_k + a_place.x;
        let a_at = rows + min(a_k, p.depth - 1u) * p.a_depth;
        let a_values = vec4(a[a_at.x], a[a_at.y], a[a_at.z], a[a_at.w]);
        sh_a[a_place.x * PITCH + a_place.y] = select(vec4(0.0), a_values, a_k < p.depth);
        let b_k = first_k + b_place.x;
        let b_at = columns + min(b_k, p.depth - 1u) * p.b_depth;
        let b_values = vec4(b[b_at.x], b[b_at.y], b[b_at.z], b[b_at.w]);
        sh_b[b_place.x * PITCH + b_place.y] = select(vec4(0.0), b_values, b_k < p.depth);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let values = sh_b[k * PITCH + local.x];
            let factors = sh_a[k * PITCH + local.y];
#for P in x y z w
            sum_$P += factors.$P * values;
#endfor
        }
        workgroupBarrier();
    }
    let row = first_row + 4u * local.y;
    let column = first_column + 4u * local.x;
    store(matrix, row, column, sum_x);
    store(matrix, row + 1u, column, sum_y);
    store(matrix, row + 2u, column, sum_z);
    store(matrix, row + 3u, column, sum_w);
}
