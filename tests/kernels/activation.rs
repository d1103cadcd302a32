//! Activations on their own.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Activation;

/// Every activation, with how near its kernel has to come to the twin.
const ALL: [(Activation, Tolerance); 5] = [
    (Activation::Identity, Tolerance::Exact),
    (Activation::Relu, Tolerance::Exact),
    (Activation::Relu6, Tolerance::Exact),
    (Activation::Sigmoid, Tolerance::Close),
    (Activation::Tanh, Tolerance::Close),
];

/// Those that other operations apply in their last step.
pub(crate) const FUSED: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::Relu6];

#[test]
fn any_length() {
    for (activation, tolerance) in ALL {
        for len in [1, 3, 63, 64, 65, 1000] {
            let mut case = Case::new(len as u64);
            let values = case.random.values(len).iter().map(|v| v * 12.0).collect();
            let x = case.input([len], values);
            case.last(activation, vec![x]);
            case.check(&format!("{activation:?} of {len}"), tolerance);
        }
    }
}

#[test]
fn extremes_saturate() {
    let inf = f32::INFINITY;
    let magnitudes =
        [0.0, 1e-30, 1e-6, 1e-3, 0.5, 1.0, 5.999_999_5, 6.0, 20.0, 88.0, 89.0, 104.0, 1e4, f32::MAX, inf];
    let values: Vec<f32> = magnitudes.iter().flat_map(|&v| [v, -v]).collect();
    for (activation, tolerance) in ALL {
        let mut case = Case::new(0);
        let x = case.input([values.len()], values.clone());
        case.last(activation, vec![x]);
        case.check(&format!("{activation:?}"), tolerance);
    }
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
