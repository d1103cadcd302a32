//! Sums of two tensors.

use crate::activation::FUSED;
use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Add;

#[test]
fn any_length_and_activation() {
    for activation in FUSED {
        for len in [1, 3, 64, 65, 777] {
            let mut case = Case::new(len as u64);
            let operands = vec![case.random_input([len]), case.random_input([len])];
            case.last(Add { activation }, operands);
            case.check(&format!("{activation:?} of {len}"), Tolerance::Exact);
        }
    }
}

#[test]
fn a_tensor_and_itself() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 5, 5, 3]);
    case.last(Add::default(), vec![x, x]);
    case.check("x + x", Tolerance::Exact);
}

#[test]
fn extremes() {
    let (inf, max) = (f32::INFINITY, f32::MAX);
    let mut case = Case::new(1);
    let a = case.input([8], vec![inf, -inf, max, -max, 1e4, -1e4, inf, 1e-38]);
    let b = case.input([8], vec![1.0, 1.0, max, -max, -1e4, 1e-4, inf, 1e38]);
    case.last(Add::default(), vec![a, b]);
    case.check("extremes", Tolerance::Exact);
}

#[test]
fn nan_stays_nan() {
    for activation in FUSED {
        let mut case = Case::new(1);
        let a = case.input([5], vec![f32::NAN, 1.0, f32::NAN, f32::INFINITY, 2.0]);
        let b = case.input([5], vec![1.0, f32::NAN, f32::NAN, f32::NEG_INFINITY, 3.0]);
        case.last(Add { activation }, vec![a, b]);
        assert_eq!(case.expected()[0].f32().iter().filter(|v| v.is_nan()).count(), 4);
        case.check(&format!("{activation:?}"), Tolerance::Exact);
    }
}
