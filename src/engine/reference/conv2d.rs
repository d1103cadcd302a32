//! 2-D convolution with bias, residual and activation fused behind it.

use std::ops::Range;

use super::activation::apply_all;
use super::gemm::{Matrix, gemm_add};
use crate::engine::ops::conv2d::{Conv2d, Padding};

/// Values of the im2col matrix that are held at once (16 MiB).
const PATCH_VALUES: usize = 1 << 22;

/// `act(conv(x, weight) + bias + residual)`, as `torch.nn.functional.conv2d` on NHWC activations:
///
/// ```text
/// y[n, oy, ox, o] = act(bias[o] + residual[n, oy, ox, o] + sum over i, ky, kx of
///     weight[o, i, ky, kx] * x[n, oy*sy + ky*dy - top, ox*sx + kx*dx - left, g*I/groups + i])
/// ```
///
/// with `g` the group of `o`, and zeros outside the image.
///
/// * `x` `[N, H, W, I]`, `weight` `[O, I / groups, KH, KW]`, `bias` `[O]`
/// * `residual` and the result `[N, OH, OW, O]`
///
/// Empty where the kernel does not fit ([`Conv2d::output_size`]).
pub fn conv2d(
    x: &[f32],
    x_shape: [usize; 4],
    weight: &[f32],
    w_shape: [usize; 4],
    bias: &[f32],
    residual: Option<&[f32]>,
    op: &Conv2d,
) -> Vec<f32> {
    let [n, h, w, channels] = x_shape;
    let [outputs, group_inputs, kh, kw] = w_shape;
    let Some(out_size) = op.output_size([h, w], [kh, kw]) else { return Vec::new() };
    debug_assert_eq!(group_inputs * op.groups, channels);

    let geometry = Geometry { size: [h, w], channels, kernel: [kh, kw], out_size, op };
    let image_out = out_size[0] * out_size[1] * outputs;
    let weight = channels_last(weight, w_shape);
    let mut out = initial(bias, residual, n * image_out);
    let images = x.chunks_exact((h * w * channels).max(1));
    for (image, out) in images.zip(out.chunks_exact_mut(image_out.max(1))) {
        if group_inputs == 1 && op.groups == channels && outputs == channels {
            depthwise(image, &geometry, &weight, out);
        } else {
            grouped(image, &geometry, &weight, outputs, out);
        }
    }
    apply_all(op.activation, &mut out);
    out
}

/// The sizes of one image's convolution, all `[vertical, horizontal]`.
struct Geometry<'a> {
    size: [usize; 2],
    channels: usize,
    kernel: [usize; 2],
    out_size: [usize; 2],
    op: &'a Conv2d,
}

impl Geometry<'_> {
    /// Where pixel `(y, x)` starts in an image `[H, W, C]` that tap `tap` of window `at` reads; `None` in
    /// the padding.
    fn source(&self, at: [usize; 2], tap: [usize; 2]) -> Option<usize> {
        let Conv2d { stride, dilation, padding, .. } = self.op;
        let y = (at[0] * stride[0] + tap[0] * dilation[0]).checked_sub(padding.top)?;
        let x = (at[1] * stride[1] + tap[1] * dilation[1]).checked_sub(padding.left)?;
        (y < self.size[0] && x < self.size[1]).then(|| (y * self.size[1] + x) * self.channels)
    }

    /// Whether the im2col matrix would be the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.op.stride == [1, 1] && self.op.padding == Padding::default()
    }
}

/// What the products are added to: `bias + residual` for each of `len` values.
fn initial(bias: &[f32], residual: Option<&[f32]>, len: usize) -> Vec<f32> {
    let mut out: Vec<f32> = bias.iter().copied().cycle().take(len).collect();
    if let Some(residual) = residual {
        debug_assert_eq!(residual.len(), len);
        out.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
    }
    out
}

