// Numbers when workgroups are spread over two dimensions (`flat_grid` in src/engine/plan). Those past the last one have nothing to do.

fn workgroup_number(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}

// Of an invocation in workgroups of 64.
fn flat_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return workgroup_number(workgroup, workgroups) * 64u + local;
}
