// What all kernels of linear layers share.

#import flat
#import nan

struct Params {
    rows: u32, inputs: u32, outputs: u32, low: f32, high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;

// The activation of the last step.
fn limit(sum: vec4<f32>) -> vec4<f32> {
    return clamp_keeping_nan(sum, p.low, p.high);
}
