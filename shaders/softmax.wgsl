// y[r, j] = exp(d_j) / s or d_j - log(s), with d_j = x[r, j] - max_j x[r, j] and s = sum_j exp(d_j)
//
// x, y: [R, V]. A workgroup per row.
// FLOPs 4 R V, bytes 8 R V (x is read three times, mostly from the cache).

#import row
#import softmax

struct Params {
    rows: u32, columns: u32, log: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(grid: Grid, place: Place) {
    let row = row_index(grid);
    if row >= p.rows {
        return;
    }
    let start = row * p.columns;
    let end = start + p.columns;
    var largest = x[start];
    for (var i = start + place.local; i < end; i += WIDTH) {
        largest = max(largest, x[i]);
    }
    largest = row_max(place, largest);
    var sum = 0.0;
    for (var i = start + place.local; i < end; i += WIDTH) {
        sum += mass(largest, x[i]);
    }
    sum = row_sum(place, sum);
    let log_sum = log_of_sum(sum);
    for (var i = start + place.local; i < end; i += WIDTH) {
        y[i] = select(mass(largest, x[i]) / sum, distance_to(largest, x[i]) - log_sum, p.log != 0u);
    }
}
