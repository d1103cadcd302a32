// Four floats in two words of 64 bits: on drivers that run on a CPU every read and write by address costs the same, whatever its
// width.

fn unpaired(pairs: vec2<u64>) -> vec4<f32> {
    let high = pairs >> vec2(32u);
    return bitcast<vec4<f32>>(vec4(u32(pairs.x), u32(high.x), u32(pairs.y), u32(high.y)));
}

fn paired(values: vec4<f32>) -> vec2<u64> {
    let bits = bitcast<vec4<u32>>(values);
    return vec2(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}
