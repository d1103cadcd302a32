//! Layer normalisation: each row by its own mean and variance.

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` for each row of `x` `[.., C]`, as `torch.nn.LayerNorm(C)`: mean and
/// biased variance are those of the row. `weight` and `bias` are `[C]`.
///
/// A NaN or an infinity makes its whole row NaN.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    let columns = weight.len().max(1);
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(columns) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / columns as f64;
        let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / columns as f64;
        let factor = 1.0 / (variance + f64::from(epsilon)).sqrt();
        out.extend(row.iter().zip(weight).zip(bias).map(|((&v, &weight), &bias)| {
            ((f64::from(v) - mean) * factor * f64::from(weight) + f64::from(bias)) as f32
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn in_closed_form() {
        // Mean 2, variance 1; mean -1, variance 9 - all of it epsilon's in the last row.
        let y = layer_norm(&[1.0, 3.0, -4.0, 2.0, 7.0, 7.0], &[1.0, 10.0], &[0.0, 0.5], 0.0625);
        let [a, b] = [1.0 / 1.0625f32.sqrt(), 3.0 / 9.0625f32.sqrt()];
        assert_close(&y, &[-a, 10.0 * a + 0.5, -b, 10.0 * b + 0.5, 0.0, 0.5], 1e-6);
    }

    #[test]
    fn rows_have_mean_0_and_variance_1() {
        let x: Vec<f32> = values(5 * 200, 1).iter().map(|v| 1000.0 + 3.0 * v).collect();
        let y = layer_norm(&x, &[1.0; 200], &[0.0; 200], 1e-5);
        for row in y.chunks(200) {
            let mean = row.iter().sum::<f32>() / 200.0;
            let variance = row.iter().map(|v| v * v).sum::<f32>() / 200.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
        }
    }

    #[test]
    fn nan_stays_in_its_row() {
        let y = layer_norm(&[f32::NAN, 1.0, f32::INFINITY, 1.0, 1.0, 1.0], &[1.0; 2], &[3.0; 2], 1e-5);
        assert!(y[..4].iter().all(|v| v.is_nan()), "{y:?}");
        assert_eq!(y[4..], [3.0, 3.0]);
    }
}
