// y[r, j] = (x[r, j] - mean_r) / sqrt(variance_r + epsilon) weight[j] + bias[j]
//
// mean_r = sum_j x[r, j] / C,  variance_r = sum_j (x[r, j] - mean_r)^2 / C: in two passes, of which the second also adds up the
// distances d from the rounded mean. These correct it, and the variance of rows far from 0 (Chan, Golub and LeVeque, "Algorithms for
// Computing the Sample Variance", 1983): mean + sum d / C, and sum d^2 / C - (sum d / C)^2.
//
// x, y: [R, C]       weight, bias: [C]. A workgroup per row.
// FLOPs 10 R C, bytes 8 R C (x is read three times, mostly from the cache).

#import row

struct Params {
    rows: u32, columns: u32, epsilon: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(grid: Grid, place: Place) {
    let row = row_index(grid);
    if row >= p.rows {
        return;
    }
    let start = row * p.columns;
    var sum = 0.0;
    for (var j = place.local; j < p.columns; j += WIDTH) {
        sum += x[start + j];
    }
    let mean = row_sum(place, sum) / f32(p.columns);
    var distances = 0.0;
    var squares = 0.0;
    for (var j = place.local; j < p.columns; j += WIDTH) {
        let distance = x[start + j] - mean;
        distances += distance;
        squares += distance * distance;
    }
    let correction = row_sum(place, distances) / f32(p.columns);
    let variance = max(row_sum(place, squares) / f32(p.columns) - correction * correction, 0.0);
    let factor = 1.0 / sqrt(variance + p.epsilon);
    for (var j = place.local; j < p.columns; j += WIDTH) {
        y[start + j] = (x[start + j] - mean - correction) * factor * weight[j] + bias[j];
    }
}
