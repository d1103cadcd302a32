//! Additive ("Bahdanau") attention with a gate, as in Show, Attend and Tell (Xu et al., 2015).
//!
//! `R` rows (beams) attend to the grids of `N` images; row `r` belongs to image `r / (R / N)`.

use super::activation::apply;
use super::gemm::dot;
use super::softmax::softmax;
use crate::engine::ops::activation::Activation;

/// Where each row looks:
/// `alpha[r, p] = softmax over p of (v . relu(keys[n, p] + query[r]) + v_bias)`.
///
/// * `keys` `[N, P, A]`, the grid after the layer `encoder_att`
/// * `query` `[R, Q]`, of which the first `A` columns are the hidden state after `decoder_att`
/// * `v` `[A]` and `v_bias`, the layer `full_att`
/// * result `[R, P]`
#[expect(clippy::too_many_arguments, reason = "three tensors, a scalar and their five sizes")]
pub fn additive_attention_weights(
    keys: &[f32],
    query: &[f32],
    v: &[f32],
    v_bias: f32,
    n: usize,
    rows: usize,
    p: usize,
    a: usize,
    q_width: usize,
) -> Vec<f32> {
    let mut scores = Vec::with_capacity(rows * p);
    let mut energy = vec![0.0; a];
    for row in 0..rows {
        let query = &query[row * q_width..][..a];
        let keys = &keys[image_of(row, n, rows) * p * a..][..p * a];
        for key in keys.chunks_exact(a.max(1)) {
            energy
                .iter_mut()
                .zip(key.iter().zip(query))
                .for_each(|(e, (k, q))| *e = apply(Activation::Relu, k + q));
            scores.push((dot(&energy, &v[..a]) + f64::from(v_bias)) as f32);
        }
    }
    softmax(&scores, p, false)
}

/// What each row sees: `sigmoid(gate[r]) * sum over p of alpha[r, p] * grid[n, p]`.
///
/// * `grid` `[N, P, C]`, `alpha` `[R, P]`
/// * `query` `[R, Q]`, of which the last `C` columns are the gate `f_beta` before its sigmoid
/// * result `[R, C]`
#[expect(clippy::too_many_arguments, reason = "three tensors and their five sizes")]
pub fn additive_attention_context(
    grid: &[f32],
    alpha: &[f32],
    query: &[f32],
    n: usize,
    rows: usize,
    p: usize,
    c: usize,
    q_width: usize,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows * c);
    for row in 0..rows {
        let grid = &grid[image_of(row, n, rows) * p * c..][..p * c];
        let mut sums = vec![0.0f64; c];
        for (cell, &alpha) in grid.chunks_exact(c.max(1)).zip(&alpha[row * p..][..p]) {
            for (sum, &v) in sums.iter_mut().zip(cell) {
                *sum += f64::from(alpha) * f64::from(v);
            }
        }
        let gate = &query[(row + 1) * q_width - c..][..c];
        out.extend(sums.iter().zip(gate).map(|(&sum, &g)| apply(Activation::Sigmoid, g) * sum as f32));
    }
    out
}

/// The image that row `row` belongs to.
fn image_of(row: usize, n: usize, rows: usize) -> usize {
    row.checked_div(rows.checked_div(n).unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn weights_in_closed_form() {
        // One image, two places, A = 2, Q = 3; the third column of the query has to be ignored.
        let keys = [1.0, -1.0, 0.0, 5.0];
        let query = [0.0, -1.0, 99.0, -9.0, -9.0, 99.0];
        let alpha = additive_attention_weights(&keys, &query, &[2.0, 0.5], 7.0, 1, 2, 2, 2, 3);
        // Row 0: 2 * relu(1) + 0.5 * relu(-2) = 2 against 0.5 * relu(4) = 2. Row 1: nothing but the bias.
        assert_eq!(alpha, [0.5; 4]);
        let alpha = additive_attention_weights(&keys, &query, &[2.0, 0.0], 7.0, 1, 2, 2, 2, 3);
        let first = 1.0 / (1.0 + (-2f32).exp());
        assert_close(&alpha, &[first, 1.0 - first, 0.5, 0.5], 1e-7);
    }

    #[test]
    fn context_in_closed_form() {
        let grid = [1.0, 10.0, 3.0, 30.0];
        let alpha = [0.25, 0.75, 1.0, 0.0];
        let query = [99.0, 0.0, 1e4, 99.0, -1e4, 0.0];
        let y = additive_attention_context(&grid, &alpha, &query, 1, 2, 2, 2, 3);
        assert_eq!(y, [0.5 * 2.5, 25.0, 0.0, 5.0]);
    }

    #[test]
    fn rows_look_at_their_own_image() {
        let (n, rows, p, a, c) = (2, 6, 3, 4, 5);
        let q = a + c;
        let (keys, grid) = (values(n * p * a, 1), values(n * p * c, 2));
        let (query, v) = (values(rows * q, 3), values(a, 4));
        let alpha = additive_attention_weights(&keys, &query, &v, 0.1, n, rows, p, a, q);
        let context = additive_attention_context(&grid, &alpha, &query, n, rows, p, c, q);
        assert_eq!((alpha.len(), context.len()), (rows * p, rows * c));
        for image in 0..n {
            let (first, count) = (image * rows / n, rows / n);
            let (keys, grid) = (&keys[image * p * a..][..p * a], &grid[image * p * c..][..p * c]);
            let query = &query[first * q..][..count * q];
            let own_alpha = additive_attention_weights(keys, query, &v, 0.1, 1, count, p, a, q);
            assert_eq!(own_alpha, alpha[first * p..][..count * p]);
            let own_context = additive_attention_context(grid, &own_alpha, query, 1, count, p, c, q);
            assert_eq!(own_context, context[first * c..][..count * c]);
        }
        for row in alpha.chunks(p) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
