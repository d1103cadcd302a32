// A workgroup works on one row: WIDTH invocations whose partial results meet in workgroup memory.
//
// SERIAL     a single invocation, for software drivers, which compile barriers into coroutines
// SUBGROUP   one subgroup, which is a vector of the CPU
// SUBGROUPS  several subgroups, of any size: each reduces its values, and workgroup memory takes one result of each

#import flat

// The same for all invocations of a workgroup. Apart from Place, so that a browser can prove it: barriers need uniform control flow.
struct Grid {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
}

struct Place {
    @builtin(local_invocation_index) local: u32,
#ifdef SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
#endif
}

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

// The number of the row when workgroups are spread over two dimensions.
fn row_index(grid: Grid) -> u32 {
    return workgroup_number(grid.workgroup, grid.workgroups);
}

fn row_max(place: Place, value: f32) -> f32 {
#ifdef SERIAL
    return value;
#else
#ifdef SUBGROUP
    return subgroupMax(value);
#else
#ifdef SUBGROUPS
    let own = subgroupMax(value);
    if place.lane == 0u {
        sh_values[place.subgroup] = own;
    }
    workgroupBarrier();
    var result = sh_values[0];
    for (var i = 1u; i < place.subgroups; i++) {
        result = max(result, sh_values[i]);
    }
#else
    sh_values[place.local] = value;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        if place.local < half {
            sh_values[place.local] = max(sh_values[place.local], sh_values[place.local + half]);
        }
        workgroupBarrier();
    }
    let result = sh_values[0];
#endif
    workgroupBarrier();
    return result;
#endif
#endif
}

fn row_sum(place: Place, value: f32) -> f32 {
#ifdef SERIAL
    return value;
#else
#ifdef SUBGROUP
    return subgroupAdd(value);
#else
#ifdef SUBGROUPS
    let own = subgroupAdd(value);
    if place.lane == 0u {
        sh_values[place.subgroup] = own;
    }
    workgroupBarrier();
    var result = sh_values[0];
    for (var i = 1u; i < place.subgroups; i++) {
        result += sh_values[i];
    }
#else
    sh_values[place.local] = value;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        if place.local < half {
            sh_values[place.local] += sh_values[place.local + half];
        }
        workgroupBarrier();
    }
    let result = sh_values[0];
#endif
    workgroupBarrier();
    return result;
#endif
#endif
}
