// A workgroup of SLICES times LANES invocations: the slices take turns along the inputs of the same outputs, so that many
// invocations read weights at a time and each row of them is read in one piece. The size of the workgroup is LANES x SLICES.

override ROWS: u32 = 1u;

const LANES = 8u;
const SLICES = 16u;
// The largest ROWS.
const ROWS_AT_MOST = 8u;

var<workgroup> sh_sums: array<vec4<f32>, LANES * SLICES>;

// The sum over all slices, for the invocations of slice 0; to be called by all.
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
