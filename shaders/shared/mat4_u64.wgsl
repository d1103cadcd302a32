// Matrices of 4x4 weights, for software drivers whose subgroup is a vector of eight lanes. There a read takes as long as ten
// multiplications, whatever its width, so weights are read 64 bits at a time.
//
// Weights are arrays of `vec4<u64>`: blocks of 32 columns, four in each lane, `[rows / 4, 2, 8, 2, 4]`.
//
// HALF  16-bit floats: `[rows / 4, 8, 4, 4]`

#import u64_pair

// From four rows of weights to the next four.
#ifdef HALF
const STEP = 8u;
#else
const STEP = 16u;
#endif

fn unpack4x16float(halves: u64) -> vec4<f32> {
    return vec4(unpack2x16float(u32(halves)), unpack2x16float(u32(halves >> 32u)));
}

// Four rows of a lane's four columns: what lies at an index and, of 32-bit floats, eight further on.
#ifdef HALF
fn weights_of(rows: vec4<u64>) -> mat4x4<f32> {
    return mat4x4(unpack4x16float(rows.x), unpack4x16float(rows.y), unpack4x16float(rows.z), unpack4x16float(rows.w));
}
#else
fn weights_of(left: vec4<u64>, right: vec4<u64>) -> mat4x4<f32> {
    return mat4x4(unpack4x32float(left.xy), unpack4x32float(left.zw), unpack4x32float(right.xy), unpack4x32float(right.zw));
}
#endif
