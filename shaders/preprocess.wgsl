// y[n, h, w, c] = x[n, h, w, c] * scale[c] + shift[c], with scale = 1 / (255 std) and shift = -mean / std
//
// x: bytes [N, H, W, 3 or 4], four to a word, first byte lowest; a fourth channel is skipped
// y: [N, H, W, results]: 3, or 4 with a fourth of zeros
// One invocation per pixel. FLOPs 6, bytes 15 or 16 a pixel.

#import flat

struct Params {
    pixels: u32, channels: u32, results: u32,
    scale_r: f32, scale_g: f32, scale_b: f32,
    shift_r: f32, shift_g: f32, shift_b: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn byte_at(index: u32) -> f32 {
    return f32((x[index >> 2u] >> ((index & 3u) * 8u)) & 255u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pixel = flat_index(workgroup, workgroups, local);
    if pixel >= p.pixels {
        return;
    }
    let from_ = pixel * p.channels;
    let to = pixel * p.results;
    y[to] = byte_at(from_) * p.scale_r + p.shift_r;
    y[to + 1u] = byte_at(from_ + 1u) * p.scale_g + p.shift_g;
    y[to + 2u] = byte_at(from_ + 2u) * p.scale_b + p.shift_b;
    if p.results > 3u {
        y[to + 3u] = 0.0;
    }
}
