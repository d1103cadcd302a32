//! Maximum pooling.

use crate::engine::ops::pool2d::Pool2d;

/// The maximum of each window, as `torch.nn.functional.max_pool2d` with `ceil_mode=False`: padding never
/// wins. A NaN makes its windows NaN.
///
/// `x` `[N, H, W, C]` to `[N, OH, OW, C]`; empty where the window does not fit ([`Pool2d::output_size`]).
pub fn max_pool2d(x: &[f32], x_shape: [usize; 4], op: &Pool2d) -> Vec<f32> {
    let [_, h, w, c] = x_shape;
    let Some([oh, ow]) = op.output_size([h, w]) else { return Vec::new() };
    let mut out = Vec::with_capacity(x_shape[0] * oh * ow * c);
    for image in x.chunks_exact((h * w * c).max(1)) {
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            let start = out.len();
            out.resize(start + c, f32::NEG_INFINITY);
            for y in op.window(0, oy, h) {
                for x in op.window(1, ox, w) {
                    let pixel = &image[(y * w + x) * c..][..c];
                    out[start..].iter_mut().zip(pixel).for_each(|(max, &v)| *max = larger(*max, v));
                }
            }
        }
    }
    out
}

/// The larger of two values; NaN if one is.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Pool2d {
        Pool2d { kernel, stride, padding, count_include_pad: false }
    }

    #[test]
    fn largest_of_each_window() {
        let x: Vec<f32> = (0..16).map(|v| v as f32).collect();
        assert_eq!(max_pool2d(&x, [1, 4, 4, 1], &pool([2, 2], [2, 2], [0, 0])), [5.0, 7.0, 13.0, 15.0]);
        assert_eq!(max_pool2d(&x, [1, 4, 4, 1], &pool([3, 3], [2, 2], [1, 1])), [5.0, 7.0, 13.0, 15.0]);
        assert_eq!(max_pool2d(&x, [1, 4, 4, 1], &pool([1, 4], [3, 1], [0, 0])), [3.0, 15.0]);
    }

    #[test]
    fn padding_never_wins() {
        let x = [-5.0, -4.0, -3.0, -2.0];
        assert_eq!(max_pool2d(&x, [1, 2, 2, 1], &pool([3, 3], [2, 2], [1, 1])), [-2.0]);
        assert_eq!(max_pool2d(&x, [1, 2, 2, 1], &pool([2, 2], [2, 2], [1, 1])), x);
    }

    #[test]
    fn nan_wins() {
        for x in [[f32::NAN, 1.0, 2.0], [1.0, f32::NAN, 2.0]] {
            let y = max_pool2d(&x, [1, 1, 3, 1], &pool([1, 2], [1, 1], [0, 0]));
            assert!(y[0].is_nan());
            assert_eq!(y[1].is_nan(), x[1].is_nan());
        }
    }

    #[test]
    fn channels_and_images_stay_apart() {
        // Two images of 1 x 2 pixels with 3 channels.
        let x = [1.0, 9.0, -1.0, 2.0, 8.0, -2.0, 0.0, 0.5, 7.0, -3.0, 0.25, 6.0];
        let y = max_pool2d(&x, [2, 1, 2, 3], &pool([1, 2], [1, 1], [0, 0]));
        assert_eq!(y, [2.0, 9.0, -1.0, 0.0, 0.5, 7.0]);
    }

    #[test]
    fn a_window_that_does_not_fit_has_no_output() {
        assert!(max_pool2d(&[1.0], [1, 1, 1, 1], &pool([2, 2], [1, 1], [0, 0])).is_empty());
    }
}
