// Four neighbouring floats in memory.
//
// INT64  in two words of 64 bits

#ifdef INT64
#import pairs

alias Four = vec2<u64>;

fn unpacked(pairs: Four) -> vec4<f32> {
    return unpaired(pairs);
}

fn packed(values: vec4<f32>) -> Four {
    return paired(values);
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
