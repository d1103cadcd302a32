// Numbers when workgroups are spread over two dimensions (`flat_grid` in src/engine/plan). Those past the last one have nothing to do.

fn workgroup_number(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}

// Of an invocation in workgroups of 64.
fn flat_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return workgroup_number(workgroup, workgroups) * 64u + local;
}

// 1 if a dimension of the grid exceeds the limit of the device. Then its workgroups are numbered instead.
override SPREAD: u32 = 0u;

// Column and row of a workgroup in a grid of `Lowering::grid`; rows past the last one have nothing to do. Usually nothing is divided:
// software drivers divide each lane on its own.
fn grid_row(workgroup: vec3<u32>, workgroups: vec3<u32>, columns: u32) -> vec2<u32> {
    if SPREAD == 0u {
        return workgroup.xy;
    }
    let number = workgroup_number(workgroup, workgroups);
    return vec2(number % columns, number / columns);
}

// Column, row and layer; layers past the last one have nothing to do.
fn grid_layer(workgroup: vec3<u32>, workgroups: vec3<u32>, columns: u32, rows: u32) -> vec3<u32> {
    if SPREAD == 0u {
        return workgroup;
    }
    let place = grid_row(workgroup, workgroups, columns);
    return vec3(place.x, place.y % rows, place.y / rows);
}
