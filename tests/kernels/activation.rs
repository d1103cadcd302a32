//! Activations as separate operations.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Activation;

/// Every activation, with the tolerance of its kernel.
const ALL: [(Activation, Tolerance); 10] = [
    (Activation::Identity, Tolerance::Exact),
    (Activation::Relu, Tolerance::Exact),
    (Activation::Relu6, Tolerance::Exact),
    (Activation::Sigmoid, Tolerance::Close),
    (Activation::Tanh, Tolerance::Close),
    (Activation::Gelu, Tolerance::Close),
    (Activation::Silu, Tolerance::Close),
    (Activation::HardSigmoid, Tolerance::Close),
    (Activation::HardSwish, Tolerance::Close),
    (Activation::Log, Tolerance::Close),
];

/// The activations that other operations can apply in their last step.
pub(crate) const FUSED: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::Relu6];

#[test]
fn any_length_agrees_with_the_reference() {
    for (activation, tolerance) in ALL {
        for len in [1, 3, 63, 64, 65, 1000, 1024] {
            let mut case = Case::new(len as u64);
            let values = case.random.values(len).iter().map(|v| v * 12.0).collect();
            let x = case.input([len], values);
            case.last(activation, vec![x]);
            case.check(&format!("{activation:?} of {len}"), tolerance);
        }
    }
}

#[test]
fn activations_saturate_at_extreme_values() {
    let inf = f32::INFINITY;
    let magnitudes =
        [0.0, 1e-30, 1e-6, 1e-3, 0.5, 1.0, 5.999_999_5, 6.0, 20.0, 88.0, 89.0, 104.0, 1e4, f32::MAX, inf];
    let values: Vec<f32> = magnitudes.iter().flat_map(|&v| [v, -v]).chain([f32::NAN, 1.0]).collect();
    assert!(values.len().is_multiple_of(4));
    for (activation, tolerance) in ALL {
        // Four values at a time, and one at a time.
        for values in [&values[..], &values[1..]] {
            let mut case = Case::new(0);
            let x = case.input([values.len()], values.to_vec());
            case.last(activation, vec![x]);
            case.check(&format!("{activation:?} of {}", values.len()), tolerance);
        }
    }
}

/// The approximation of the error function, over all values whose result does not round to 0 or to `x`.
#[test]
fn gelu_is_the_exact_form() {
    let mut case = Case::new(0);
    let values: Vec<f32> = (-9000..=9000).map(|i| i as f32 / 1000.0).collect();
    let x = case.input([values.len()], values);
    case.last(Activation::Gelu, vec![x]);
    case.check("gelu", Tolerance::Close);
}

#[test]
fn nan_stays_nan() {
    for (activation, tolerance) in ALL {
        let mut case = Case::new(0);
        let x = case.input([4], vec![f32::NAN, 1.0, -f32::NAN, -1.0]);
        case.last(activation, vec![x]);
        assert!(case.expected()[0].f32()[0].is_nan());
        case.check(&format!("{activation:?}"), tolerance);
    }
}
