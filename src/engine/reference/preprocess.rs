//! Bytes of a photo to the normalised input of an encoder.

/// `pixels` `[N, H, W, channels]` to `[N, H, W, 3]`: `(v / 255 - mean) / std` per colour, computed as
/// `v * scale + shift`. With 4 channels the last one, alpha, is ignored; a fourth result is zero.
pub fn preprocess(pixels: &[u8], [channels, results]: [usize; 2], mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    debug_assert!([3, 4].contains(&channels) && [3, 4].contains(&results));
    let (scale, shift) = scale_and_shift(mean, std);
    let mut out = Vec::with_capacity(pixels.len() / channels.max(1) * results);
    for pixel in pixels.chunks_exact(channels.max(1)) {
        out.extend(pixel.iter().zip(scale).zip(shift).map(|((&v, a), b)| f32::from(v) * a + b));
        out.resize(out.len() + results - 3, 0.0);
    }
    out
}

/// `scale = 1 / (255 * std)` and `shift = -mean / std`.
pub fn scale_and_shift(mean: [f32; 3], std: [f32; 3]) -> ([f32; 3], [f32; 3]) {
    (std.map(|s| 1.0 / (255.0 * s)), std::array::from_fn(|c| -mean[c] / std[c]))
}

#[cfg(test)]
mod tests {
    use super::super::test_data::assert_close;
    use super::*;

    #[test]
    fn maps_bytes_to_normalised_values() {
        let mean = [0.5, 0.0, 0.25];
        let std = [0.5, 1.0, 0.25];
        let out = preprocess(&[0, 0, 0, 255, 255, 255], [3, 3], mean, std);
        assert_close(&out, &[-1.0, 0.0, -1.0, 1.0, 1.0, 3.0], 1e-6);
    }

    #[test]
    fn agrees_with_the_two_step_formula_on_every_byte() {
        let mean = [0.485, 0.456, 0.406];
        let std = [0.229, 0.224, 0.225];
        let pixels: Vec<u8> = (0..=255).flat_map(|v| [v, v, v]).collect();
        let expected: Vec<f32> = pixels
            .iter()
            .enumerate()
            .map(|(i, &v)| ((f64::from(v) / 255.0 - f64::from(mean[i % 3])) / f64::from(std[i % 3])) as f32)
            .collect();
        assert_close(&preprocess(&pixels, [3, 3], mean, std), &expected, 1e-6);
    }

    #[test]
    fn alpha_is_ignored() {
        let (mean, std) = ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]);
        let rgb = preprocess(&[1, 2, 3, 4, 5, 6], [3, 3], mean, std);
        assert_eq!(preprocess(&[1, 2, 3, 99, 4, 5, 6, 0], [4, 3], mean, std), rgb);
        let padded = preprocess(&[1, 2, 3, 4, 5, 6], [3, 4], mean, std);
        assert_eq!(padded, [&rgb[..3], &[0.0], &rgb[3..], &[0.0]].concat());
    }
}
