//! Batch normalisation at inference: one scale and one shift per channel.

/// `x * scale + shift`, with `channels` on the last axis of `x` `[..., C]`.
pub fn batch_norm(x: &[f32], channels: usize, scale: &[f32], shift: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for pixel in x.chunks_exact(channels.max(1)) {
        out.extend(pixel.iter().zip(scale).zip(shift).map(|((&v, &a), &b)| v * a + b));
    }
    out
}

/// Scale and shift `[C]` of a layer with the given statistics (Ioffe and Szegedy, 2015):
///
/// ```text
/// (x - mean) / sqrt(var + eps) * weight + bias = x * scale + shift
/// scale = weight / sqrt(var + eps)    shift = bias - mean * scale
/// ```
pub fn fold(weight: &[f32], bias: &[f32], mean: &[f32], var: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let layer = weight.iter().zip(bias).zip(mean.iter().zip(var));
    layer
        .map(|((&weight, &bias), (&mean, &var))| {
            // In f64: the shift is a difference of numbers that can be close to each other.
            let scale = f64::from(weight) / (f64::from(var) + f64::from(eps)).sqrt();
            (scale as f32, (f64::from(bias) - f64::from(mean) * scale) as f32)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn scales_and_shifts_the_last_axis() {
        let y = batch_norm(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &[1.0, 2.0, -1.0], &[0.0, 10.0, 0.5]);
        assert_eq!(y, [1.0, 14.0, -2.5, 4.0, 20.0, -5.5]);
    }

    #[test]
    fn fold_in_closed_form() {
        let (scale, shift) = fold(&[3.0, 1.0], &[1.0, 0.0], &[2.0, 0.0], &[3.5, 0.0], 0.5);
        assert_close(&scale, &[1.5, 2f32.sqrt()], 1e-7);
        assert_close(&shift, &[-2.0, 0.0], 0.0);
    }

    #[test]
    fn folded_layer_is_the_layer() {
        let c = 5;
        let [weight, bias, mean] = [1, 2, 3].map(|seed| values(c, seed));
        let var: Vec<f32> = values(c, 4).iter().map(|v| v * v + 0.01).collect();
        let (scale, shift) = fold(&weight, &bias, &mean, &var, 1e-5);
        let x = values(7 * c, 5);
        let expected: Vec<f32> = (0..x.len())
            .map(|i| (x[i] - mean[i % c]) / (var[i % c] + 1e-5).sqrt() * weight[i % c] + bias[i % c])
            .collect();
        assert_close(&batch_norm(&x, c, &scale, &shift), &expected, 2e-6);
    }
}
