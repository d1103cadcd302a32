//! Softmax and log-softmax over rows.

/// Softmax of each row of `x` `[R, columns]`, or its logarithm, with the row maximum `m` subtracted so
/// that no exponential overflows:
///
/// ```text
/// m   = max_j x[j]
/// d_j = 0 where x[j] == m, else x[j] - m
/// s   = sum_j exp(d_j)
/// y_j = exp(d_j) / s, or d_j - ln(s) with `log`
/// ```
///
/// The case distinction keeps `inf - inf` out: a row whose maximum is `+inf` puts equal mass on its
/// `+inf` entries, and a row of `-inf` alone is uniform. A NaN makes its whole row NaN.
pub fn softmax(x: &[f32], columns: usize, log: bool) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(columns.max(1)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let distance = |v: f32| if v == max { 0.0 } else { f64::from(v) - f64::from(max) };
        let sum: f64 = row.iter().map(|&v| distance(v).exp()).sum();
        let log_sum = sum.ln();
        out.extend(row.iter().map(|&v| {
            let y = if log { distance(v) - log_sum } else { distance(v).exp() / sum };
            y as f32
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    const INF: f32 = f32::INFINITY;

    #[test]
    fn in_closed_form() {
        let (two, four) = (2f32.ln(), 4f32.ln());
        let x = [0.0, two, 0.0, 1e4, 1e4 + four, -1e4];
        // f32 cannot hold 1e4 + ln 4 exactly.
        let third = (x[4] - x[3]).exp();
        let expected = [0.25, 0.5, 0.25, 1.0 / (1.0 + third), third / (1.0 + third), 0.0];
        assert_close(&softmax(&x, 3, false), &expected, 1e-7);
        assert_eq!(softmax(&[3.0, -5.0], 1, false), [1.0, 1.0]);
        assert_eq!(softmax(&[3.0, -5.0], 1, true), [0.0, 0.0]);
    }

    #[test]
    fn extremes_stay_finite() {
        assert_eq!(softmax(&[f32::MAX, f32::MIN, f32::MAX], 3, false), [0.5, 0.0, 0.5]);
        assert_eq!(softmax(&[INF, 1.0, INF, -INF], 4, false), [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(softmax(&[-INF; 4], 4, false), [0.25; 4]);
        assert_eq!(softmax(&[-INF, 0.0], 2, false), [0.0, 1.0]);
        assert_eq!(softmax(&[-INF, 0.0], 2, true), [-INF, 0.0]);
        assert_close(&softmax(&[-INF; 4], 4, true), &[-(4f32.ln()); 4], 1e-7);
        let log = softmax(&[INF, 1.0, INF], 3, true);
        assert_close(&[log[0], log[2]], &[-(2f32.ln()); 2], 1e-7);
        assert_eq!(log[1], -INF);
    }

    #[test]
    fn nan_stays_in_its_row() {
        let y = softmax(&[f32::NAN, 1.0, 0.0, 0.0], 2, false);
        assert!(y[0].is_nan() && y[1].is_nan());
        assert_eq!(y[2..], [0.5, 0.5]);
    }

    #[test]
    fn log_is_the_logarithm_and_rows_sum_to_one() {
        let x: Vec<f32> = values(4 * 1000, 1).iter().map(|v| v * 20.0).collect();
        let (y, log) = (softmax(&x, 1000, false), softmax(&x, 1000, true));
        let exp: Vec<f32> = log.iter().map(|v| v.exp()).collect();
        assert_close(&y, &exp, 1e-6);
        for row in y.chunks(1000) {
            assert!((row.iter().map(|&v| f64::from(v)).sum::<f64>() - 1.0).abs() < 1e-6);
        }
    }
}
