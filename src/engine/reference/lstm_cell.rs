//! One step of a long short-term memory cell.

use super::activation::apply;
use super::gemm::dot;
use crate::engine::ops::activation::Activation::{Sigmoid, Tanh};

/// The next hidden and cell state of every row, as `torch.nn.LSTMCell`:
///
/// ```text
/// [i | f | g | o] = weight [x | h] + bias
/// c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
/// h' = sigmoid(o) * tanh(c')
/// ```
///
/// * `x` `[R, X]`, `h` and `c` `[R, H]`, result `(h', c')`, both `[R, H]`
/// * `weight` `[4H, X + H]`, PyTorch's `weight_ih` and `weight_hh` side by side
/// * `bias` `[4H]`, the sum of `bias_ih` and `bias_hh`
pub fn lstm_cell(
    x: &[f32],
    h: &[f32],
    c: &[f32],
    weight: &[f32],
    bias: &[f32],
    rows: usize,
    hidden: usize,
) -> (Vec<f32>, Vec<f32>) {
    let inputs = x.len().checked_div(rows).unwrap_or(0);
    let width = inputs + hidden;
    let mut next_h = Vec::with_capacity(rows * hidden);
    let mut next_c = Vec::with_capacity(rows * hidden);
    for row in 0..rows {
        let x = &x[row * inputs..][..inputs];
        let h = &h[row * hidden..][..hidden];
        for unit in 0..hidden {
            let gate = |index: usize| {
                let output = index * hidden + unit;
                let (w_ih, w_hh) = weight[output * width..][..width].split_at(inputs);
                (dot(x, w_ih) + dot(h, w_hh) + f64::from(bias[output])) as f32
            };
            let [i, f, g, o] = [0, 1, 2, 3].map(gate);
            let kept = apply(Sigmoid, f) * c[row * hidden + unit];
            let cell = kept + apply(Sigmoid, i) * apply(Tanh, g);
            next_c.push(cell);
            next_h.push(apply(Sigmoid, o) * apply(Tanh, cell));
        }
    }
    (next_h, next_c)
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn zero_weights_halve_the_cell() {
        let (x, h, c) = (values(2 * 3, 1), values(2 * 2, 2), [1.0, -2.0, 0.0, 4.0]);
        let (next_h, next_c) = lstm_cell(&x, &h, &c, &[0.0; 8 * 5], &[0.0; 8], 2, 2);
        assert_eq!(next_c, [0.5, -1.0, 0.0, 2.0]);
        let expected = next_c.iter().map(|c| 0.5 * c.tanh()).collect::<Vec<_>>();
        assert_close(&next_h, &expected, 1e-7);
    }

    #[test]
    fn gates_come_in_pytorch_order() {
        // Saturated by the bias alone: i closed, f open, o open.
        let (h, c) = lstm_cell(&[0.0], &[0.0], &[0.5], &[0.0; 8], &[-100.0, 100.0, 100.0, 100.0], 1, 1);
        assert_eq!(c, [0.5]);
        assert_close(&h, &[0.5f32.tanh()], 1e-7);
        // i open, f closed, g at -1, o closed.
        let (h, c) = lstm_cell(&[0.0], &[0.0], &[0.5], &[0.0; 8], &[100.0, -100.0, -100.0, -100.0], 1, 1);
        assert_close(&c, &[-1.0], 1e-7);
        assert_close(&h, &[0.0], 1e-7);
    }

    #[test]
    fn x_takes_the_first_columns_and_h_the_rest() {
        // Gate g sees 2 * x[0] + 3 * x[1] - h; i is open, f closed, o open.
        let mut weight = [0.0; 12];
        weight[6..9].copy_from_slice(&[2.0, 3.0, -1.0]);
        let bias = [100.0, -100.0, 0.0, 100.0];
        let (_, c) = lstm_cell(&[0.1, 0.2, 0.3, -0.1], &[0.4, 0.2], &[9.0, 9.0], &weight, &bias, 2, 1);
        assert_close(&c, &[0.4f32.tanh(), 0.1f32.tanh()], 2e-7);
    }

    #[test]
    fn rows_do_not_depend_on_their_company() {
        let (rows, inputs, hidden) = (3, 5, 4);
        let (x, h, c) = (values(rows * inputs, 1), values(rows * hidden, 2), values(rows * hidden, 3));
        let (weight, bias) = (values(4 * hidden * (inputs + hidden), 4), values(4 * hidden, 5));
        let (all_h, all_c) = lstm_cell(&x, &h, &c, &weight, &bias, rows, hidden);
        for row in 0..rows {
            let state = row * hidden..(row + 1) * hidden;
            let x = &x[row * inputs..][..inputs];
            let (one_h, one_c) =
                lstm_cell(x, &h[state.clone()], &c[state.clone()], &weight, &bias, 1, hidden);
            assert_eq!(one_h, all_h[state.clone()]);
            assert_eq!(one_c, all_c[state]);
        }
    }
}
