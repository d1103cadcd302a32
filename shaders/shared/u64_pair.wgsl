// Four floats in two words of 64 bits: a software driver takes the same time for a read or write of any width. Named after WGSL's
// `unpack2x16float`.

fn unpack4x32float(pair: vec2<u64>) -> vec4<f32> {
    let high = pair >> vec2(32u);
    return bitcast<vec4<f32>>(vec4(u32(pair.x), u32(high.x), u32(pair.y), u32(high.y)));
}

fn pack4x32float(values: vec4<f32>) -> vec2<u64> {
    let bits = bitcast<vec4<u32>>(values);
    return vec2(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}
