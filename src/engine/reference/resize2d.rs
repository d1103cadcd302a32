//! Resizing of images.

use crate::engine::ops::resize2d::{Interpolation, Resize2d};

/// Images of another size, as `torch.nn.functional.interpolate` with modes `nearest` and `bilinear`.
///
/// `x` `[N, H, W, C]` to `[N, OH, OW, C]`.
pub fn resize2d(x: &[f32], [images, height, width, channels]: [usize; 4], op: &Resize2d) -> Vec<f32> {
    let [out_height, out_width] = op.size;
    let mut out = Vec::with_capacity(images * out_height * out_width * channels);
    for image in x.chunks_exact((height * width * channels).max(1)) {
        let pixel = |y: usize, x: usize| &image[(y * width + x) * channels..][..channels];
        for (oy, ox) in (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox))) {
            match op.interpolation {
                Interpolation::Nearest => {
                    out.extend_from_slice(pixel(op.nearest(0, oy, height), op.nearest(1, ox, width)));
                }
                Interpolation::Bilinear { .. } => {
                    let (y, x) = (op.neighbors(0, oy, height), op.neighbors(1, ox, width));
                    out.extend((0..channels).map(|c| {
                        let row = |y| mix(pixel(y, x.low)[c], pixel(y, x.high)[c], x.weight);
                        mix(row(y.low), row(y.high), y.weight)
                    }));
                }
            }
        }
    }
    out
}

fn mix(low: f32, high: f32, weight: f32) -> f32 {
    low * (1.0 - weight) + high * weight
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    const BILINEAR: Interpolation = Interpolation::Bilinear { align_corners: false };
    const CORNERS: Interpolation = Interpolation::Bilinear { align_corners: true };

    /// A row of values, resized.
    fn row(x: &[f32], width: usize, interpolation: Interpolation) -> Vec<f32> {
        resize2d(x, [1, 1, x.len(), 1], &Resize2d { size: [1, width], interpolation })
    }

    #[test]
    fn nearest_repeats_pixels() {
        assert_eq!(row(&[1.0, 2.0], 4, Interpolation::Nearest), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(row(&[1.0, 2.0], 5, Interpolation::Nearest), [1.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(row(&[1.0, 2.0, 3.0], 2, Interpolation::Nearest), [1.0, 2.0]);
        // The ratio 6 / 282 is rounded to f32, as PyTorch rounds it: times 47 k it can lie just below k.
        let x: Vec<f32> = (0..6).map(|v| v as f32).collect();
        let y = row(&x, 282, Interpolation::Nearest);
        assert!(y.iter().enumerate().all(|(d, &v)| v == (d as f32 * (6.0 / 282.0f32)).floor()));
    }

    #[test]
    fn half_pixels_are_the_centres() {
        assert_eq!(row(&[0.0, 4.0], 4, BILINEAR), [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(row(&[0.0, 4.0, 8.0, 12.0], 2, BILINEAR), [2.0, 10.0]);
        assert_close(&row(&[0.0, 6.0], 3, BILINEAR), &[0.0, 3.0, 6.0], 1e-6);
        assert_eq!(row(&[5.0], 3, BILINEAR), [5.0; 3]);
    }

    #[test]
    fn corners_stay_corners() {
        assert_eq!(row(&[0.0, 6.0], 4, CORNERS), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(row(&[0.0, 6.0, 9.0], 5, CORNERS), [0.0, 3.0, 6.0, 7.5, 9.0]);
        assert_eq!(row(&[7.0, 6.0], 1, CORNERS), [7.0]);
    }

    #[test]
    fn both_axes_channels_and_images() {
        // A plane stays a plane: value = y + 10 x, and its negative in another channel, moved in another image.
        let x: Vec<f32> = (0..2 * 3 * 2)
            .flat_map(|i| {
                let v = (i / 2 % 3) as f32 + 10.0 * (i % 2) as f32 + 100.0 * (i / 6) as f32;
                [v, -v]
            })
            .collect();
        let y = resize2d(&x, [2, 3, 2, 2], &Resize2d { size: [5, 3], interpolation: CORNERS });
        for (i, pixel) in y.chunks(2).enumerate() {
            let expected = (i / 3 % 5) as f32 * 0.5 + (i % 3) as f32 * 5.0 + 100.0 * (i / 15) as f32;
            assert_close(pixel, &[expected, -expected], 1e-5);
        }
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let x = values(2 * 3 * 5 * 2, 1);
        for interpolation in [Interpolation::Nearest, BILINEAR, CORNERS] {
            assert_eq!(resize2d(&x, [2, 3, 5, 2], &Resize2d { size: [3, 5], interpolation }), x);
        }
    }
}
