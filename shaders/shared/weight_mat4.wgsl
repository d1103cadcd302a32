// The weights of shaders that have one of mat4_u64.wgsl and declare it: `weight: array<vec4<u64>>`.

#import mat4_u64

// Four rows of a lane's four columns.
fn weights_at(at: u32) -> mat4x4<f32> {
#ifdef HALF
    return weights_of(weight[at]);
#else
    return weights_of(weight[at], weight[at + 8u]);
#endif
}