/// `[O, I, KH, KW]` to `[O, KH, KW, I]`, the order in which NHWC pixels are read.
fn channels_last(weight: &[f32], [outputs, inputs, kh, kw]: [usize; 4]) -> Vec<f32> {
    let taps = kh * kw;
    let mut out = Vec::with_capacity(weight.len());
    for o in 0..outputs {
        for tap in 0..taps {
            out.extend((0..inputs).map(|i| weight[(o * inputs + i) * taps + tap]));
        }
    }
    out
}

/// One image, one matrix product per group: `out[OH*OW, O/groups] += patches * weight^T`.
fn grouped(image: &[f32], geometry: &Geometry<'_>, weight: &[f32], outputs: usize, out: &mut [f32]) {
    let Geometry { channels, kernel, out_size: [oh, ow], op, .. } = *geometry;
    let inputs = channels / op.groups;
    let group_outputs = outputs / op.groups;
    let k = kernel[0] * kernel[1] * inputs;
    if oh * ow * outputs * k == 0 {
        return;
    }
    let band = (PATCH_VALUES / (ow * k)).clamp(1, oh);
    for g in 0..op.groups {
        let weight = Matrix { data: &weight[g * group_outputs * k..], row_stride: 1, column_stride: k };
        if geometry.is_pointwise() {
            let pixels = Matrix { data: &image[g * inputs..], row_stride: channels, column_stride: 1 };
            let out = &mut out[g * group_outputs..];
            gemm_add([oh * ow, k, group_outputs], pixels, weight, out, outputs);
            continue;
        }
        for first in (0..oh).step_by(band) {
            let rows = first..(first + band).min(oh);
            let m = rows.len() * ow;
            let patches = im2col(image, geometry, rows, g * inputs..(g + 1) * inputs);
            let patches = Matrix { data: &patches, row_stride: k, column_stride: 1 };
            let out = &mut out[first * ow * outputs + g * group_outputs..];
            gemm_add([m, k, group_outputs], patches, weight, out, outputs);
        }
    }
}

/// The patches of some rows of windows, `[rows * OW, KH * KW * inputs]`, zeros where there is padding.
fn im2col(image: &[f32], geometry: &Geometry<'_>, rows: Range<usize>, inputs: Range<usize>) -> Vec<f32> {
    let [kh, kw] = geometry.kernel;
    let ow = geometry.out_size[1];
    let mut patches = vec![0.0; rows.len() * ow * kh * kw * inputs.len()];
    let mut slots = patches.chunks_exact_mut(inputs.len());
    for oy in rows {
        for ox in 0..ow {
            // Taps first in the zip: it asks them first, and their end must not swallow a slot.
            let taps = (0..kh).flat_map(|ky| (0..kw).map(move |kx| [ky, kx]));
            for (tap, slot) in taps.zip(slots.by_ref()) {
                if let Some(at) = geometry.source([oy, ox], tap) {
                    slot.copy_from_slice(&image[at + inputs.start..at + inputs.end]);
                }
            }
        }
    }
    patches
}

