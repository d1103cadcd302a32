// alpha[r, p] = softmax_p(v . relu(keys[n, p] + query[r]) + b), with n = r / rows_per_image
//
// keys: [N, P, A]; query: [R, Q], the first A columns count; v: [A]; b: [1]; alpha: [R, P]
// A workgroup per row, lanes along the pixels. FLOPs 4 R P A, bytes 4 (N P A + R A + R P).

#import additive_attention
#import nan
#import row
#import softmax

@group(0) @binding(1) var<storage, read_write> keys: array<f32>;
@group(0) @binding(2) var<storage, read_write> query: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> b: array<f32>;
@group(0) @binding(5) var<storage, read_write> alpha: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(grid: Grid, place: Place) {
    let row = row_index(grid);
    if row >= p.rows {
        return;
    }
    let start = row * p.pixels;
    var largest = -3.0e38;
    for (var pixel = place.local; pixel < p.pixels; pixel += WIDTH) {
        let key = (row / p.rows_per_image * p.pixels + pixel) * p.width;
        var score = b[0];
        var largest_magnitude = 0u;
        for (var a = 0u; a < p.width; a++) {
            let energy = keys[key + a] + query[row * p.query_width + a];
            score += v[a] * max(energy, 0.0);
            largest_magnitude = max(largest_magnitude, magnitude(energy));
        }
        score = nan_or(largest_magnitude, score);
        alpha[start + pixel] = score;
        largest = max(largest, score);
    }
    largest = row_max(place, largest);
    // An invocation reads back only what it wrote itself.
    var sum = 0.0;
    for (var pixel = place.local; pixel < p.pixels; pixel += WIDTH) {
        let share = mass(largest, alpha[start + pixel]);
        alpha[start + pixel] = share;
        sum += share;
    }
    sum = row_sum(place, sum);
    for (var pixel = place.local; pixel < p.pixels; pixel += WIDTH) {
        alpha[start + pixel] /= sum;
    }
}
