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
/// NaN stays NaN, and what multiplies `x` by a gate gives NaN for negative infinity, as in PyTorch.
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
        Activation::Gelu => (f64::from(x) * normal_probability(x.into())) as f32,
        Activation::Silu => x * apply(Activation::Sigmoid, x),
        Activation::HardSigmoid => apply(Activation::Relu6, x + 3.0) / 6.0,
        Activation::HardSwish => x * apply(Activation::HardSigmoid, x),
        Activation::Log => x.ln(),
    }
}

/// The probability that a standard normal variable is below `x`, `(1 + erf(x / sqrt(2))) / 2`:
///
/// ```text
/// 1/2 + exp(-x^2 / 2) / sqrt(2 pi) (x + x^3 / 3 + x^5 / (3 5) + x^7 / (3 5 7) + ..)
/// ```
///
/// near zero (Abramowitz and Stegun 26.2.11), and below -3 or above 3, where that cancels, by Laplace's continued fraction of the tail
/// (26.2.14):
///
/// ```text
/// exp(-x^2 / 2) / sqrt(2 pi) / (x + 1 / (x + 2 / (x + 3 / (x + ..))))
/// ```
fn normal_probability(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..50 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let fraction = (1..50).rev().fold(x.abs(), |rest, n| x.abs() + f64::from(n) / rest);
    let tail = density / fraction;
    if x < 0.0 { tail } else { 1.0 - tail }
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

    const ALL: [Activation; 10] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::Silu,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Log,
    ];

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
    fn extremes_saturate() {
        for big in [1e4, f32::MAX, f32::INFINITY] {
            assert_eq!(apply(Activation::Sigmoid, big), 1.0);
            assert_eq!(apply(Activation::Sigmoid, -big), 0.0);
            assert_eq!(apply(Activation::Tanh, big), 1.0);
            assert_eq!(apply(Activation::Tanh, -big), -1.0);
        }
    }

    #[test]
    fn gelu_is_the_exact_form() {
        // To 16 digits, on both sides of where one formula takes over from the other.
        for (x, probability) in [
            (0.0, 0.5),
            (0.5, 0.691_462_461_274_013_1),
            (1.0, 0.841_344_746_068_542_9),
            (2.0, 0.977_249_868_051_820_8),
            (2.999, 0.998_645_663_466_272_9),
            (3.0, 0.998_650_101_968_369_9),
            (-1.0, 0.158_655_253_931_457_05),
            (-3.0, 0.001_349_898_031_630_094_6),
            (-6.0, 9.865_876_450_376_98e-10),
            (-12.0, 1.776_482_112_077_678_7e-33),
        ] {
            let found = normal_probability(x);
            assert!((found / probability - 1.0).abs() < 1e-12, "{x}: {found} is not {probability}");
        }
        assert_close(
            &activation(Activation::Gelu, &[1.0, -1.0, 0.0]),
            &[0.841_344_8, -0.158_655_25, 0.0],
            1e-7,
        );
    }

    #[test]
    fn gates() {
        let x = [-4.0, -3.0, -1.5, 0.0, 1.5, 3.0, 4.0];
        assert_eq!(activation(Activation::HardSigmoid, &x), [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(activation(Activation::HardSwish, &x), [0.0, 0.0, -0.375, 0.0, 1.125, 3.0, 4.0]);
        let log2 = 2f32.ln();
        let silu = [log2 * 2.0 / 3.0, -log2 / 3.0, 0.0];
        assert_close(&activation(Activation::Silu, &[log2, -log2, 0.0]), &silu, 1e-7);
        for gate in [Activation::Gelu, Activation::Silu, Activation::HardSwish] {
            for big in [1e4, f32::MAX, f32::INFINITY] {
                assert_eq!(apply(gate, big), big);
            }
            assert_eq!(apply(gate, -1e4), 0.0);
        }
    }

    #[test]
    fn logarithms() {
        let e = std::f32::consts::E;
        assert_close(&activation(Activation::Log, &[1.0, e, 1.0 / e, e * e]), &[0.0, 1.0, -1.0, 2.0], 2e-7);
        assert_eq!(
            activation(Activation::Log, &[0.0, -0.0, f32::INFINITY])[..],
            [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY]
        );
        assert!(apply(Activation::Log, -1.0).is_nan());
    }

    #[test]
    fn nan_stays() {
        for kind in ALL {
            assert!(apply(kind, f32::NAN).is_nan(), "{kind:?}");
        }
    }

    #[test]
    fn in_place_is_the_same() {
        let x = [-1.0, 0.25, 8.0];
        for kind in ALL {
            let mut y = x;
            apply_all(kind, &mut y);
            assert_eq!(
                y.map(f32::to_bits).as_slice(),
                activation(kind, &x).iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
    }
}
