// y[n, oy, ox, o] = bias[o] + sum_{ky, kx, i} x[n, iy, ix, i] w[i, o, ky, kx]  over taps with  iy stride + ky - pad = oy,  ix likewise
//
// x: [N, H, W, I]       weight: [O / 4 / LANES, KH, KW, I, LANES, 4], zeros beyond O       bias: [O]       y: [N, OH, OW, O]
//
//                 4 output channels
//               +-------------------+
//   4 pixels    |  a vec4 for each  |    for each tap and i, one vec4 of weights serves all four pixels
//               +-------------------+
//
// The four pixels lie a stride apart in a row: so the same taps reach them, each from the next input pixel. A workgroup is LANES such
// blocks along the channels times TILES stretches of rows; with TILES = 1 all lanes share their pixels, which software drivers turn into
// one load and a broadcast.
//
// FLOPs 2 N H W KH KW I O (less at the borders), bytes 4 (N H W I + KH KW I O + N OH OW O).

#import flat

override LANES: u32 = 8u;
override TILES: u32 = 1u;

struct Params {
    images: u32, in_height: u32, in_width: u32, in_channels: u32,
    out_height: u32, out_width: u32, out_channels: u32, kernel_height: u32, kernel_width: u32,
    stride_height: u32, stride_width: u32, pad_top: u32, pad_left: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn store(pixel: u32, channel: u32, sum: vec4<f32>) {
    let at = pixel * p.out_channels + channel;
    y[at] = sum.x;
    if channel + 1u < p.out_channels { y[at + 1u] = sum.y; }
    if channel + 2u < p.out_channels { y[at + 2u] = sum.z; }
    if channel + 3u < p.out_channels { y[at + 3u] = sum.w; }
}

@compute @workgroup_size(LANES, TILES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = (p.out_channels + 3u) / 4u;
    let blocks = (columns + LANES - 1u) / LANES;
    let number = workgroup_number(workgroup, workgroups);
    let band = number / blocks;
    let block = number - band * blocks;
    let column = block * LANES + local.x;
    // A constant where TILES is 1, so that a driver sees that all lanes share their pixels.
    let stretch = band * TILES + select(local.y, 0u, TILES == 1u);
    // A row has `quads` stretches for each column within a stride.
    let quads = ((p.out_width + p.stride_width - 1u) / p.stride_width + 3u) / 4u;
    let stretches = min(p.stride_width, p.out_width) * quads;
    let line = stretch / stretches;
    let place = stretch - line * stretches;
    let offset = place / quads;
    let quad = place - offset * quads;
    let image = line / p.out_height;
    let out_y = line - image * p.out_height;
    if column >= columns || image >= p.images || offset + 4u * quad * p.stride_width >= p.out_width {
        return;
    }
    // Pixels past the end repeat the last one: they are computed and stored again, with the same result.
    let last = (p.out_width - 1u - offset) / p.stride_width;
    let out_x = offset + min(4u * quad + vec4(0u, 1u, 2u, 3u), vec4(last)) * p.stride_width;

    let start = bias[column];
#for P in x y z w
    var sum_$P = start;
#endfor
    let bottom = out_y + p.pad_top;
    let right = vec4<i32>(out_x + p.pad_left);
    for (var ky = bottom % p.stride_height; ky < min(p.kernel_height, bottom + 1u); ky += p.stride_height) {
        let in_y = (bottom - ky) / p.stride_height;
        if in_y >= p.in_height {
            continue;
        }
        for (var kx = (offset + p.pad_left) % p.stride_width; kx < p.kernel_width; kx += p.stride_width) {
            let in_x = (right - i32(kx)) / i32(p.stride_width);
            let inside = (right >= vec4(i32(kx))) & (in_x < vec4(i32(p.in_width)));
            // A tap beyond the image reads some pixel of the row and counts for nothing.
            let pixel = (image * p.in_height + in_y) * p.in_width + vec4<u32>(select(vec4(0), in_x, inside));
            let from_ = pixel * p.in_channels;
            var w = ((block * p.kernel_height + ky) * p.kernel_width + kx) * p.in_channels * LANES + local.x;
            for (var k = 0u; k < p.in_channels; k++) {
                let weights = weight[w];
                let values = select(vec4(0.0), vec4(x[from_.x + k], x[from_.y + k], x[from_.z + k], x[from_.w + k]), inside);
#for P in x y z w
                sum_$P += values.$P * weights;
#endfor
                w += LANES;
            }
        }
    }
    let base = line * p.out_width;
#for P in x y z w
    store(base + out_x.$P, 4u * column, sum_$P);
#endfor
}
