// Four neighbouring floats in memory.
//
// INT64  as two words of 64 bits

#ifdef INT64
#import u64_pair

alias Stored = vec2<u64>;

fn unpacked(stored: Stored) -> vec4<f32> {
    return unpack4x32float(stored);
}

fn packed(values: vec4<f32>) -> Stored {
    return pack4x32float(values);
}
#else
alias Stored = vec4<f32>;

fn unpacked(stored: Stored) -> vec4<f32> {
    return stored;
}

fn packed(values: vec4<f32>) -> Stored {
    return values;
}
#endif
