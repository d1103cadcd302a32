// Four neighbouring floats in memory.
//
// INT64  in two words of 64 bits: on drivers that run on a CPU a read or write by address costs the same, whatever its width

#ifdef INT64
alias Four = vec2<u64>;

fn unpacked(pairs: Four) -> vec4<f32> {
    let high = pairs >> vec2(32u);
    return bitcast<vec4<f32>>(vec4(u32(pairs.x), u32(high.x), u32(pairs.y), u32(high.y)));
}

fn packed(values: vec4<f32>) -> Four {
    let bits = bitcast<vec4<u32>>(values);
    return vec2(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}
#else
alias Four = vec4<f32>;

fn unpacked(values: Four) -> vec4<f32> {
    return values;
}

fn packed(values: vec4<f32>) -> Four {
    return values;
}
#endif
