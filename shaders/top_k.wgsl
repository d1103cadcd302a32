// The K largest entries of each row, in descending order, ties by the lowest column; or the logarithms of the row's softmax there:
// x - max - log(sum(exp(x - max)))
//
// x: [R, V]; excluded: [R, V / 32], a set bit for a column that is not chosen; values, ids: [R, K]. A workgroup per row searches it K times, for the largest entry after the one before. Values
// are compared as integers of the same order, in which infinities have their places whatever a driver assumes of floats, and NaN equals
// -inf. Logarithms are float arithmetic, where infinities depend on the driver.
// Comparisons R V K, bytes 4 R V (read K times, mostly from the cache).

#import row
#import softmax

struct Params {
    rows: u32, columns: u32, k: u32,
    suppressed_0: u32, suppressed_1: u32, suppressed_2: u32, suppressed_3: u32, log_probs: u32,
    has_excluded: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> excluded: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;

const NONE = 0xffffffffu;
// As in engine/scores.rs.
const NOTHING = -3.0e38;
const INFINITY_BITS = 0x7f800000u;
const MINUS_INFINITY_BITS = 0xff800000u;

#ifndef SERIAL
#ifndef SUBGROUP
var<workgroup> sh_keys: array<u32, WIDTH>;
var<workgroup> sh_ids: array<u32, WIDTH>;
#endif
#endif

// An unsigned integer that grows with the float of these bits; 0 is below all of them.
fn key_of(value: u32) -> u32 {
    var bits = value;
    if (bits & 0x7fffffffu) > INFINITY_BITS {
        bits = MINUS_INFINITY_BITS;
    }
    if bits == 0x80000000u {
        bits = 0u;
    }
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

fn is_suppressed(row: u32, id: u32) -> bool {
    if p.has_excluded != 0u {
        let bits = excluded[row * ((p.columns + 31u) / 32u) + id / 32u];
        if ((bits >> (id % 32u)) & 1u) != 0u {
            return true;
        }
    }
    return id == p.suppressed_0 || id == p.suppressed_1 || id == p.suppressed_2 || id == p.suppressed_3;
}

@compute @workgroup_size(WIDTH)
fn main(grid: Grid, place: Place) {
    let row = row_index(grid);
    if row >= p.rows {
        return;
    }
    let start = row * p.columns;
    var largest = 0.0;
    var log_sum = 0.0;
    if p.log_probs != 0u {
        largest = x[start];
        for (var i = place.local; i < p.columns; i += WIDTH) {
            largest = max(largest, x[start + i]);
        }
        largest = row_max(place, largest);
        var sum = 0.0;
        for (var i = place.local; i < p.columns; i += WIDTH) {
            sum += mass(largest, x[start + i]);
        }
        log_sum = log_of_sum(row_sum(place, sum));
    }
    var previous_key = NONE;
    var previous_id = NONE;
    for (var rank = 0u; rank < p.k; rank++) {
        var key = 0u;
        var id = NONE;
        for (var i = place.local; i < p.columns; i += WIDTH) {
            let candidate = key_of(bitcast<u32>(x[start + i]));
            let is_after = candidate < previous_key || (candidate == previous_key && i > previous_id);
            // Columns ascend, so that the first of equal candidates stays.
            if is_after && candidate > key && !is_suppressed(row, i) {
                key = candidate;
                id = i;
            }
        }
#ifdef SERIAL
        previous_key = key;
        previous_id = id;
#else
#ifdef SUBGROUP
        previous_key = subgroupMax(key);
        previous_id = subgroupMin(select(NONE, id, key == previous_key));
#else
#ifdef SUBGROUPS
        let own = subgroupMax(key);
        let own_id = subgroupMin(select(NONE, id, key == own));
        if place.lane == 0u {
            sh_keys[place.subgroup] = own;
            sh_ids[place.subgroup] = own_id;
        }
        workgroupBarrier();
        previous_key = sh_keys[0];
        previous_id = sh_ids[0];
        for (var i = 1u; i < place.subgroups; i++) {
            if sh_keys[i] > previous_key || (sh_keys[i] == previous_key && sh_ids[i] < previous_id) {
                previous_key = sh_keys[i];
                previous_id = sh_ids[i];
            }
        }
#else
        sh_keys[place.local] = key;
        sh_ids[place.local] = id;
        workgroupBarrier();
        for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
            if place.local < half {
                let other_key = sh_keys[place.local + half];
                let other_id = sh_ids[place.local + half];
                if other_key > sh_keys[place.local] || (other_key == sh_keys[place.local] && other_id < sh_ids[place.local]) {
                    sh_keys[place.local] = other_key;
                    sh_ids[place.local] = other_id;
                }
            }
            workgroupBarrier();
        }
        previous_key = sh_keys[0];
        previous_id = sh_ids[0];
#endif
        workgroupBarrier();
#endif
#endif
        if place.local == 0u {
            let at = row * p.k + rank;
            if previous_id == NONE {
                values[at] = NOTHING;
                ids[at] = 0u;
            } else {
                let value = value_of(previous_key);
                values[at] = select(value, distance_to(largest, value) - log_sum, p.log_probs != 0u);
                ids[at] = previous_id;
            }
        }
    }
}
