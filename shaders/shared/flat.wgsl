// The number of an invocation when workgroups of 64 are spread over two dimensions (`flat_grid` in src/engine/plan).

fn flat_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * 64u + local;
}
