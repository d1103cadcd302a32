// The best continuations (row, rank) of an image's live rows, one for each place of its beam that has not ended:
// total = scores[row] + values[row, rank], ties by the lower row, then the lower rank
//
// scores, scores_next, totals, tokens, parents: [N, K]; values, ids: [N K, K]
// One invocation per image. Comparisons N K^3.

#import flat

struct Params {
    images: u32, beams: u32, end: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> scores_next: array<f32>;
@group(0) @binding(5) var<storage, read_write> totals: array<f32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(7) var<storage, read_write> parents: array<u32>;

// As in engine/scores.rs.
const NOTHING = -3.0e38;
const ENDED = -2.0e38;
const LIVE = -1.0e38;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let image = flat_index(workgroup, workgroups, local);
    if image >= p.images {
        return;
    }
    let first = image * p.beams;
    var places = 0u;
    for (var slot = 0u; slot < p.beams; slot++) {
        if scores[first + slot] != ENDED {
            places++;
        }
    }
    var previous_total = 3.0e38;
    var previous = 0u;
    for (var slot = 0u; slot < p.beams; slot++) {
        // The best candidate that comes after the previous one.
        var total = NOTHING;
        var best = p.beams * p.beams;
        for (var candidate = 0u; slot < places && candidate < p.beams * p.beams; candidate++) {
            let score = scores[first + candidate / p.beams];
            let value = values[first * p.beams + candidate];
            if score > LIVE && value > LIVE {
                let sum = score + value;
                let is_after = sum < previous_total || (sum == previous_total && candidate > previous);
                if is_after && sum > total {
                    total = sum;
                    best = candidate;
                }
            }
        }
        let at = first + slot;
        totals[at] = total;
        if best == p.beams * p.beams {
            scores_next[at] = select(ENDED, NOTHING, slot < places);
            tokens[at] = p.end;
            parents[at] = at;
        } else {
            let token = ids[first * p.beams + best];
            scores_next[at] = select(total, ENDED, token == p.end);
            tokens[at] = token;
            parents[at] = first + best / p.beams;
        }
        previous_total = total;
        previous = best;
    }
}