/// One image with one filter per channel, read as `[C, KH, KW, 1]`.
fn depthwise(image: &[f32], geometry: &Geometry<'_>, weight: &[f32], out: &mut [f32]) {
    let Geometry { channels, kernel: [kh, kw], out_size: [_, ow], .. } = *geometry;
    let taps = kh * kw;
    // Channels innermost, so that the loop below vectorises.
    let by_tap: Vec<f32> = (0..taps * channels).map(|i| weight[i % channels * taps + i / channels]).collect();
    for (at, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        for (tap, filter) in by_tap.chunks_exact(channels).enumerate() {
            if let Some(source) = geometry.source([at / ow, at % ow], [tap / kw, tap % kw]) {
                let pixel = &image[source..source + channels];
                for ((o, &v), &f) in out.iter_mut().zip(pixel).zip(filter) {
                    *o += v * f;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;
    use crate::engine::ops::activation::Activation;

    /// The definition, loop by loop, in `f64` and without an activation.
    fn naive(
        x: &[f32],
        [n, h, w, c]: [usize; 4],
        weight: &[f32],
        [outputs, inputs, kh, kw]: [usize; 4],
        bias: &[f32],
        op: &Conv2d,
    ) -> Vec<f32> {
        let [oh, ow] = op.output_size([h, w], [kh, kw]).unwrap();
        let mut out = Vec::new();
        for b in 0..n {
            for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                for (o, &bias) in bias.iter().enumerate() {
                    let mut sum = f64::from(bias);
                    let first = o / (outputs / op.groups) * inputs;
                    for i in 0..inputs {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let y = (oy * op.stride[0] + ky * op.dilation[0]) as isize
                                    - op.padding.top as isize;
                                let z = (ox * op.stride[1] + kx * op.dilation[1]) as isize
                                    - op.padding.left as isize;
                                if y < 0 || z < 0 || y >= h as isize || z >= w as isize {
                                    continue;
                                }
                                let at = ((b * h + y as usize) * w + z as usize) * c + first + i;
                                let tap = ((o * inputs + i) * kh + ky) * kw + kx;
                                sum += f64::from(x[at]) * f64::from(weight[tap]);
                            }
                        }
                    }
                    out.push(sum as f32);
                }
            }
        }
        out
    }

    fn pads(top: usize, bottom: usize, left: usize, right: usize) -> Padding {
        Padding { top, bottom, left, right }
    }

    #[test]
    fn agrees_with_the_definition() {
        let none = Padding::default();
        let one = Padding::uniform(1);
        // x [N, H, W, I], outputs, kernel, stride, dilation, padding, groups
        let cases = [
            ([1, 1, 1, 1], 1, [1, 1], [1, 1], [1, 1], none, 1),
            ([1, 1, 1, 3], 5, [1, 1], [1, 1], [1, 1], none, 1),
            ([2, 4, 5, 3], 7, [1, 1], [1, 1], [1, 1], none, 1),
            ([2, 4, 5, 4], 6, [1, 1], [1, 1], [1, 1], none, 2),
            ([1, 5, 5, 8], 4, [1, 1], [2, 2], [1, 1], none, 1),
            ([1, 5, 4, 3], 2, [1, 1], [1, 1], [1, 1], one, 1),
            ([1, 6, 7, 1], 1, [3, 3], [1, 1], [1, 1], one, 1),
            ([2, 6, 7, 3], 5, [3, 3], [1, 1], [1, 1], none, 1),
            ([1, 9, 8, 3], 4, [7, 7], [2, 2], [1, 1], Padding::uniform(3), 1),
            ([1, 8, 8, 5], 3, [3, 3], [2, 2], [1, 1], pads(0, 1, 0, 1), 1),
            ([1, 5, 9, 2], 3, [1, 3], [1, 1], [1, 1], pads(0, 0, 2, 1), 1),
            ([1, 9, 5, 2], 3, [3, 1], [2, 1], [1, 1], pads(0, 2, 0, 0), 1),
            ([1, 9, 9, 4], 4, [3, 3], [1, 2], [2, 1], pads(2, 1, 0, 3), 1),
            ([2, 7, 6, 6], 9, [3, 2], [1, 1], [1, 2], one, 3),
            ([1, 7, 7, 33], 33, [3, 3], [1, 1], [1, 1], one, 33),
            ([2, 8, 9, 5], 5, [5, 5], [2, 2], [1, 1], pads(1, 2, 2, 2), 5),
            ([1, 9, 9, 3], 3, [3, 3], [1, 1], [2, 2], Padding::uniform(2), 3),
            ([1, 6, 7, 4], 4, [2, 3], [1, 2], [2, 1], pads(1, 0, 0, 2), 4),
            ([1, 6, 6, 3], 6, [3, 3], [1, 1], [1, 1], one, 3),
            ([1, 2, 2, 3], 3, [3, 3], [1, 1], [1, 1], one, 3),
            ([3, 2, 2, 16], 17, [2, 2], [1, 1], [1, 1], none, 1),
            ([1, 14, 14, 40], 24, [3, 3], [1, 1], [1, 1], one, 1),
            // Large enough for several bands of the im2col matrix.
            ([1, 96, 96, 64], 2, [3, 3], [1, 1], [1, 1], one, 1),
        ];
        for (seed, (x_shape, outputs, kernel, stride, dilation, padding, groups)) in (0u64..).zip(cases) {
            let op = Conv2d { stride, dilation, padding, groups, activation: Activation::Identity };
            let w_shape = [outputs, x_shape[3] / groups, kernel[0], kernel[1]];
            let x = values(x_shape.iter().product(), 3 * seed);
            let weight = values(w_shape.iter().product(), 3 * seed + 1);
            let bias = values(outputs, 3 * seed + 2);
            let expected = naive(&x, x_shape, &weight, w_shape, &bias, &op);
            let actual = conv2d(&x, x_shape, &weight, w_shape, &bias, None, &op);
            // Errors grow with the length of the sum; the values themselves are about 1.
            let taps = (w_shape[1] * w_shape[2] * w_shape[3]) as f32;
            assert_close(&actual, &expected, 1e-6 + 2e-7 * taps);
        }
    }

    #[test]
    fn the_band_case_has_several_bands() {
        let [ow, k] = [96, 3 * 3 * 64];
        assert!(PATCH_VALUES / (ow * k) < 96);
    }

    #[test]
    fn a_single_pixel_is_a_dot_product() {
        let y = conv2d(
            &[1.0, 2.0, 3.0],
            [1, 1, 1, 3],
            &[4.0, 5.0, 6.0],
            [1, 3, 1, 1],
            &[0.5],
            None,
            &Conv2d::default(),
        );
        assert_eq!(y, [32.5]);
    }

    #[test]
    fn an_identity_kernel_copies_the_image() {
        for c in [1, 3, 5] {
            let x = values(4 * 3 * c, 7);
            let op = Conv2d { padding: Padding::uniform(1), ..Conv2d::default() };
            // Only the centre tap of the filter of the same channel is 1.
            let dense: Vec<f32> =
                (0..c * c * 9).map(|i| f32::from(i / (9 * c) == i / 9 % c && i % 9 == 4)).collect();
            assert_eq!(conv2d(&x, [1, 4, 3, c], &dense, [c, c, 3, 3], &vec![0.0; c], None, &op), x);
            let centre: Vec<f32> = (0..c * 9).map(|i| f32::from(i % 9 == 4)).collect();
            let op = Conv2d { groups: c, ..op };
            assert_eq!(conv2d(&x, [1, 4, 3, c], &centre, [c, 1, 3, 3], &vec![0.0; c], None, &op), x);
        }
    }

    #[test]
    fn ones_count_the_taps_inside_the_image() {
        let count = |c: usize, padding| {
            let op = Conv2d { padding, groups: c, ..Conv2d::default() };
            let (x, weight) = (vec![1.0; 9 * c], vec![1.0; 9 * c]);
            conv2d(&x, [1, 3, 3, c], &weight, [c, 1, 3, 3], &vec![0.0; c], None, &op)
        };
        assert_eq!(count(1, Padding::uniform(1)), [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
        assert_eq!(count(1, pads(1, 0, 0, 1)), [6.0, 4.0, 9.0, 6.0]);
        assert_eq!(count(1, pads(0, 0, 2, 0)), [3.0, 6.0, 9.0]);
        assert_eq!(count(2, pads(1, 0, 0, 1)), [6.0, 6.0, 4.0, 4.0, 9.0, 9.0, 6.0, 6.0]);
    }

    #[test]
    fn residual_comes_before_the_activation() {
        let op = Conv2d { activation: Activation::Relu6, ..Conv2d::default() };
        let y = conv2d(
            &[1.0, 2.0, -3.0],
            [1, 1, 3, 1],
            &[2.0],
            [1, 1, 1, 1],
            &[1.0],
            Some(&[-4.0, 0.5, 20.0]),
            &op,
        );
        assert_eq!(y, [0.0, 5.5, 6.0]);
    }

    #[test]
    fn a_kernel_that_does_not_fit_has_no_output() {
        let y = conv2d(&[1.0], [1, 1, 1, 1], &[1.0; 9], [1, 1, 3, 3], &[0.0], None, &Conv2d::default());
        assert!(y.is_empty());
    }
}
