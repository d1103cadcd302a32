//! Fully connected layer.

use super::activation::apply_all;
use super::gemm::{Matrix, gemm_add};
use crate::engine::ops::activation::Activation;

/// `activation(x weight^T + bias)`, as `torch.nn.functional.linear`.
///
/// `x` `[rows, I]`, `weight` `[O, I]`, `bias` `[O]`, result `[rows, O]`.
pub fn linear(
    x: &[f32],
    rows: usize,
    weight: &[f32],
    bias: &[f32],
    inputs: usize,
    outputs: usize,
    activation: Activation,
) -> Vec<f32> {
    let mut out = bias[..outputs].repeat(rows);
    let x = Matrix { data: x, row_stride: inputs, column_stride: 1 };
    let weight = Matrix { data: weight, row_stride: 1, column_stride: inputs };
    gemm_add([rows, inputs, outputs], x, weight, &mut out, outputs);
    apply_all(activation, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn in_closed_form() {
        let x = [1.0, 2.0, -1.0, 0.5];
        let weight = [1.0, 0.0, 0.0, 1.0, 3.0, 4.0];
        let bias = [0.0, 10.0, -12.0];
        let y = linear(&x, 2, &weight, &bias, 2, 3, Activation::Identity);
        assert_eq!(y, [1.0, 12.0, -1.0, -1.0, 10.5, -13.0]);
        let y = linear(&x, 2, &weight, &bias, 2, 3, Activation::Relu6);
        assert_eq!(y, [1.0, 6.0, 0.0, 0.0, 6.0, 0.0]);
    }

    #[test]
    fn agrees_with_dot_products() {
        let sizes = [(1, 1, 1), (1, 300, 7), (5, 33, 65), (3, 1, 4), (0, 3, 2), (2, 0, 3)];
        for (rows, inputs, outputs) in sizes {
            let x = values(rows * inputs, 1);
            let weight = values(outputs * inputs, 2);
            let bias = values(outputs, 3);
            let expected: Vec<f32> = (0..rows * outputs)
                .map(|i| {
                    let (r, o) = (i / outputs, i % outputs);
                    let terms =
                        (0..inputs).map(|k| f64::from(x[r * inputs + k]) * f64::from(weight[o * inputs + k]));
                    (f64::from(bias[o]) + terms.sum::<f64>()) as f32
                })
                .collect();
            let actual = linear(&x, rows, &weight, &bias, inputs, outputs, Activation::Identity);
            assert_close(&actual, &expected, 2e-5);
        }
    }
}
