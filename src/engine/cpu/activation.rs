//! Elementwise activations.

use crate::engine::ops::activation::Activation;

/// `activation(x)` of one value.
///
/// Sigmoid and tanh take the exponential of a negative number only, so that nothing overflows:
///
/// ```text
/// e = exp(-|x|)     sigmoid(x) = (x < 0 ? e : 1) / (1 + e)
/// e = exp(-2|x|)    tanh(x)    = sign(x) * (1 - e) / (1 + e)
/// ```
///
/// NaN stays NaN, as in PyTorch.
pub fn apply(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu if x < 0.0 => 0.0,
        Activation::Relu => x,
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Sigmoid => {
            let e = (-x.abs()).exp();
            (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
        }
        Activation::Tanh => {
            let e = (-2.0 * x.abs()).exp();
            ((1.0 - e) / (1.0 + e)).copysign(x)
        }
    }
}

/// `activation(x)` of every value.
pub fn activation(activation: Activation, x: &[f32]) -> Vec<f32> {
    x.iter().map(|&v| apply(activation, v)).collect()
}

/// The same in place, for the ops that end in an activation.
pub(crate) fn apply_all(activation: Activation, x: &mut [f32]) {
    if activation != Activation::Identity {
        x.iter_mut().for_each(|v| *v = apply(activation, *v));
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_data::assert_close;
    use super::*;

    #[test]
    fn clipping() {
        let x = [-7.0, -0.5, 0.0, 3.0, 6.0, 6.5, f32::INFINITY];
        assert_eq!(activation(Activation::Identity, &x), x);
        assert_eq!(activation(Activation::Relu, &x), [0.0, 0.0, 0.0, 3.0, 6.0, 6.5, f32::INFINITY]);
        assert_eq!(activation(Activation::Relu6, &x), [0.0, 0.0, 0.0, 3.0, 6.0, 6.0, 6.0]);
    }

    #[test]
    fn sigmoid_and_tanh_match_the_f64_functions() {
        let x: Vec<f32> = (-400..=400).map(|i| i as f32 / 20.0).collect();
        let sigmoid: Vec<f32> = x.iter().map(|&v| (1.0 / (1.0 + (-v as f64).exp())) as f32).collect();
        let tanh: Vec<f32> = x.iter().map(|&v| (v as f64).tanh() as f32).collect();
        assert_close(&activation(Activation::Sigmoid, &x), &sigmoid, 2e-7);
        assert_close(&activation(Activation::Tanh, &x), &tanh, 2e-7);
    }

    #[test]
    fn extremes_saturate_and_nan_stays() {
        for big in [1e4, f32::MAX, f32::INFINITY] {
            assert_eq!(apply(Activation::Sigmoid, big), 1.0);
            assert_eq!(apply(Activation::Sigmoid, -big), 0.0);
            assert_eq!(apply(Activation::Tanh, big), 1.0);
            assert_eq!(apply(Activation::Tanh, -big), -1.0);
        }
        for activation in
            [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Sigmoid, Activation::Tanh]
        {
            assert!(apply(activation, f32::NAN).is_nan(), "{activation:?}");
        }
    }

    #[test]
    fn in_place_is_the_same() {
        let x = [-1.0, 0.25, 8.0];
        for kind in [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Tanh] {
            let mut y = x;
            apply_all(kind, &mut y);
            assert_eq!(y.as_slice(), activation(kind, &x));
        }
    }
}
