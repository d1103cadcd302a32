// The tokens that hypotheses may not continue with, a bit for each:
// next[r] = excluded[parents[r]] - {end} + ({tokens[r]} if in once) + ({end} if tokens[r] is in unfinished)
//
// excluded, next: [R, W]; parents, tokens: [R]; once, unfinished: [W]. One invocation per word of 32 bits, bytes 8 R W.

#import flat

struct Params {
    count: u32, width: u32, rows: u32, end: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> excluded: array<u32>;
@group(0) @binding(2) var<storage, read_write> parents: array<u32>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(4) var<storage, read_write> once: array<u32>;
@group(0) @binding(5) var<storage, read_write> unfinished: array<u32>;
@group(0) @binding(6) var<storage, read_write> next: array<u32>;

// The bit of a token in this word; 0 if it is in another.
fn bit(word: u32, token: u32) -> u32 {
    return select(0u, 1u << (token % 32u), token / 32u == word);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i >= p.count {
        return;
    }
    let row = i / p.width;
    let word = i % p.width;
    let parent = parents[row];
    let token = tokens[row];
    var bits = 0u;
    if parent < p.rows {
        bits = excluded[parent * p.width + word] & ~bit(word, p.end);
    }
    // A token outside of the vocabulary is in no set.
    let home = token / 32u;
    if home < p.width {
        bits |= bit(word, token) & once[home];
        if ((unfinished[home] >> (token % 32u)) & 1u) != 0u {
            bits |= bit(word, p.end);
        }
    }
    next[i] = bits;
}
