// y[m, c] = clamp(sum_taps x[tap of m, c] w[tap, c] + bias[c] + residual[m, c]): one filter for each channel
//
// conv2d_depthwise.wgsl for software drivers, and windows of 3 or 5 columns with a stride of 1: in each row, the inputs under the windows
// of 4 neighbouring pixels are read once, 64 bits at a time.
//
//     [a a a]          6 inputs for 12 taps
//       [b b b]
//         [c c c]
//           [d d d]
//
// x: [N, H, W, C]       weight: [C / 4 / LANES, KH, KW, LANES, 4]       bias: [C]       residual, y: [N, OH, OW, C], C % 4 == 0
//
// Lanes run along the channels, four in each. FLOPs 2 M C KH KW, bytes 4 (N H W C + M C).

#import conv2d
#import u64_pair

override LANES: u32 = 8u;
// Columns of the window. A constant, so that the inputs stay in registers.
override KERNEL: u32 = 3u;
// `has_residual` as a constant: software drivers run both sides of a branch.
override RESIDUAL: u32 = 0u;

@group(0) @binding(1) var<storage, read_write> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> weight: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec2<u64>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec2<u64>>;

// A column of a row of inputs, in a vector of channels; zero in the padding.
fn input(row: u32, column: i32, channel: u32) -> vec4<f32> {
    let inside = column >= 0 && column < i32(p.in_width);
    let pixel = row + u32(clamp(column, 0, i32(p.in_width) - 1));
    return select(vec4(0.0), unpack4x32float(x[pixel * (p.in_channels / 4u) + channel]), inside);
}

fn store(at: u32, sum: vec4<f32>) {
    var result = sum;
    if RESIDUAL != 0u {
        result += unpack4x32float(residual[at]);
    }
    y[at] = pack4x32float(limit(result));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let columns = p.out_channels / 4u;
    let own = stretch_place(workgroup, workgroups, (p.out_width + 3u) / 4u, p.out_height);
    let block = own.x;
    let tile = own.y;
    let out_y = own.z;
    let image = own.w;
    let channel = block * LANES + local.x;
    if channel >= columns {
        return;
    }
    let out_x = tile * 4u;
    let start = bias[channel];
    var sums = array(start, start, start, start);
    let left = i32(out_x) - i32(p.pad_left);
    var w = block * p.kernel_height * KERNEL * LANES + local.x;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        let in_y = i32(out_y * p.stride_height + ky) - i32(p.pad_top);
        if in_y >= 0 && in_y < i32(p.in_height) {
            let row = (image * p.in_height + u32(in_y)) * p.in_width;
            // The columns under four windows, each read before the first tap that needs it.
            var inputs: array<vec4<f32>, 8>;
#for X in 0..3
            inputs[$X] = input(row, left + $X, channel);
#endfor
#for T in 0..5
            if KERNEL > $Tu {
                inputs[$Tu + 3u] = input(row, left + $T + 3, channel);
                let weights = unpack4x32float(weight[w + $Tu * LANES]);
#for P in 0..4
                sums[$P] += inputs[$Tu + $Pu] * weights;
#endfor
            }
#endfor
        }
        w += KERNEL * LANES;
    }
    let at = ((image * p.out_height + out_y) * p.out_width + out_x) * columns + channel;
#for P in 0..4
    if out_x + $Pu < p.out_width { store(at + $Pu * columns, sums[$P]); }
#endfor
}
