// What matrix products share: their sizes, where the matrices of a batch begin, and how sums are stored.

#import flat

struct Params {
    matrices: u32, rows: u32, depth: u32, columns: u32,
    a_row: u32, a_depth: u32, b_depth: u32, b_column: u32, middle: u32, inner: u32,
    a_outer: u32, a_middle: u32, a_inner: u32, b_outer: u32, b_middle: u32, b_inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

// The first values of a matrix of `a` and of `b`; a step of 0 repeats matrices.
fn starts(matrix: u32) -> vec2<u32> {
    let row = matrix / p.inner;
    let inner = matrix - row * p.inner;
    let outer = row / p.middle;
    let middle = row - outer * p.middle;
    return vec2(
        outer * p.a_outer + middle * p.a_middle + inner * p.a_inner,
        outer * p.b_outer + middle * p.b_middle + inner * p.b_inner,
    );
}

// Where rows `row` to `row + 3` begin; past the end they repeat the last one and are not stored.
fn rows_from(row: u32) -> vec4<u32> {
    return min(row + vec4(0u, 1u, 2u, 3u), vec4(p.rows - 1u)) * p.a_row;
}

// The same for columns.
fn columns_from(column: u32) -> vec4<u32> {
    return min(column + vec4(0u, 1u, 2u, 3u), vec4(p.columns - 1u)) * p.b_column;
}

fn store(matrix: u32, row: u32, column: u32, sum: vec4<f32>) {
    if row >= p.rows {
        return;
    }
    let at = (matrix * p.rows + row) * p.columns + column;
    if column < p.columns { c[at] = sum.x; }
    if column + 1u < p.columns { c[at + 1u] = sum.y; }
    if column + 2u < p.columns { c[at + 2u] = sum.z; }
    if column + 3u < p.columns { c[at + 3u] = sum.w; }
}
