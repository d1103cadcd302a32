// A workgroup of LANES x SLICES invocations: the slices take turns along the inputs of the same outputs, so that many invocations read
// weights at a time, and neighbouring lanes read neighbouring weights.

override ROWS: u32 = 1u;

const LANES = 8u;
const SLICES = 16u;
// Upper bound of ROWS.
const ROWS_AT_MOST = 8u;

var<workgroup> sh_sums: array<vec4<f32>, LANES * SLICES>;

// The sum over all slices, in the invocations of slice 0; 0 in others. All invocations must call it.
fn sum_of_slices(local: vec3<u32>, own: vec4<f32>) -> vec4<f32> {
    sh_sums[local.y * LANES + local.x] = own;
    workgroupBarrier();
    var sum = vec4(0.0);
    if local.y == 0u {
        for (var slice = 0u; slice < SLICES; slice++) {
            sum += sh_sums[slice * LANES + local.x];
        }
    }
    workgroupBarrier();
    return sum;
}
