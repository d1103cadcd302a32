//! Average pooling.

use std::ops::Range;

use crate::engine::ops::pool2d::Pool2d;

/// The mean of each window, as `torch.nn.functional.avg_pool2d` with `ceil_mode=False`. Padding adds
/// zeros to the sum and, with `count_include_pad`, to the number of values too.
///
/// `x` `[N, H, W, C]` to `[N, OH, OW, C]`; empty where the window does not fit ([`Pool2d::output_size`]).
pub fn avg_pool2d(x: &[f32], x_shape: [usize; 4], op: &Pool2d) -> Vec<f32> {
    let [_, h, w, c] = x_shape;
    let Some([oh, ow]) = op.output_size([h, w]) else { return Vec::new() };
    let mut out = Vec::with_capacity(x_shape[0] * oh * ow * c);
    for image in x.chunks_exact((h * w * c).max(1)) {
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            let (ys, xs) = (op.window(0, oy, h), op.window(1, ox, w));
            let inside = ys.len() * xs.len();
            let count = if op.count_include_pad { op.kernel[0] * op.kernel[1] } else { inside };
            out.extend(window_sum(image, [w, c], ys, xs).map(|sum| (sum / count as f64) as f32));
        }
    }
    out
}

/// The sums over a window of an image `[H, W, C]`, one per channel.
pub(crate) fn window_sum(
    image: &[f32],
    [w, c]: [usize; 2],
    ys: Range<usize>,
    xs: Range<usize>,
) -> impl Iterator<Item = f64> + use<> {
    let mut sums = vec![0.0f64; c];
    for y in ys {
        for x in xs.clone() {
            let pixel = &image[(y * w + x) * c..][..c];
            sums.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += f64::from(v));
        }
    }
    sums.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_each_window() {
        let x: Vec<f32> = (0..16).map(|v| v as f32).collect();
        let op = Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0], count_include_pad: true };
        assert_eq!(avg_pool2d(&x, [1, 4, 4, 1], &op), [2.5, 4.5, 10.5, 12.5]);
        let op = Pool2d { kernel: [1, 4], stride: [3, 1], ..op };
        assert_eq!(avg_pool2d(&x, [1, 4, 4, 1], &op), [1.5, 13.5]);
    }

    #[test]
    fn padding_counts_only_when_asked() {
        let x = [4.0, 8.0, 12.0, 16.0];
        let op = Pool2d { kernel: [2, 2], stride: [2, 2], padding: [1, 1], count_include_pad: true };
        assert_eq!(avg_pool2d(&x, [1, 2, 2, 1], &op), [1.0, 2.0, 3.0, 4.0]);
        let op = Pool2d { count_include_pad: false, ..op };
        assert_eq!(avg_pool2d(&x, [1, 2, 2, 1], &op), x);
    }

    #[test]
    fn channels_and_images_stay_apart() {
        let x = [1.0, 9.0, -1.0, 2.0, 8.0, -2.0, 0.0, 0.5, 7.0, -3.0, 0.25, 6.0];
        let op = Pool2d { kernel: [1, 2], stride: [1, 1], padding: [0, 0], count_include_pad: true };
        assert_eq!(avg_pool2d(&x, [2, 1, 2, 3], &op), [1.5, 8.5, -1.5, -1.5, 0.375, 6.5]);
    }
}
