// A workgroup works on one row: WIDTH invocations whose partial results meet in workgroup memory.
//
// SERIAL    a single invocation: for drivers on a CPU, which compile a barrier into coroutines
// SUBGROUP  one subgroup, a vector of a CPU

#ifdef SERIAL
const WIDTH = 1u;
#else
#ifdef SUBGROUP
const WIDTH = 8u;
#else
const WIDTH = 64u;
var<workgroup> sh_values: array<f32, WIDTH>;
#endif
#endif

// The number of the row when workgroups are spread over two dimensions (`flat_grid` in ops/dispatch.rs).
fn row_index(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}

fn row_max(local: u32, value: f32) -> f32 {
#ifdef SERIAL
    return value;
#else
#ifdef SUBGROUP
    return subgroupMax(value);
#else
    sh_values[local] = value;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        if local < half {
            sh_values[local] = max(sh_values[local], sh_values[local + half]);
        }
        workgroupBarrier();
    }
    let result = sh_values[0];
    workgroupBarrier();
    return result;
#endif
#endif
}

fn row_sum(local: u32, value: f32) -> f32 {
#ifdef SERIAL
    return value;
#else
#ifdef SUBGROUP
    return subgroupAdd(value);
#else
    sh_values[local] = value;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        if local < half {
            sh_values[local] += sh_values[local + half];
        }
        workgroupBarrier();
    }
    let result = sh_values[0];
    workgroupBarrier();
    return result;
#endif
#endif
}
