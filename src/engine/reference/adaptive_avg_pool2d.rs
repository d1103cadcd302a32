//! Adaptive average pooling: an output of a given size from an image of any size.

use super::avg_pool2d::window_sum;

/// The mean of each of `OH x OW` windows, as `torch.nn.functional.adaptive_avg_pool2d`: along each axis
/// window `i` covers `floor(i * H / OH) .. ceil((i + 1) * H / OH)`. `[1, 1]` is global pooling; windows
/// overlap where the sizes do not divide, and repeat pixels where the output is the larger one.
///
/// `x` `[N, H, W, C]` to `[N, OH, OW, C]`.
pub fn adaptive_avg_pool2d(x: &[f32], x_shape: [usize; 4], output: [usize; 2]) -> Vec<f32> {
    let [n, h, w, c] = x_shape;
    let [oh, ow] = output;
    let window = |i: usize, size: usize, out: usize| i * size / out..((i + 1) * size).div_ceil(out);
    let mut out = Vec::with_capacity(n * oh * ow * c);
    for image in x.chunks_exact((h * w * c).max(1)) {
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            let (ys, xs) = (window(oy, h, oh), window(ox, w, ow));
            let count = (ys.len() * xs.len()) as f64;
            out.extend(window_sum(image, [w, c], ys, xs).map(|sum| (sum / count) as f32));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_by_one_is_the_global_mean() {
        let x = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 6.0, 60.0];
        assert_eq!(adaptive_avg_pool2d(&x, [1, 2, 2, 2], [1, 1]), [3.0, 30.0]);
        assert_eq!(adaptive_avg_pool2d(&x, [2, 2, 1, 2], [1, 1]), [1.5, 15.0, 4.5, 45.0]);
    }

    #[test]
    fn windows_overlap_where_sizes_do_not_divide() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        // 0..2, 1..4, 3..5
        assert_eq!(adaptive_avg_pool2d(&x, [1, 1, 5, 1], [1, 3]), [1.5, 3.0, 4.5]);
        assert_eq!(adaptive_avg_pool2d(&x, [1, 5, 1, 1], [3, 1]), [1.5, 3.0, 4.5]);
    }

    #[test]
    fn the_same_size_copies_and_a_larger_one_repeats() {
        let x = [1.0, 2.0, 3.0];
        assert_eq!(adaptive_avg_pool2d(&x, [1, 1, 3, 1], [1, 3]), x);
        // 0..1, 0..2, 1..2, 1..3, 2..3
        assert_eq!(adaptive_avg_pool2d(&x, [1, 1, 3, 1], [1, 5]), [1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(adaptive_avg_pool2d(&[7.0], [1, 1, 1, 1], [2, 2]), [7.0; 4]);
    }
}
