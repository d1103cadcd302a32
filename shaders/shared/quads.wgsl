// Four rows of four columns at a time, for drivers that run on a CPU and whose subgroups are vectors of eight lanes. There
// every read by address costs as much as ten multiplications, whatever its width, so 64 bits are read at a time.
//
// The shader declares `weight: array<vec4<u64>>`: blocks of 32 columns, four in each lane, `[rows / 4, 2, 8, 2, 4]`.
//
// HALF  of 16-bit floats: `[rows / 4, 8, 4, 4]`

#import pairs

#ifdef HALF
const STEP = 8u;
#else
const STEP = 16u;
#endif

fn half_quad(halves: u64) -> vec4<f32> {
    return vec4(unpack2x16float(u32(halves)), unpack2x16float(u32(halves >> 32u)));
}

// Four rows of a lane's four columns; the next four are STEP further on.
fn columns_at(at: u32) -> mat4x4<f32> {
#ifdef HALF
    let halves = weight[at];
    return mat4x4(half_quad(halves.x), half_quad(halves.y), half_quad(halves.z), half_quad(halves.w));
#else
    let left = weight[at];
    let right = weight[at + 8u];
    return mat4x4(unpaired(left.xy), unpaired(left.zw), unpaired(right.xy), unpaired(right.zw));
#endif
}
