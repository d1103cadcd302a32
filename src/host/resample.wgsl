// Resizes a picture on the device to the size of a network's input, as src/image/resize.rs does on the CPU: with the same windows, the
// same weights of 22 fractional bits and 8 bits between the two passes, so that the results are the same bytes.
//
// across: source pixels to narrow: [rows, out_width], RGBA8        down: narrow to photo: bytes [out_height, out_width, 3]
// windows: for each output column, then each output row: first input, first weight, count; weights follow
//
// TEXTURE  the source is a texture, else a buffer of RGBA8

struct Params {
    // The part of the source to resize, and the length of a row of a buffer, in pixels.
    left: u32, top: u32, width: u32, height: u32, stride: u32,
    out_width: u32, out_height: u32,
    // The offset of the weights, in words of `windows`.
    weights: u32,
    // Flags, 0 or 1: the last row comes first; colours are linear and become sRGB; only the first channel is used; transparent pixels
    // show the background.
    flipped: u32, linear: u32, grey: u32, flattened: u32,
    background_r: f32, background_g: f32, background_b: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> windows: array<u32>;
@group(0) @binding(2) var<storage, read_write> narrow: array<u32>;
@group(0) @binding(3) var<storage, read_write> photo: array<u32>;
#ifdef TEXTURE
@group(0) @binding(4) var source: texture_2d<f32>;
#else
@group(0) @binding(4) var<storage, read> source: array<u32>;
#endif

const HALF = 2097152;

fn srgb(linear: vec3<f32>) -> vec3<f32> {
    let low = linear * 12.92;
    let high = 1.055 * pow(max(linear, vec3(0.0)), vec3(1.0 / 2.4)) - 0.055;
    return select(high, low, linear <= vec3(0.0031308));
}

// A source pixel as bytes.
fn pixel(x: u32, y: u32) -> vec3<i32> {
    let row = p.top + select(y, p.height - 1u - y, p.flipped != 0u);
#ifdef TEXTURE
    let loaded = textureLoad(source, vec2(p.left + x, row), 0);
#else
    let loaded = unpack4x8unorm(source[row * p.stride + p.left + x]);
#endif
    var colour = select(loaded.rgb, loaded.rrr, p.grey != 0u);
    colour = select(colour, srgb(colour), p.linear != 0u);
    if p.flattened != 0u {
        colour = mix(vec3(p.background_r, p.background_g, p.background_b), colour, clamp(loaded.a, 0.0, 1.0));
    }
    return vec3<i32>(round(clamp(colour, vec3(0.0), vec3(1.0)) * 255.0));
}

fn clipped(sum: vec3<i32>) -> vec3<i32> {
    return clamp(sum >> vec3(22u), vec3(0), vec3(255));
}

@compute @workgroup_size(8, 8)
fn across(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.out_width || id.y >= p.height {
        return;
    }
    let first = windows[3u * id.x];
    let weights = p.weights + windows[3u * id.x + 1u];
    let count = windows[3u * id.x + 2u];
    var sum = vec3(HALF);
    for (var i = 0u; i < count; i++) {
        sum += pixel(first + i, id.y) * bitcast<i32>(windows[weights + i]);
    }
    let value = vec3<u32>(clipped(sum));
    narrow[id.y * p.out_width + id.x] = value.x | (value.y << 8u) | (value.z << 16u);
}

// One channel of an output pixel.
fn byte_at(index: u32) -> u32 {
    let at = index / 3u;
    if at >= p.out_width * p.out_height {
        return 0u;
    }
    let y = at / p.out_width;
    let x = at - y * p.out_width;
    let shift = 8u * (index - 3u * at);
    let window = 3u * (p.out_width + y);
    let first = windows[window];
    let weights = p.weights + windows[window + 1u];
    let count = windows[window + 2u];
    var sum = HALF;
    for (var i = 0u; i < count; i++) {
        let value = i32((narrow[(first + i) * p.out_width + x] >> shift) & 255u);
        sum += value * bitcast<i32>(windows[weights + i]);
    }
    return u32(clamp(sum >> 22u, 0, 255));
}

@compute @workgroup_size(64)
fn down(@builtin(global_invocation_id) id: vec3<u32>) {
    let word = id.x;
    if word >= (3u * p.out_width * p.out_height + 3u) / 4u {
        return;
    }
    photo[word] = byte_at(4u * word) | (byte_at(4u * word + 1u) << 8u) | (byte_at(4u * word + 2u) << 16u)
        | (byte_at(4u * word + 3u) << 24u);
}
