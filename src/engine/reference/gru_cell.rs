//! One step of a gated recurrent unit.

use super::activation::apply;
use super::gemm::dot;
use crate::engine::ops::activation::Activation::{Sigmoid, Tanh};

/// The weights of a cell of `H` units over `X` inputs, as `torch.nn.GRUCell` keeps them; gate by gate: r, z, n.
#[derive(Clone, Copy, Debug)]
pub struct GruParameters<'a> {
    /// `[3 H, X]`
    pub weight_ih: &'a [f32],
    /// `[3 H, H]`
    pub weight_hh: &'a [f32],
    /// `[3 H]`
    pub bias_ih: &'a [f32],
    /// `[3 H]`
    pub bias_hh: &'a [f32],
}

/// The next state of every row, as `torch.nn.GRUCell`:
///
/// ```text
/// [r_x | z_x | n_x] = weight_ih x + bias_ih      [r_h | z_h | n_h] = weight_hh h + bias_hh
/// r = sigmoid(r_x + r_h)      z = sigmoid(z_x + z_h)      n = tanh(n_x + r n_h)
/// h' = (1 - z) n + z h
/// ```
///
/// `x` `[R, X]`, `h` `[R, H]`, result `[R, H]`.
pub fn gru_cell(x: &[f32], h: &[f32], parameters: GruParameters<'_>, rows: usize, hidden: usize) -> Vec<f32> {
    let GruParameters { weight_ih, weight_hh, bias_ih, bias_hh } = parameters;
    let inputs = x.len().checked_div(rows).unwrap_or(0);
    let mut next = Vec::with_capacity(rows * hidden);
    for row in 0..rows {
        let x = &x[row * inputs..][..inputs];
        let h = &h[row * hidden..][..hidden];
        for unit in 0..hidden {
            let of_x =
                |output: usize| dot(x, &weight_ih[output * inputs..][..inputs]) + f64::from(bias_ih[output]);
            let of_h =
                |output: usize| dot(h, &weight_hh[output * hidden..][..hidden]) + f64::from(bias_hh[output]);
            let [r, z, n] = [0, 1, 2].map(|gate| gate * hidden + unit);
            let [r, z] = [r, z].map(|output| apply(Sigmoid, (of_x(output) + of_h(output)) as f32));
            let n = apply(Tanh, (of_x(n) + f64::from(r) * of_h(n)) as f32);
            next.push((1.0 - z) * n + z * h[unit]);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    /// A cell of one unit and one input, from the weights and biases of its gates.
    fn unit(x: f32, h: f32, w: [f32; 3], u: [f32; 3], b: [f32; 3], c: [f32; 3]) -> f32 {
        let parameters = GruParameters { weight_ih: &w, weight_hh: &u, bias_ih: &b, bias_hh: &c };
        gru_cell(&[x], &[h], parameters, 1, 1)[0]
    }

    const ZERO: [f32; 3] = [0.0; 3];

    #[test]
    fn zero_weights_halve_the_state() {
        assert_eq!(unit(3.0, 0.5, ZERO, ZERO, ZERO, ZERO), 0.25);
    }

    #[test]
    fn gates_come_in_pytorch_order() {
        // z open: the state stays. z shut: it is n.
        assert_eq!(unit(1.0, 0.5, ZERO, ZERO, [0.0, 100.0, 3.0], ZERO), 0.5);
        let n = unit(1.0, 0.5, ZERO, ZERO, [0.0, -100.0, 0.3], ZERO);
        assert_close(&[n], &[0.3f32.tanh()], 1e-7);
    }

    #[test]
    fn the_reset_gate_takes_the_bias_of_the_state_but_not_that_of_the_input() {
        let n =
            |r: f32| unit(1.0, 0.5, [0.0, 0.0, 0.25], [0.0, 0.0, 2.0], [r, -100.0, 0.125], [0.0, 0.0, 0.5]);
        assert_close(&[n(100.0)], &[(0.25f32 + 0.125 + 1.0 + 0.5).tanh()], 1e-7);
        assert_close(&[n(-100.0)], &[(0.25f32 + 0.125).tanh()], 1e-7);
        assert_close(&[n(0.0)], &[(0.25f32 + 0.125 + 0.5 * 1.5).tanh()], 1e-7);
    }

    #[test]
    fn rows_and_units_do_not_mix() {
        let (rows, inputs, hidden) = (3, 5, 4);
        let (x, h) = (values(rows * inputs, 1), values(rows * hidden, 2));
        let [ih, hh] = [values(3 * hidden * inputs, 3), values(3 * hidden * hidden, 4)];
        let [b_ih, b_hh] = [values(3 * hidden, 5), values(3 * hidden, 6)];
        let parameters = GruParameters { weight_ih: &ih, weight_hh: &hh, bias_ih: &b_ih, bias_hh: &b_hh };
        let all = gru_cell(&x, &h, parameters, rows, hidden);
        for row in 0..rows {
            let (x, h) = (&x[row * inputs..][..inputs], &h[row * hidden..][..hidden]);
            assert_eq!(gru_cell(x, h, parameters, 1, hidden), all[row * hidden..(row + 1) * hidden]);
            // Each unit by the formula, in 64 bits.
            for unit in 0..hidden {
                let gate = |gate: usize| {
                    let output = gate * hidden + unit;
                    let sum = |x: &[f32], w: &[f32]| -> f64 {
                        x.iter().zip(&w[output * x.len()..]).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
                    };
                    [sum(x, &ih) + f64::from(b_ih[output]), sum(h, &hh) + f64::from(b_hh[output])]
                };
                let sigmoid = |[x, h]: [f64; 2]| 1.0 / (1.0 + (-x - h).exp());
                let (r, z, [n_x, n_h]) = (sigmoid(gate(0)), sigmoid(gate(1)), gate(2));
                let expected = (1.0 - z) * (n_x + r * n_h).tanh() + z * f64::from(h[unit]);
                assert_close(&all[row * hidden + unit..][..1], &[expected as f32], 3e-7);
            }
        }
    }
}
